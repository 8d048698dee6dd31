//! The same work done by Trunkline and by others, in turns, and what the one is to the other.
//!
//! Each row is one kind of work and one rival. Rounds alternate: Trunkline, as `trunkline bench …
//! --json` in a process of its own, then the rival, whose load is this program again with `load`.
//! Payloads are unique and checked where they are handled, by the very code that Trunkline's
//! benchmark uses; where counts do not agree there is no figure. Read `row` for what is compared,
//! `load` for how it is counted, `rival` for how each rival is used.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what it has to say it prints; there is no log to send it to"
)]

mod docs;
mod install;
mod load;
mod outcome;
#[path = "../../crates/bench/src/payload.rs"]
mod payload;
mod rival;
mod round;
mod row;
#[path = "../../crates/bench/src/seen.rs"]
mod seen;
mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use row::Row;

/// The allocator that Trunkline's binary has.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Debug, Parser)]
#[command(name = "compare", about = "Trunkline beside others, the same work in turns")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Compare, and print the table
    Run(Run),
    /// Print the names of the rows
    List,
    /// Do a rival's share of one round and print what it came to
    #[command(hide = true)]
    Load(round::LoadArgs),
    /// Send back over gRPC whatever comes, until somebody ends it
    #[command(hide = true)]
    Echo {
        /// Where to listen on loopback
        #[arg(long)]
        port: u16,
    },
}

/// What is compared, and how often.
#[derive(Debug, clap::Args)]
struct Run {
    /// Rows, by their whole name or by either half of it; all if none is given
    rows: Vec<String>,
    /// How often each side has its turn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// For how long each turn offers load, after warming up
    #[arg(long, default_value_t = 4.0, value_parser = seconds)]
    seconds: f64,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// The release binary of Trunkline
    #[arg(long)]
    trunkline: PathBuf,
    /// Where rivals are installed that need no place in the system
    #[arg(long)]
    rivals: PathBuf,
    /// Where data directories are made, of both sides
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// The document that keeps the table between its markers
    #[arg(long)]
    write: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_error| format!("'{text}' is no number"))?;
    let range = 0.1..=600.0;
    if range.contains(&seconds) { Ok(seconds) } else { Err("the range is 0.1 to 600".to_owned()) }
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::List => {
            for row in Row::all() {
                println!("{:<28} {}", row.name(), row.title());
            }
            Ok(())
        }
        Task::Load(args) => round::load(&args),
        Task::Echo { port } => rival::tonic::serve(port),
        Task::Run(args) => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Plays every row that was asked for, and tells what came of them.
#[tokio::main(flavor = "current_thread")]
async fn run(args: &Run) -> Result<()> {
    let rows = choose(&args.rows)?;
    // Dropping the work ends the servers and the loads.
    let played = tokio::select! {
        played = round::play(&rows, args) => played?,
        interrupted = interruption() => {
            interrupted.context("cannot listen for signals")?;
            bail!("interrupted before there was a table")
        }
    };
    let table = docs::Table::new(played, build(&args.trunkline)?, args.seconds);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&table)?);
    } else {
        print!("{}", table.markdown());
    }
    if let Some(path) = &args.write {
        table.write(path)?;
        eprintln!("compare: the rows with figures are kept in {}", path.display());
    }
    match table.failed() {
        0 => Ok(()),
        failed => bail!("{failed} of {} rows came to no figure", rows.len()),
    }
}

/// Which build the binary is, without the name in front: its commit if it knows that.
fn build(trunkline: &Path) -> Result<String> {
    let output = Command::new(trunkline).arg("--version").output();
    let output = output.with_context(|| trunkline.display().to_string())?;
    let version = String::from_utf8_lossy(&output.stdout);
    let version = version.trim().trim_start_matches("trunkline ");
    let commit = version.split_once('(').and_then(|(_, commit)| commit.strip_suffix(')'));
    Ok(commit.unwrap_or(version).to_owned())
}

async fn interruption() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}

fn choose(wanted: &[String]) -> Result<Vec<Row>> {
    let all = Row::all();
    if let Some(unknown) = wanted.iter().find(|name| !all.iter().any(|row| row.answers_to(name))) {
        let names: Vec<String> = all.iter().map(Row::name).collect();
        bail!("there is no row '{unknown}'; rows are {}", names.join(", "));
    }
    let is_wanted = |row: &Row| wanted.is_empty() || wanted.iter().any(|it| row.answers_to(it));
    Ok(all.into_iter().filter(is_wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        choose(&names).unwrap().iter().map(Row::name).collect()
    }

    #[test]
    fn a_row_is_chosen_by_its_name_or_by_either_half_of_it() {
        assert_eq!(chosen(&["oneway/nats"]), ["oneway/nats"]);
        assert_eq!(chosen(&["fanout", "inproc/kameo"]), ["inproc/kameo", "fanout/nats"]);
        assert_eq!(chosen(&["rabbitmq"]), ["durable/rabbitmq", "durable-accept/rabbitmq"]);
        assert_eq!(chosen(&[]).len(), Row::all().len());
        let error = choose(&["rabbits".to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("there is no row 'rabbits'; rows are inproc/kameo"), "{error}");
    }

    #[test]
    fn no_two_rows_have_one_name() {
        let mut names: Vec<String> = Row::all().iter().map(Row::name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
