//! What can go wrong, one type per operation.
//!
//! Messages are fragments that name the thing, its value and the limit or remedy.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A data directory or log could not be opened. Nothing was changed, unless it says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the directory.
    #[error(
        "data directory {} is locked by {}: stop it or use another data directory",
        path.display(),
        process.map_or_else(|| "another process".to_owned(), |id| format!("process {id}"))
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The id that the holder wrote into the lock file.
        process: Option<u32>,
    },
    /// A newer version of the software wrote it.
    #[error(
        "{} has log format {found}, this version reads up to {supported}: \
         use the newer version, or another data directory",
        path.display()
    )]
    NewerFormat {
        /// The file that says so.
        path: PathBuf,
        /// The format it names.
        found: u32,
        /// The highest format this version knows.
        supported: u32,
    },
    /// The directory does not say in a known way what format it has.
    #[error("{} is not a log format this version knows ({found}): not touched", path.display())]
    UnknownFormat {
        /// The file that should say so.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// Bytes that were once flushed are not what was written.
    #[error("log is corrupt: {} (segment {segment}), offset {offset}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Number of the segment.
        segment: u64,
        /// Offset in bytes in the segment.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A setting is out of its range.
    #[error("{setting} is {value}, allowed is {allowed}")]
    Config {
        /// Name of the field of [`LogConfig`](crate::LogConfig).
        setting: &'static str,
        /// The value given.
        value: u64,
        /// The range.
        allowed: String,
    },
    /// The callback refused a record.
    #[error("record at segment {segment}, offset {offset} cannot be used: {reason}")]
    Refused {
        /// Number of the segment.
        segment: u64,
        /// Offset of the record in bytes in the segment.
        offset: u64,
        /// What the callback said.
        reason: VisitError,
    },
    /// The disk has no room for the first segment, or for noting that the log was opened.
    #[error("no room to open the log: {} needs {bytes} bytes: free some disk space", path.display())]
    Full {
        /// The file that cannot be made or written.
        path: PathBuf,
        /// How many bytes it needs.
        bytes: u64,
        /// What the disk said, if it was asked.
        #[source]
        source: Option<io::Error>,
    },
    /// The disk failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source }
    }
}

/// Why a callback refused a record; the log only passes it on.
pub type VisitError = Box<dyn std::error::Error + Send + Sync>;

/// A batch was not written, or the log could not be flushed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no room for the whole batch, so nothing of it was written. The log is sound: make
    /// room, prepare, and write the batch again.
    #[error("log is full: {needed} bytes needed, {left} left, no spare segment: free disk space")]
    Full {
        /// Bytes the batch needs.
        needed: u64,
        /// Bytes left in the current segment and prepared ones.
        left: u64,
    },
    /// The disk failed, now or before. It is unknown what would survive, so everything fails until
    /// the log is opened again.
    #[error("log is poisoned: {0}")]
    Poisoned(Arc<str>),
}

/// A record is too large. The batch is as it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("record body is {bytes} bytes, the limit is {limit}")]
pub struct RecordTooLarge {
    /// Length of the body.
    pub bytes: usize,
    /// The limit it broke.
    pub limit: usize,
}

/// A spare segment could not be prepared. The log is sound and goes on with what room it has.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct PrepareError {
    /// What was tried.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// What the disk said; [`io::ErrorKind::StorageFull`] when it is full.
    pub source: io::Error,
}

/// A log was closed, but not everything that was submitted is on disk.
#[derive(Clone, Debug, thiserror::Error)]
#[error("log closed with {unsynced} records not on disk: {reason}")]
pub struct CloseError {
    /// Records that were submitted and never flushed.
    pub unsynced: u64,
    /// Why.
    pub reason: WriteError,
}

/// A record cannot be read again.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// It is not there: it was given up, or is in a damaged place.
    #[error("record {sequence} is not in {}", path.display())]
    Missing {
        /// Which.
        sequence: u64,
        /// Where it should be.
        path: PathBuf,
    },
    /// Its bytes are not what was written.
    #[error("{} is damaged at offset {offset}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Offset in bytes in the file.
        offset: u64,
    },
}

impl ReadError {
    pub(crate) fn io(action: &'static str, path: PathBuf, source: io::Error) -> Self {
        Self::Io { action, path, source }
    }

    pub(crate) fn missing(sequence: u64, path: PathBuf) -> Self {
        Self::Missing { sequence, path }
    }
}
