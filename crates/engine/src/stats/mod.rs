//! Figures, answers to questions, and the state as checks see it.

mod check;
mod invariants;
mod message;
pub(crate) mod page;
mod query;
mod retention;

pub(crate) use message::state_of;
pub(crate) use retention::is_past;
