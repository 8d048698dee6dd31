//! What is printed of a run.

use super::args::{Mode, TortureArgs};
use super::promise::{Promise, Tallies, Tally};
use super::round::{Counts, Found};
use crate::error::CliError;
use crate::output::Output;
use crate::output::units::{count, span};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// What a run found.
#[derive(Clone, Default, Debug)]
pub(super) struct Report {
    /// Decided what was done when.
    pub(super) seed: u64,
    /// Over each storage.
    pub(super) disks: BTreeMap<&'static str, Found>,
    /// Over all of them.
    pub(super) whole: Found,
    /// What the control experiment found, if there was one.
    pub(super) control: Option<Found>,
    /// Whether time was over before all kills were made.
    pub(super) cut_short: bool,
    /// How long it took.
    pub(super) seconds: Duration,
}

impl Report {
    /// The command line that makes the same run.
    fn command(&self, args: &TortureArgs) -> String {
        let mode = match args.mode {
            Mode::Kill => " --mode kill",
            Mode::Unflushed => " --mode unflushed",
            Mode::Both => "",
        };
        let mut command =
            format!("trunkline torture --kills {} --seed {}{mode}", args.kills, self.seed);
        for (flag, value, default) in [("--rate", args.rate, 1500), ("--round", args.round, 25)] {
            if value != default {
                // Writing to a string does not fail.
                let _ = write!(command, " {flag} {value}");
            }
        }
        for (flag, set) in
            [("--never-flush", args.never_flush), ("--expect-loss", args.expect_loss)]
        {
            if set {
                command.push(' ');
                command.push_str(flag);
            }
        }
        command
    }
}

/// Prints a run, as text or JSON.
///
/// # Errors
/// Nobody reads.
pub(super) fn print(
    report: &Report,
    args: &TortureArgs,
    failure: Option<&String>,
    output: Output,
) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&value(report, args, failure));
    }
    let rows = Promise::ALL.map(|promise| {
        let tally = report.whole.tallies.of(promise);
        [promise.text().to_owned(), word(&tally).to_owned(), evidence(promise, &tally)]
    });
    output.table(&crate::output::rows(["promise", "", "evidence"], &[], rows))?;
    for (promise, example) in examples(&report.whole.tallies) {
        output.line(format_args!("  {}: {example}", promise.text()))?;
    }
    output.line("")?;
    output.table(&crate::output::fields(figures(report)))?;
    output.line("")?;
    if let Some(control) = &report.control {
        output.line(control_line(control))?;
    }
    match failure {
        None => output.line(format_args!("passed in {}", span(report.seconds)))?,
        Some(why) => output.line(format_args!("failed after {}: {why}", span(report.seconds)))?,
    }
    output.line(format_args!("again: {}", report.command(args)))
}

fn word(tally: &Tally) -> &'static str {
    match tally {
        Tally { broken: 1.., .. } => "BROKEN",
        Tally { checked: 0, .. } => "not tried",
        Tally { .. } => "held",
    }
}

fn evidence(promise: Promise, tally: &Tally) -> String {
    let Tally { checked, broken, .. } = tally;
    let checked = format!("{} {}", count(*checked), promise.unit());
    if *broken > 0 { format!("{} of {checked}", count(*broken)) } else { checked }
}

fn examples(tallies: &Tallies) -> Vec<(Promise, String)> {
    let of = |promise| tallies.of(promise).examples.into_iter().map(move |told| (promise, told));
    Promise::ALL.into_iter().flat_map(of).collect()
}

fn figures(report: &Report) -> Vec<(&'static str, String)> {
    let counts = &report.whole.counts;
    let kills: Vec<String> = report
        .disks
        .iter()
        .map(|(name, found)| format!("{} {name}", count(found.counts.kills)))
        .collect();
    let (middle, longest) = recoveries(counts);
    vec![
        ("kills", format!("{} ({})", count(counts.kills), kills.join(", "))),
        ("of those while starting", count(counts.kills_while_starting)),
        ("agents killed with it", count(counts.agents_killed)),
        ("ready again", format!("p50 {}, longest {}", span(middle), span(longest))),
        ("publishes accepted", count(counts.accepted)),
        ("of those synced tasks", count(counts.accepted_synced)),
        ("repeats under a key", count(counts.duplicates)),
        ("publishes refused", count(counts.refused)),
        ("tasks completed", count(counts.completed)),
        ("tasks failed as planned", count(counts.failed)),
        ("of those dead letters", count(counts.dead_letters)),
        ("deliveries seen", count(counts.deliveries)),
        ("redelivered", count(counts.redeliveries)),
        ("sessions that came back", count(counts.returns)),
        ("deliveries kept over a kill", count(counts.kept)),
        ("requests answered", count(counts.answered)),
        ("requests told lost", count(counts.told_lost)),
        ("events heard", count(counts.events)),
        ("lost as permitted", count(counts.gone)),
        ("log records", count(counts.records)),
    ]
}

fn control_line(control: &Found) -> String {
    let lost = control.tallies.of(Promise::NothingLost);
    let kills = control.counts.kills;
    if lost.broken > 0 {
        format!(
            "control: a broker that never flushes was caught: {} of {} accepted tasks lost in \
             {kills} kills",
            count(lost.broken),
            count(lost.checked),
        )
    } else {
        format!("control: a broker that never flushes was NOT caught in {kills} kills")
    }
}

/// The middle one and the longest.
fn recoveries(counts: &Counts) -> (Duration, Duration) {
    let mut times = counts.recoveries.clone();
    times.sort_unstable();
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    (middle, times.last().copied().unwrap_or_default())
}

fn value(report: &Report, args: &TortureArgs, failure: Option<&String>) -> Value {
    let control = report.control.as_ref().map(|control| {
        let lost = control.tallies.of(Promise::NothingLost);
        json!({
            "kills": control.counts.kills,
            "accepted_synced": lost.checked,
            "lost": lost.broken,
            "caught": lost.broken > 0,
        })
    });
    let disks: BTreeMap<_, _> =
        report.disks.iter().map(|(name, found)| (*name, found.counts.kills)).collect();
    json!({
        "passed": failure.is_none(),
        "failure": failure,
        "seed": report.seed,
        "command": report.command(args),
        "seconds": report.seconds.as_secs_f64(),
        "promises": promises(&report.whole.tallies),
        "counts": counts(&report.whole.counts),
        "kills_by_storage": disks,
        "control": control,
    })
}

fn promises(tallies: &Tallies) -> Value {
    let promise = |promise: Promise| {
        let tally = tallies.of(promise);
        json!({
            "promise": promise.text(),
            "outcome": word(&tally).to_lowercase(),
            "checked": tally.checked,
            "unit": promise.unit(),
            "broken": tally.broken,
            "examples": tally.examples,
        })
    };
    Promise::ALL.into_iter().map(promise).collect()
}

fn counts(counts: &Counts) -> Value {
    let (middle, longest) = recoveries(counts);
    let Counts {
        kills,
        kills_while_starting,
        agents_killed,
        accepted,
        accepted_synced,
        duplicates,
        refused,
        completed,
        failed,
        dead_letters,
        deliveries,
        redeliveries,
        gone,
        returns,
        kept,
        answered,
        told_lost,
        events,
        records,
        recoveries: restarts,
    } = counts;
    json!({
        "kills": kills,
        "kills_while_starting": kills_while_starting,
        "agents_killed": agents_killed,
        "accepted": accepted,
        "accepted_synced": accepted_synced,
        "duplicates": duplicates,
        "refused": refused,
        "tasks_completed": completed,
        "tasks_failed": failed,
        "dead_letters": dead_letters,
        "deliveries": deliveries,
        "redeliveries": redeliveries,
        "lost_as_permitted": gone,
        "sessions_returned": returns,
        "deliveries_kept": kept,
        "requests_answered": answered,
        "requests_told_lost": told_lost,
        "events_heard": events,
        "log_records": records,
        "restarts": restarts.len(),
        "ready_ms": { "p50": millis(middle), "max": millis(longest) },
    })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_held_broken_or_was_not_tried() {
        let mut tallies = Tallies::default();
        assert_eq!(word(&tallies.of(Promise::KeysOnce)), "not tried");
        tallies.held(Promise::KeysOnce, 1_200);
        assert_eq!(word(&tallies.of(Promise::KeysOnce)), "held");
        assert_eq!(evidence(Promise::KeysOnce, &tallies.of(Promise::KeysOnce)), "1,200 keys");
        tallies.check(Promise::KeysOnce, false, || "two".into());
        let tally = tallies.of(Promise::KeysOnce);
        assert_eq!(word(&tally), "BROKEN");
        assert_eq!(evidence(Promise::KeysOnce, &tally), "1 of 1,201 keys");
        assert_eq!(examples(&tallies), [(Promise::KeysOnce, "two".to_owned())]);
    }
}
