//! The `trunkline` command: a broker, agents and whoever talks to them.
//!
//! Reads the command line, runs one command, and maps its end to an exit code. It owns what people
//! and scripts see; everything else is in the crates that it puts together. Read `args` for what
//! there is, then `commands`, one file each.

#![allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "every command takes its output alike, however small that is"
)]

mod args;
mod around;
mod commands;
mod config;
mod connect;
mod demo;
mod descriptors;
mod error;
mod exit;
mod input;
mod marks;
mod memory;
mod mistake;
mod output;
mod run;
mod torture;

use mimalloc::MiMalloc;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    run::main()
}
