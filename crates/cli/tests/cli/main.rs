//! The real binary, on loopback and in temporary directories.
//!
//! `harness` starts brokers, agents and commands and waits for what they make true; the other
//! files are one subject each.

#![allow(clippy::unwrap_used, reason = "the harness is test code through and through")]

mod config;
mod events;
mod harness;
mod help;
mod lifecycle;
mod lists;
mod refusals;
mod restart;
mod shows;
mod tasks;
mod work;
