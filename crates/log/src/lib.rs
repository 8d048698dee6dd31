//! The durable log: framing, segments, checksums, group commit and recovery.
//!
//! A record is a partition, a sequence, a tag and a body; what it means is not known here. The byte
//! layout is in `docs/log-format.md`. Read [`Log`] for what is written and recovered, [`Committer`]
//! for the thread that batches and flushes, [`Storage`] for what a disk must do.

mod batch;
mod committer;
mod config;
mod error;
mod layout;
mod log;
mod reader;
mod recovery;
mod storage;

pub use batch::Batch;
pub use committer::{Committer, Position, Progress, Urgency};
pub use config::LogConfig;
pub use error::{
    CloseError, OpenError, PrepareError, ReadError, RecordTooLarge, VisitError, WriteError,
};
pub use layout::{checksum, checksum_of, segment_name, segment_number};
pub use log::{Log, LogFigures, SegmentInfo, Space, Upkeep, UpkeepDone};
pub use reader::Reader;
pub use recovery::{
    Damage, Location, Missing, Record, Recovery, Step, Survey, TornTail, inspect, quarantine,
    verify,
};
pub use storage::{
    Directory, DropUnsynced, FileInfo, Loss, MemoryDisk, Operation, Storage, StorageFile,
    check_format,
};
