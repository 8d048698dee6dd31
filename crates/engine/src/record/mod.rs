//! Records: what an engine writes, so that another can become what it was.

mod carried;
mod carried_decode;
mod carried_encode;
mod codec;
mod decode;
mod died;
mod encode;
mod ended;
mod kinds;

pub use carried::{
    Carried, CarriedEnded, CarriedEntry, CarriedLease, CarriedLetter, CarriedMarks,
    CarriedSchedule, CarriedTally, CarriedTask, CarriedToken, Part, PartOf,
};
pub use codec::DecodeError;
pub use kinds::{
    AcceptedRecord, AgentRecord, End, EntryId, Record, ReturnedRecord, ScheduledRecord,
};
