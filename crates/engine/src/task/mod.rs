//! Tasks: states, numbered events, watchers, and what callers can do about them.

mod control;
mod events;
mod history;
mod list;
mod orders;
mod resume;
mod table;
mod watch;

pub(crate) use events::event_bytes;
pub(crate) use table::{Task, Tasks};
pub(crate) use watch::unknown_task;
