//! The server in front of a real broker, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod directory;
mod gathering;
mod inboxes;
mod letters;
mod life;
mod lists;
mod messages;
mod options;
mod running;
mod schedules;
mod sessions;
mod work;
