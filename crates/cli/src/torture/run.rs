//! The whole run: rounds over each storage, the control experiment, the report.

use super::args::{Disk, TortureArgs};
use super::counts::Count;
use super::fault::{Fault, Faults};
use super::link::Link;
use super::place::{Place, clear};
use super::process::free_port;
use super::promise::{Promise, Tallies};
use super::report::{self, Network, Report};
use super::round::{self, Found, Plan};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Kills of the control experiment that goes with an ordinary run.
const CONTROL_KILLS: u32 = 3;
/// What was found, in words, beside the data of rounds in which a promise was broken.
const VERDICT: &str = "verdict.txt";

/// Runs the command.
///
/// # Errors
/// A promise was broken, too little happened to say so, or the run could not be made.
pub(crate) async fn run(args: TortureArgs, output: &Output) -> Result<(), CliError> {
    check(&args)?;
    let begun = Instant::now();
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut place = Place::new(args.data.as_deref())?;
    let bar = bar(&args, *output);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let report = tokio::select! {
        report = rounds(&args, seed, &mut place, &bar, *output) => report,
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
        let hint = keep(&place.keep(), &report::text(&report, &args, Some(&why)));
        CliError::new(Exit::Mismatch, why).hint(hint)
    })
}

/// Writes what was found beside the data in which it was found. Tells where both are.
fn keep(kept: &Path, verdict: &str) -> String {
    let file = kept.join(VERDICT);
    match std::fs::write(&file, format!("{verdict}\n")) {
        Ok(()) => {
            format!("data and logs are kept in {}, this verdict in {VERDICT} there", kept.display())
        }
        Err(error) => format!(
            "data and logs are kept in {}; this verdict is not, as {VERDICT} cannot be written: \
             {error}",
            kept.display()
        ),
    }
}

/// Whether each fault can strike in some round.
fn check(args: &TortureArgs) -> Result<(), CliError> {
    let flips = |disk| faults(args, disk).has(Fault::IndexFlip);
    if !args.faults().has(Fault::IndexFlip) || disks(args).into_iter().any(flips) {
        return Ok(());
    }
    let why = "index-flip needs rounds over the plain file system, where a broker has an index: \
               add kill, or leave unflushed and disk-full out";
    Err(CliError::usage(why))
}

fn interrupted() -> CliError {
    CliError::new(Exit::Interrupted, "interrupted; everything that was started is killed")
}

async fn rounds(
    args: &TortureArgs,
    seed: u64,
    place: &mut Place,
    bar: &ProgressBar,
    output: Output,
) -> Result<Report, CliError> {
    let until = Instant::now() + Duration::from_mins(u64::from(args.minutes()));
    let address = free_port()?;
    let network = network(args.faults());
    let mut report = Report { seed, network, ..Report::default() };
    for (number, (disk, steps)) in (1..).zip(schedule(args)) {
        if Instant::now() > until {
            // Without a number of kills, as many as there was time for are all.
            report.cut_short = args.kills().is_some();
            break;
        }
        let plan = place.plan(args, (disk, faults(args, disk)), steps, seed, until);
        let plan = Plan { apart: report.network.is_own(), ..plan };
        let found = one(&plan, address, bar).await?;
        report.cut_short |= args.kills().is_some() && found.steps < steps;
        // A broken promise leaves what there is to look at.
        if !found.tallies.any_broken() || args.expect_loss {
            clear(&plan);
        }
        note(number, disk, &found, bar, output);
        report.whole.add(found);
    }
    if !args.never_flush && !report.cut_short {
        let plan = place.plan(
            args,
            (Disk::NeverFlushed, Fault::Unflushed.into()),
            CONTROL_KILLS,
            seed,
            until,
        );
        let never = Instant::now() + Duration::from_hours(1);
        let plan = Plan { until: never, ..plan };
        let control = one(&plan, address, bar).await?;
        clear(&plan);
        report.control = Some(control);
    }
    Ok(report)
}

async fn one(plan: &Plan, address: SocketAddr, bar: &ProgressBar) -> Result<Found, CliError> {
    let progress = |fault: Fault, done: bool| {
        bar.set_message(format!("{} · {}", plan.disk.name(), fault.word()));
        bar.inc(u64::from(done));
    };
    Box::pin(round::run(plan, address, progress)).await
}

/// How the network is disturbed here, if it is: by a link of the broker's own where one can be
/// made.
fn network(faults: Faults) -> Network {
    if !faults.has_any(&Fault::NETWORK) {
        return Network::Left;
    }
    match Link::make() {
        Ok(link) => Network::Own { delays: link.delays() },
        Err(why) => Network::Proxy(why.to_string()),
    }
}

/// Tells on stderr that a round is over.
fn note(number: u32, disk: Disk, found: &Found, bar: &ProgressBar, output: Output) {
    if output.is_json() {
        return;
    }
    let faults: u64 = found.faults.values().sum();
    let word = if found.tallies.any_broken() { "BROKEN" } else { "held" };
    let said = format!("round {number}: {}, {faults} faults, promises {word}", disk.name());
    bar.suspend(|| output.note(said));
}

/// Which rounds there are: what is under the broker and how many steps. Without a number of kills
/// they do not end by themselves.
fn schedule(args: &TortureArgs) -> Box<dyn Iterator<Item = (Disk, u32)> + Send> {
    let disks = disks(args);
    let most = args.round;
    let Some(kills) = args.kills() else {
        return Box::new(disks.into_iter().cycle().map(move |disk| (disk, most)));
    };
    let parts = match disks.as_slice() {
        [first, second] => vec![(*first, kills - kills / 2), (*second, kills / 2)],
        disks => disks.iter().map(|disk| (*disk, kills)).collect(),
    };
    Box::new(parts.into_iter().flat_map(move |(disk, kills)| {
        let rounds = kills.div_ceil(most);
        (0..rounds).map(move |round| (disk, most.min(kills - round * most)))
    }))
}

fn disks(args: &TortureArgs) -> Vec<Disk> {
    let faults = args.faults();
    match (faults.has(Fault::Kill), faults.has(Fault::Unflushed)) {
        (_, true) if args.never_flush => vec![Disk::NeverFlushed],
        (true, true) => vec![Disk::Plain, Disk::Unflushed],
        (false, true) => vec![Disk::Unflushed],
        (_, false) => vec![Disk::Plain],
    }
}

/// The faults of a round. The disk runs full where there is a layer over it in any case, so that
/// a broker on a plain file system is as users have it, its index included.
fn faults(args: &TortureArgs, disk: Disk) -> Faults {
    let all = args.faults();
    let both = all.has(Fault::Kill) && all.has(Fault::Unflushed);
    all.each()
        .filter(|fault| match fault {
            Fault::Kill => disk == Disk::Plain,
            Fault::Unflushed => disk != Disk::Plain,
            Fault::DiskFull => !both || disk == Disk::Unflushed,
            // A broker over a layer has no index.
            Fault::IndexFlip => disk == Disk::Plain && (both || !all.has(Fault::DiskFull)),
            _ => true,
        })
        .collect()
}

fn bar(args: &TortureArgs, output: Output) -> ProgressBar {
    let control = if args.never_flush { 0 } else { CONTROL_KILLS };
    let bar = match args.kills() {
        Some(kills) => ProgressBar::new(u64::from(kills + control)),
        None => ProgressBar::no_length(),
    };
    let target = if output.is_interactive() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    bar.set_draw_target(target);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos}/{len} kills · {elapsed} · {msg}")
    {
        bar.set_style(style);
    }
    bar
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
            let (made, kills) = (self.whole.steps, args.kills().unwrap_or_default());
            return Err(format!("only {made} of {kills} kills were made in time"));
        }
        too_little(&self.whole, args.faults())?;
        match &self.control {
            Some(control) if lost(&control.tallies) == 0 => {
                Err("the control experiment lost nothing, so this run would not notice loss".into())
            }
            _ => Ok(()),
        }
    }
}

/// A run in which nothing happened proves nothing.
fn too_little(found: &Found, wanted: Faults) -> Result<(), String> {
    let Found { counts, faults, .. } = found;
    let (kills, synced) = (found.kills(), counts.of(Count::AcceptedSynced));
    if synced < kills * 10 || synced == 0 {
        return Err(format!("only {synced} synced tasks were accepted in {kills} kills"));
    }
    if let Some(missing) = wanted.each().find(|fault| !faults.contains_key(fault)) {
        return Err(format!("there was no {}; let it run longer", missing.word()));
    }
    for promise in Promise::ALL {
        let due: Faults = wanted.each().filter(|it| promise.due_under().has(*it)).collect();
        let untested = found.tallies.untested(promise, due);
        if due != Faults::NONE && untested == due {
            let words: Vec<_> = due.each().map(Fault::word).collect();
            let (text, words) = (promise.text(), words.join(" and "));
            return Err(format!("not tested: {text}, under {words}; let it run longer"));
        }
    }
    if kills > 0 && counts.of(Count::Redeliveries) == 0 {
        return Err("nothing was delivered again".into());
    }
    for (count, what) in
        [(Count::Uncleaned, "cleaned no segment"), (Count::Unspilled, "read no payload back")]
    {
        let (rounds, small) = (counts.of(count), counts.of(Count::Small));
        if rounds > 0 {
            return Err(format!("{rounds} of {small} rounds with small bounds {what}"));
        }
    }
    if (kills > 0 || wanted.has(Fault::Cut)) && counts.of(Count::Returns) == 0 {
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

    /// A run in which enough happened, and then what is taken from it is missing.
    fn report(lost: u64, missing: Option<Count>) -> Report {
        let mut report = Report::default();
        report.whole.faults = Fault::ALL.into_iter().map(|fault| (fault, 1)).collect();
        for (count, by) in
            [(Count::AcceptedSynced, 20), (Count::Redeliveries, 1), (Count::Returns, 1)]
        {
            report.whole.counts.more(count, by - u64::from(missing == Some(count)));
        }
        for promise in Promise::ALL {
            report.whole.tallies.held(promise, promise.judged_under(), 20);
        }
        for _ in 0..lost {
            report.whole.tallies.check(Promise::NothingLost, Fault::Kill, false, String::new);
        }
        report
    }

    #[test]
    fn kills_are_shared_out_over_rounds_and_storages() {
        let (plain, unflushed) = (Disk::Plain, Disk::Unflushed);
        let rounds = |line| schedule(&args(line)).collect::<Vec<_>>();
        assert_eq!(
            rounds("--kills 9 --round 3"),
            [(plain, 3), (plain, 2), (unflushed, 3), (unflushed, 1)]
        );
        assert_eq!(rounds("--kills 1"), [(plain, 1)]);
        assert_eq!(rounds("--kills 2 --faults kill"), [(plain, 2)]);
        assert_eq!(rounds("--kills 2 --faults unflushed,cut"), [(unflushed, 2)]);
        assert_eq!(rounds("--kills 2 --faults cut"), [(plain, 2)]);
        assert_eq!(rounds("--kills 2 --never-flush"), [(Disk::NeverFlushed, 2)]);
        // With a time there is always another round.
        let three: Vec<_> = schedule(&args("--minutes 1 --round 4")).take(3).collect();
        assert_eq!(three, [(plain, 4), (unflushed, 4), (plain, 4)]);
    }

    #[test]
    fn each_storage_has_its_own_faults() {
        let has = |line, disk| {
            let faults = faults(&args(line), disk);
            [Fault::Kill, Fault::Unflushed, Fault::DiskFull, Fault::Cut]
                .map(|fault| faults.has(fault))
        };
        assert_eq!(has("", Disk::Plain), [true, false, false, true]);
        assert_eq!(has("", Disk::Unflushed), [false, true, true, true]);
        assert_eq!(has("--faults kill,disk-full", Disk::Plain), [true, false, true, false]);
        // A broker over a layer has no index.
        let flips = |line, disk| faults(&args(line), disk).has(Fault::IndexFlip);
        assert!(flips("", Disk::Plain) && !flips("", Disk::Unflushed));
        assert!(!flips("--faults kill,disk-full,index-flip", Disk::Plain));
        for (line, possible) in [
            ("", true),
            ("--faults index-flip", true),
            ("--faults kill,unflushed,disk-full,index-flip", true),
            ("--faults kill,disk-full,index-flip", false),
            ("--faults unflushed,index-flip", false),
            ("--never-flush", true),
        ] {
            assert_eq!(check(&args(line)).is_ok(), possible, "{line}");
        }
    }

    #[test]
    fn the_verdict_of_a_run_that_broke_a_promise_is_kept_beside_its_data() {
        let kept = tempfile::tempdir().unwrap();
        let args = args("--kills 2");
        let mut report = report(0, None);
        report.seed = 77;
        let lost = || "task 5 is gone".to_owned();
        report.whole.tallies.check(Promise::NothingLost, Fault::Kill, false, lost);
        let why = report.verdict(&args).unwrap_err();
        let text = report::text(&report, &args, Some(&why));
        let hint = keep(kept.path(), &text);
        assert!(hint.contains(&kept.path().display().to_string()) && hint.contains(VERDICT));
        let written = std::fs::read_to_string(kept.path().join(VERDICT)).unwrap();
        assert_eq!(written, format!("{text}\n"));
        for part in ["BROKEN 1 of 21", "task 5 is gone", "promises were broken", "--seed 77"] {
            assert!(written.contains(part), "{part}: {written}");
        }
        let missing = kept.path().join("missing");
        assert!(keep(&missing, &text).contains("cannot be written"));
    }

    #[test]
    fn loss_fails_a_run_unless_it_is_expected() {
        let verdict = |lost, line| report(lost, None).verdict(&args(line));
        assert_eq!(verdict(0, ""), Ok(()));
        assert!(verdict(1, "").is_err());
        assert!(verdict(1, "--expect-loss").is_ok());
        assert!(verdict(0, "--expect-loss").is_err());
    }

    #[test]
    fn a_run_in_which_too_little_happened_fails() {
        for missing in [Count::AcceptedSynced, Count::Redeliveries, Count::Returns] {
            assert!(report(0, Some(missing)).verdict(&args("")).is_err(), "{missing:?}");
        }
        let verdict = |line, change: fn(&mut Report)| {
            let mut report = report(0, None);
            change(&mut report);
            report.verdict(&args(line))
        };
        assert!(verdict("", |report| report.cut_short = true).is_err());
        // Small bounds that nobody felt.
        let no_clean = verdict("", |report| report.whole.counts.more(Count::Uncleaned, 1));
        assert!(no_clean.unwrap_err().contains("cleaned no segment"));
        let no_spill = verdict("", |report| report.whole.counts.more(Count::Unspilled, 1));
        assert!(no_spill.unwrap_err().contains("read no payload back"));
        // A fault that was wanted and did not strike.
        let no_flip =
            |report: &mut Report| report.whole.faults.retain(|fault, _| *fault != Fault::BitFlip);
        assert!(verdict("", no_flip).unwrap_err().contains("bit-flip"));
        assert!(verdict("--faults kill,cut", no_flip).is_ok());
        // A promise that only one fault can test, and that it has not tested.
        for (promise, line, fails) in [
            (Promise::LeasesKept, "", true),
            (Promise::HungEnded, "--faults kill,hang", true),
            (Promise::DamageContained, "--faults bit-flip", true),
            (Promise::RecoveryFaithful, "", true),
            (Promise::LeasesKept, "--faults kill,cut", false),
            // It is named only if the broker does not start for its sake.
            (Promise::DamageNamed, "--faults index-flip", false),
            // Of these there are so many that what a short run had none of is only told.
            (Promise::KeysOnce, "", false),
        ] {
            let mut without = report(0, None);
            let mut tallies = Tallies::default();
            for other in Promise::ALL.into_iter().filter(|other| *other != promise) {
                tallies.held(other, other.judged_under(), 20);
            }
            without.whole.tallies = tallies;
            let told = without.verdict(&args(line)).err();
            let missed = told.as_ref().is_some_and(|told| told.contains(promise.text()));
            assert_eq!(missed, fails, "{promise:?} {line}: {told:?}");
        }
        // A control experiment that finds nothing.
        assert!(verdict("", |report| report.control = Some(Found::default())).is_err());
    }
}
