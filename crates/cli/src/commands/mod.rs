//! The commands, one file each.

pub(crate) mod agent;
pub(crate) mod agents;
mod agents_watch;
pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod dead;
mod dead_end;
pub(crate) mod inbox;
pub(crate) mod message;
mod paging;
pub(crate) mod publish;
pub(crate) mod request;
pub(crate) mod restore;
pub(crate) mod schedule;
pub(crate) mod send;
pub(crate) mod serve;
mod serve_reload;
mod signals;
pub(crate) mod stats;
mod storage;
pub(crate) mod subscribe;
pub(crate) mod task;
mod task_watch;
pub(crate) mod verify;
