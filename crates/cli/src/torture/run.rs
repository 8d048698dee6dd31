//! The whole run: rounds over each storage, the control experiment, the report.

use super::args::{Disk, Mode, TortureArgs};
use super::process::free_port;
use super::promise::{Promise, Tallies};
use super::report::{self, Report};
use super::round::{self, Counts, Found, Plan};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// Kills of the control experiment that goes with an ordinary run.
const CONTROL_KILLS: u32 = 3;

/// Runs the command.
///
/// # Errors
/// A promise was broken, too little happened to say so, or the run could not be made.
pub(crate) async fn run(args: TortureArgs, output: &Output) -> Result<(), CliError> {
    let begun = Instant::now();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut place = Place::new(args.data.as_deref())?;
    let bar = bar(&args, *output);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let report = tokio::select! {
        report = rounds(&args, seed, &mut place, &bar) => report,
        // What has been started is killed when it is dropped.
        _ = terminate.recv() => return Err(interrupted()),
        _ = interrupt.recv() => return Err(interrupted()),
    };
    bar.finish_and_clear();
    let report = report.map_err(|error| {
        let kept = place.keep();
        error.hint(format_args!("data and logs are kept in {}", kept.display()))
    })?;
    let report = Report { seconds: begun.elapsed(), ..report };
    let verdict = report.verdict(&args);
    report::print(&report, &args, verdict.as_ref().err(), *output)?;
    let broken = report.whole.tallies.any_broken() && !args.expect_loss;
    verdict.map_err(|why| {
        if !broken {
            return CliError::new(Exit::Mismatch, why);
        }
        let kept = place.keep();
        let hint = format!("data and logs are kept in {}", kept.display());
        CliError::new(Exit::Mismatch, why).hint(hint)
    })
}

fn interrupted() -> CliError {
    CliError::new(Exit::Interrupted, "interrupted; everything that was started is killed")
}

async fn rounds(
    args: &TortureArgs,
    seed: u64,
    place: &mut Place,
    bar: &ProgressBar,
) -> Result<Report, CliError> {
    let until = Instant::now() + Duration::from_mins(u64::from(args.minutes));
    let address = free_port()?;
    let mut report = Report { seed, ..Report::default() };
    for (disk, kills) in schedule(args) {
        let plan = place.plan(disk, kills, seed, args.rate, until);
        if Instant::now() > until {
            report.cut_short = true;
            break;
        }
        bar.set_message(disk.name());
        let found = one(&plan, address, bar).await?;
        report.cut_short |= found.counts.kills < u64::from(kills);
        // A broken promise leaves what there is to look at.
        if !found.tallies.any_broken() || args.expect_loss {
            clear(&plan);
        }
        let sum = report.disks.entry(disk.name()).or_default();
        sum.counts.add(found.counts.clone());
        sum.tallies.add(found.tallies.clone());
        report.whole.counts.add(found.counts);
        report.whole.tallies.add(found.tallies);
    }
    if !args.never_flush && !report.cut_short {
        bar.set_message("control experiment");
        let plan = place.plan(Disk::NeverFlushed, CONTROL_KILLS, seed, args.rate, until);
        let control = one(&plan, address, bar).await?;
        clear(&plan);
        report.control = Some(control);
    }
    Ok(report)
}

async fn one(plan: &Plan, address: SocketAddr, bar: &ProgressBar) -> Result<Found, CliError> {
    Box::pin(round::run(plan, address, || bar.inc(1))).await
}

/// Which rounds there are: what is under the broker and how many kills.
fn schedule(args: &TortureArgs) -> Vec<(Disk, u32)> {
    let parts = if args.never_flush {
        vec![(Disk::NeverFlushed, args.kills)]
    } else {
        match args.mode {
            Mode::Kill => vec![(Disk::Plain, args.kills)],
            Mode::Unflushed => vec![(Disk::Unflushed, args.kills)],
            Mode::Both => {
                let half = args.kills / 2;
                vec![(Disk::Plain, args.kills - half), (Disk::Unflushed, half)]
            }
        }
    };
    let mut rounds = Vec::new();
    for (disk, mut kills) in parts {
        while kills > 0 {
            let now = kills.min(args.round);
            rounds.push((disk, now));
            kills -= now;
        }
    }
    rounds
}

fn bar(args: &TortureArgs, output: Output) -> ProgressBar {
    let control = if args.never_flush { 0 } else { CONTROL_KILLS };
    let bar = ProgressBar::new(u64::from(args.kills + control));
    let target = if output.is_interactive() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    bar.set_draw_target(target);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos}/{len} kills · {msg} · {elapsed}")
    {
        bar.set_style(style);
    }
    bar
}

/// Where the brokers keep their data.
enum Place {
    /// A directory that was asked for.
    Given(PathBuf, u32),
    /// One that goes when all is well.
    Temporary(Option<TempDir>, u32),
}

impl Place {
    fn new(given: Option<&Path>) -> Result<Self, CliError> {
        let named = |path: &Path, error: std::io::Error| {
            CliError::new(Exit::General, format_args!("cannot use '{}': {error}", path.display()))
        };
        let Some(path) = given else {
            let directory = tempfile::Builder::new().prefix("trunkline-torture-").tempdir();
            let directory = directory.map_err(|error| named(&std::env::temp_dir(), error))?;
            return Ok(Self::Temporary(Some(directory), 0));
        };
        std::fs::create_dir_all(path).map_err(|error| named(path, error))?;
        let mut entries = std::fs::read_dir(path).map_err(|error| named(path, error))?;
        if entries.next().is_some() {
            let what = format!("'{}' is not empty; name a new directory", path.display());
            return Err(CliError::usage(what));
        }
        Ok(Self::Given(path.to_owned(), 0))
    }

    fn plan(&mut self, disk: Disk, kills: u32, seed: u64, rate: u32, until: Instant) -> Plan {
        let path = self.path().to_owned();
        let (Self::Given(_, number) | Self::Temporary(_, number)) = self;
        *number += 1;
        let mut rng = fastrand::Rng::with_seed(seed ^ u64::from(*number));
        Plan {
            disk,
            kills,
            seed: rng.u64(..),
            rate,
            directory: path.join(format!("round-{number}")),
            prefix: format!("r{number}"),
            until,
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path, _) => path,
            Self::Temporary(Some(directory), _) => directory.path(),
            Self::Temporary(None, _) => Path::new(""),
        }
    }

    /// Keeps what there is, and says where.
    fn keep(&mut self) -> PathBuf {
        match self {
            Self::Given(path, _) => path.clone(),
            Self::Temporary(directory, _) => {
                directory.take().map(TempDir::keep).unwrap_or_default()
            }
        }
    }
}

/// Removes what a round has left.
fn clear(plan: &Plan) {
    // What cannot be removed now is removed with the whole, or stays where it was wanted.
    let _ = std::fs::remove_dir_all(&plan.directory);
    let _ = std::fs::remove_file(round::log_path(&plan.directory));
}

impl Report {
    /// Whether the run proves what it was made to prove.
    ///
    /// # Errors
    /// Why it does not.
    fn verdict(&self, args: &TortureArgs) -> Result<(), String> {
        let lost = |tallies: &Tallies| tallies.of(Promise::NothingLost).broken;
        if args.expect_loss {
            return match lost(&self.whole.tallies) {
                0 => Err("no accepted work was lost, although loss was expected".into()),
                _ => Ok(()),
            };
        }
        if self.whole.tallies.any_broken() {
            return Err("promises were broken".into());
        }
        if self.cut_short {
            let kills = self.whole.counts.kills;
            return Err(format!("only {kills} of {} kills were made in time", args.kills));
        }
        too_little(&self.whole.counts)?;
        match &self.control {
            Some(control) if lost(&control.tallies) == 0 => {
                Err("the control experiment lost nothing, so this run would not notice loss".into())
            }
            _ => Ok(()),
        }
    }
}

/// A run in which nothing happened proves nothing.
fn too_little(counts: &Counts) -> Result<(), String> {
    let Counts { kills, accepted_synced, redeliveries, returns, .. } = counts;
    if *accepted_synced < kills * 10 {
        return Err(format!("only {accepted_synced} synced tasks were accepted in {kills} kills"));
    }
    if *redeliveries == 0 {
        return Err("nothing was delivered again".into());
    }
    if *returns == 0 {
        return Err("no session came back".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TortureArgs,
    }

    fn args(line: &str) -> TortureArgs {
        Line::parse_from(std::iter::once("torture").chain(line.split_whitespace())).args
    }

    fn report(lost: u64) -> Report {
        let mut report = Report::default();
        report.whole.counts = Counts {
            kills: 2,
            accepted_synced: 20,
            redeliveries: 1,
            returns: 1,
            ..Counts::default()
        };
        report.whole.tallies.held(Promise::NothingLost, 20);
        for _ in 0..lost {
            report.whole.tallies.check(Promise::NothingLost, false, String::new);
        }
        report
    }

    #[test]
    fn kills_are_shared_out_over_rounds_and_storages() {
        let plain = Disk::Plain;
        let unflushed = Disk::Unflushed;
        let rounds = schedule(&args("--kills 9 --round 3"));
        assert_eq!(rounds, [(plain, 3), (plain, 2), (unflushed, 3), (unflushed, 1)]);
        assert_eq!(schedule(&args("--kills 1")), [(plain, 1)]);
        let rounds = schedule(&args("--kills 2 --never-flush"));
        assert_eq!(rounds, [(Disk::NeverFlushed, 2)]);
    }

    #[test]
    fn loss_fails_a_run_unless_it_is_expected() {
        assert!(report(0).verdict(&args("")).is_ok());
        assert!(report(1).verdict(&args("")).is_err());
        assert!(report(1).verdict(&args("--expect-loss")).is_ok());
        assert!(report(0).verdict(&args("--expect-loss")).is_err());
    }

    #[test]
    fn a_run_in_which_too_little_happened_fails() {
        let fails = |change: fn(&mut Report)| {
            let mut report = report(0);
            change(&mut report);
            report.verdict(&args("")).is_err()
        };
        assert!(fails(|report| report.whole.counts.accepted_synced = 19));
        assert!(fails(|report| report.whole.counts.redeliveries = 0));
        assert!(fails(|report| report.whole.counts.returns = 0));
        assert!(fails(|report| report.cut_short = true));
        // A control experiment that finds nothing.
        assert!(fails(|report| report.control = Some(Found::default())));
    }
}
