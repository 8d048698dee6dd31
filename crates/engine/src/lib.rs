//! The deterministic broker: the time and a command go in, records and effects come out.
//!
//! Owns every decision of one partition: what is admitted, where it goes, who gets it, how it
//! ends. It refuses to know clocks, threads, disks and sockets: it is handed the time, and says
//! what is to be written and done. Read [`Engine`] for the contract of its driver, then the
//! folders in the order in which an envelope passes them: `admission`, `route`, `queue`,
//! `dispatch`, `settle`, `task`, `stats`.

mod admission;
mod carry;
mod command;
mod config;
mod defect;
mod dispatch;
mod effect;
mod engine;
mod gate;
mod gather;
mod key_index;
mod map;
mod now;
mod past;
mod queue;
mod record;
mod replay;
mod replay_gap;
mod room;
mod route;
mod rules;
mod schedule;
mod settle;
mod spill;
mod stats;
mod table;
mod task;
mod timer;

pub use command::{Command, ConnectionKey, QueryKey, Verdict, Verdicts};
pub use config::EngineConfig;
#[cfg(feature = "defects")]
pub use defect::Defect;
pub use effect::{Effect, Output};
pub use engine::Engine;
pub use key_index::{KeyIndex, KeyRow};
pub use now::{Deadline, Mono, Now};
pub use past::{InMemory, Past};
pub use record::{
    AcceptedRecord, AgentRecord, Carried, CarriedEnded, CarriedEntry, CarriedLease, CarriedLetter,
    CarriedMarks, CarriedSchedule, CarriedTally, CarriedTask, CarriedToken, DecodeError, End,
    EntryId, Part, PartOf, Record, ReturnedRecord, ScheduledRecord,
};
pub use replay::ReplayError;
pub use rules::Rules;
pub use settle::{
    ClearedLetter, DeadPlace, DiedLetter, LetterHead, LetterIndex, LetterList, merge_letters,
};
pub use spill::{PayloadFigures, PayloadStore};
pub use task::{EndedTask, Outcomes, TaskIndex, merge_changes, merge_context, merge_tasks};
