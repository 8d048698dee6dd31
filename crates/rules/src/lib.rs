//! Reads what the engine only carries: filters in CEL, and cron expressions with time zones.
//!
//! Owns what a filter may say, what it may cost and what it sees of an event, and when a cron
//! expression is due. It refuses to know clocks and machines: every answer depends on the
//! arguments alone, the time zones come with the program. Read [`Rulebook`] first, then `filter`
//! for what is allowed, and `cron`.

mod cron;
mod filter;
mod kept;
mod nearest;
mod rulebook;

pub use rulebook::{Judged, Rulebook};
