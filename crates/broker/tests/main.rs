//! The tests of the broker, in one binary.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod changes;
mod cleaning;
mod common;
mod drain;
mod durable;
mod history;
mod index_check;
mod index_damage;
mod index_rows;
mod key_index;
mod laws;
mod letters;
mod network;
mod power;
mod reconfigure;
mod rules;
mod sessions;
mod skipping;
mod spill;
mod storage;
