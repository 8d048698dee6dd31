//! Records: what an engine writes, so that another can become what it was.

mod codec;
mod decode;
mod encode;
mod kinds;

pub use codec::DecodeError;
pub use kinds::{
    AcceptedRecord, AgentRecord, End, EntryId, Record, ReturnedRecord, ScheduledRecord,
};
