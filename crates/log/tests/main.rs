//! The tests of the log, in one binary.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod committer;
mod committer_flush;
mod common;
mod damage;
mod directory;
mod forged;
mod options;
mod reader;
mod recovery;
mod reserve;
mod space;
