//! The commands, one file each.

pub(crate) mod agent;
pub(crate) mod agents;
mod agents_watch;
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dead;
mod dead_end;
pub(crate) mod inbox;
pub(crate) mod message;
pub(crate) mod publish;
pub(crate) mod request;
pub(crate) mod schedule;
pub(crate) mod send;
pub(crate) mod serve;
mod serve_reload;
mod signals;
pub(crate) mod stats;
pub(crate) mod subscribe;
pub(crate) mod task;
mod task_watch;

/// How many entries to ask for where this many are wanted: a page has no more than 1,000.
fn page_limit(wanted: usize) -> u32 {
    u32::try_from(wanted).map_or(1_000, |wanted| wanted.min(1_000))
}
