//! The command line.

use crate::planted;
use crate::swarm::{self, Swarm};
use clap::Parser;
use std::process::ExitCode;

/// Runs seeded worlds over the engine and its log and checks the laws.
#[derive(Parser, Debug)]
#[command(name = "trunkline-sim")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print the trace. Runs on one thread.
    #[arg(long)]
    trace: bool,
    /// Run every seed twice and compare the traces. One in fifty always is.
    #[arg(long)]
    twice: bool,
    /// Instead of a random mix, let each world live for so many hours with the settings as they
    /// come, tasks of up to an hour, and a broker that is killed, stopped and paused: nothing may
    /// be delivered twice.
    #[arg(long, conflicts_with = "planted", value_parser = clap::value_parser!(u32).range(1..=1000))]
    hours: Option<u32>,
    /// Plant every defect, or the named one, and check that each is caught.
    #[arg(long, num_args = 0..=1, default_missing_value = "all", value_name = "NAME")]
    planted: Option<String>,
}

/// Runs the command with the arguments of this process. Exits with 0 if every law held, with 1 if
/// one did not, and with 2 for wrong arguments.
pub fn run() -> ExitCode {
    let Args { seeds, from, trace, twice, hours, planted } = Args::parse();
    let good = match planted {
        Some(name) => planted::run(&name, from, seeds),
        None => swarm::run(Swarm { from, seeds, trace, twice, hours }),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
