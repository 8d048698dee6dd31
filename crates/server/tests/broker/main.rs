//! The server in front of a real broker, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod agent;
mod life;
mod lists;
mod messages;
mod running;
mod sessions;
mod work;
