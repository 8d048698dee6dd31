//! The rounds: Trunkline and its rival in turns, each in processes of their own.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::Run;
use crate::install::Programs;
use crate::load::Turn;
use crate::outcome::{Outcome, Side};
use crate::rival;
use crate::row::{Figure, Row};
use crate::server::Server;

/// How long a turn may take beyond the time that load is offered.
const PATIENCE: Duration = Duration::from_mins(2);

/// A rival's share of one round.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    row: String,
    /// The server's port, where the rival has one
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long)]
    seconds: f64,
}

/// Does a rival's share of one round, and prints what it came to.
///
/// # Errors
/// It fails, or the counts do not agree.
pub(crate) fn load(args: &LoadArgs) -> Result<()> {
    let row = Row::all().into_iter().find(|row| row.name() == args.row);
    let row = row.with_context(|| format!("there is no row '{}'", args.row))?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // As many threads as Trunkline's load has: over a socket more would take the server's core.
    if !row.rival.is_in_process() {
        builder.worker_threads(1);
    }
    let runtime = builder.enable_all().build()?;
    let turn = runtime.block_on(rival::turn(row, args.port, args.seconds))?;
    runtime.shutdown_background();
    println!("{}", serde_json::to_string(&turn)?);
    Ok(())
}

/// What came of the rows, and the rivals that came from packages with their versions.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) rivals: Vec<String>,
}

/// Plays every row.
///
/// # Errors
/// This program does not know where it is. What goes wrong with a row is its outcome.
pub(crate) async fn play(rows: &[Row], run: &Run) -> Result<Played> {
    let this = std::env::current_exe().context("cannot tell what program this is")?;
    let programs = Programs::for_rivals(rows.iter().map(|row| row.rival), &run.rivals);
    let mut outcomes = Vec::new();
    for (number, row) in (1..).zip(rows) {
        eprintln!("compare {number} of {}: {}", rows.len(), row.name());
        let outcome = match programs.missing(row.rival) {
            Some(why) => Outcome::skipped(*row, why),
            None => match turns(*row, run, &this, &programs).await {
                Ok(turns) => Outcome::measured(*row, &turns),
                Err(error) => Outcome::failed(*row, &format!("{error:#}")),
            },
        };
        eprintln!("  {}", outcome.in_short());
        outcomes.push(outcome);
    }
    let rivals = programs.versions();
    for version in &rivals {
        eprintln!("compare: with {version}");
    }
    Ok(Played { outcomes, rivals })
}

/// The figures of each round: Trunkline's and the rival's.
async fn turns(row: Row, run: &Run, this: &Path, programs: &Programs) -> Result<Vec<(f64, f64)>> {
    let mut rounds = Vec::new();
    for _ in 0..run.rounds {
        let ours = trunkline(row, run).await.with_context(|| Side::Trunkline.to_string())?;
        let theirs = other(row, run, this, programs).await;
        rounds.push((ours, theirs.with_context(|| Side::Rival.to_string())?));
    }
    Ok(rounds)
}

async fn trunkline(row: Row, run: &Run) -> Result<f64> {
    let mut command = Command::new(&run.trunkline);
    command.arg("bench").args(row.bench()).args(["--seconds", &run.seconds.to_string(), "--json"]);
    if row.is_durable() {
        command.arg("--dir").arg(&run.dir);
    }
    let report = output(command, run.seconds).await?;
    let figure = match row.figure() {
        Figure::PerSecond => &report["rate_per_s"],
        Figure::MedianMicros => &report["latency_us"]["p50"],
    };
    figure.as_f64().with_context(|| format!("there is no figure in {report}"))
}

async fn other(row: Row, run: &Run, this: &Path, programs: &Programs) -> Result<f64> {
    let server = if row.rival.is_in_process() {
        None
    } else {
        Some(Server::start(row.rival, programs, &run.dir).await?)
    };
    let mut command = Command::new(this);
    command.args(["load", &row.name(), "--seconds", &run.seconds.to_string()]);
    if let Some(server) = &server {
        command.args(["--port", &server.port.to_string()]);
    }
    let turn: Turn = serde_json::from_value(output(command, run.seconds).await?)?;
    match row.figure() {
        Figure::PerSecond => Ok(turn.rate_per_s),
        Figure::MedianMicros => turn.p50_us.context("nothing was timed"),
    }
}

/// Runs a program that prints one JSON value.
async fn output(mut command: Command, seconds: f64) -> Result<Value> {
    let program = PathBuf::from(command.as_std().get_program());
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).kill_on_drop(true);
    let limit = Duration::from_secs_f64(seconds) + PATIENCE;
    let ended = tokio::time::timeout(limit, command.output()).await;
    let ended = ended.with_context(|| format!("{name} took longer than {limit:?}"))?;
    let Output { status, stdout, stderr } =
        ended.with_context(|| format!("cannot start {name}"))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
        bail!("{name} ended with {status}; it said: {}", last.trim());
    }
    serde_json::from_slice(&stdout).with_context(|| format!("{name} printed no JSON"))
}
