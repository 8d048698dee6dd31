//! Project tasks, run as `cargo xtask …`.
//!
//! Its job: one command for everything that a change has to pass. It starts other programs and
//! reads the tree; it depends on no crate of the workspace, so that it still builds when they do
//! not. Read `tidy` for the rules and `suite` for the order of the tests.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task's output is what it prints; there is no log to send it to"
)]

mod compare;
mod failure;
mod flame;
mod fuzz;
mod instructions;
mod measure;
mod project;
mod python;
mod run;
mod suite;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;
use suite::Step;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Project tasks", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check what the compiler does not: crate edges, file sizes, licences, doubled versions,
    /// stray words, links
    #[command(after_help = "Example:\n  cargo xtask tidy")]
    Tidy,
    /// Build what the tests need, then run all of them, in order, up to the first failure
    #[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --only sim")]
    Test {
        /// Run this one step, with whatever it needs built
        #[arg(long, value_name = "STEP")]
        only: Option<Step>,
        /// Print the steps and their commands without running them
        #[arg(long, conflicts_with = "only")]
        list: bool,
    },
    /// Count what one message takes in the engine, and compare it with the kept figures
    #[command(
        after_help = "Examples:\n  cargo xtask instructions\n  cargo xtask instructions --update"
    )]
    Instructions {
        /// Keep the figures of this tree instead
        #[arg(long)]
        update: bool,
    },
    /// Compare with others that do the same work, in turns, and keep the table in docs/benchmarks.md
    #[command(
        after_help = "Examples:\n  cargo xtask compare --list\n  cargo xtask compare\n  cargo xtask compare durable nats --rounds 5"
    )]
    Compare(compare::Compare),
    /// Take every figure that docs/benchmarks.md tells of, and print them as tables
    #[command(
        after_help = "Examples:\n  cargo xtask measure --list\n  cargo xtask measure marks --rounds 5\n  cargo xtask measure"
    )]
    Measure(measure::Measure),
    /// Draw where the time of a benchmark goes
    #[command(
        after_help = "Examples:\n  cargo xtask flame inproc\n  cargo xtask flame durable -- --seconds 10"
    )]
    Flame {
        /// A scenario of `trunkline bench`
        #[arg(value_name = "SCENARIO")]
        scenario: String,
        /// Further arguments for `trunkline bench`, passed on as they are
        #[arg(last = true, value_name = "ARGS")]
        extra: Vec<String>,
    },
    /// Kill the release binary under load, again and again, and account for every task
    #[command(after_help = "Example:\n  cargo xtask torture --kills 1000")]
    Torture {
        /// How many times the broker is killed
        #[arg(long, value_name = "N", default_value_t = suite::KILLS)]
        kills: u32,
        /// Further arguments for `trunkline torture`, passed on as they are
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        extra: Vec<String>,
    },
    /// Build the Python package into an environment of its own, and run everything that checks it
    #[command(
        after_help = "Examples:\n  cargo xtask python\n  PYTHON=python3.12 cargo xtask python"
    )]
    Python,
    /// Run the fuzz targets, each for a while, from the inputs kept in `fuzz/corpus`
    #[command(
        after_help = "Examples:\n  cargo xtask fuzz\n  cargo xtask fuzz frames --seconds 600"
    )]
    Fuzz {
        /// Only these targets
        #[arg(value_name = "TARGET")]
        targets: Vec<String>,
        /// How long each target runs
        #[arg(long, value_name = "N", default_value_t = fuzz::SECONDS)]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Tidy => tidy::report(),
        Task::Test { list: true, .. } => suite::list(),
        Task::Test { only: Some(step), .. } => suite::one(step),
        Task::Test { .. } => suite::all(),
        Task::Fuzz { targets, seconds } => fuzz::run(&targets, seconds),
        Task::Python => python::run(),
        Task::Instructions { update } => instructions::run(update),
        Task::Compare(asked) => compare::run(&asked),
        Task::Measure(asked) => measure::run(&asked),
        Task::Flame { scenario, extra } => flame::run(&scenario, &extra),
        Task::Torture { kills, extra } => suite::torture(kills, &extra),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { message, code }) => {
            eprintln!("xtask: {message}");
            ExitCode::from(code)
        }
    }
}
