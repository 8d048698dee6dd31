//! Tasks: states, numbered events, watchers, and what callers can do about them.

mod control;
mod ended;
mod events;
mod history;
mod list;
mod merge;
mod orders;
mod resume;
mod table;
mod watch;

pub use ended::{EndedTask, Outcomes, TaskIndex};
pub(crate) use events::event_bytes;
pub use merge::{merge_changes, merge_context, merge_tasks};
pub(crate) use table::{More, Task, Tasks};
pub(crate) use watch::unknown_task;
