//! A2A in front of a real broker with real agents, by a real HTTP client.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod cards;
mod faults;
mod lists;
mod options;
mod send;
mod streams;
mod tasks;
