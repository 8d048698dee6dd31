//! The commands, one file each.

pub(crate) mod agent;
pub(crate) mod agents;
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod dead;
pub(crate) mod publish;
pub(crate) mod request;
pub(crate) mod send;
pub(crate) mod serve;
mod signals;
pub(crate) mod stats;
pub(crate) mod subscribe;
pub(crate) mod task;
mod task_watch;
