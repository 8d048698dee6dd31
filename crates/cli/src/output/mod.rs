//! What the user sees: results on stdout, everything else on stderr.

mod json;
mod screen;
mod table;
pub(crate) mod units;

pub(crate) use json::{
    agent, agent_news, context, dead_letter, event, gathered, inbox, message, payload, plain,
    schedule, task, task_update,
};
pub(crate) use screen::{Output, note, one_line};
pub(crate) use table::{fields, rows, stats_table};
