//! Schedules: messages that recur. Each due time makes exactly one message: that it was due and
//! that its message was accepted are one record, and the message is seen only once that is on
//! disk. Due times that pass before there is a message for the first of them make one together.

mod fire;
mod list;
mod set;
mod table;

pub(crate) use fire::Firing;
pub(crate) use table::{Row, Schedules};
