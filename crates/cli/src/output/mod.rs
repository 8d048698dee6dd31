//! What the user sees: results on stdout, everything else on stderr.

mod json;
mod screen;
mod table;
pub(crate) mod units;

pub(crate) use json::{agent, dead_letter, event, payload, task, task_update};
pub(crate) use screen::{Output, note};
pub(crate) use table::{fields, rows, stats_table};
