//! What is printed of a run.

use super::args::TortureArgs;
use super::counts::{COUNTS, Count, Counts};
use super::fault::{Fault, Faults};
use super::promise::{Promise, Tallies, Tally};
use super::round::Found;
use crate::error::CliError;
use crate::output::Output;
use crate::output::units::{count, span};
use serde_json::{Map, Value, json};
use std::array::from_fn;
use std::time::Duration;

/// Faults of the broker and its disk: the columns of the first table.
const BROKER: [Fault; 5] =
    [Fault::Kill, Fault::Unflushed, Fault::DiskFull, Fault::BitFlip, Fault::IndexFlip];
/// Faults of time, agents and network: the columns of the second.
const AROUND: [Fault; 8] = [
    Fault::Pause,
    Fault::AgentKill,
    Fault::AgentPause,
    Fault::Hang,
    Fault::Cut,
    Fault::Delay,
    Fault::Stall,
    Fault::Partition,
];

/// What a run found.
#[derive(Clone, Default, Debug)]
pub(super) struct Report {
    /// Decided what was done when.
    pub(super) seed: u64,
    /// How the network was disturbed.
    pub(super) network: Network,
    /// Over every round.
    pub(super) whole: Found,
    /// What the control experiment found, if there was one.
    pub(super) control: Option<Found>,
    /// Whether time was over before all kills were made.
    pub(super) cut_short: bool,
    /// How long it took.
    pub(super) seconds: Duration,
}

/// How the network between the load and the broker was disturbed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) enum Network {
    /// Not at all.
    #[default]
    Left,
    /// By a link to a network of the broker's own, and a proxy in there for what it cannot do.
    Own {
        /// Whether the kernel makes the link late; otherwise the proxy does.
        delays: bool,
    },
    /// By a proxy in this process, and why not by a link.
    Proxy(String),
}

impl Network {
    /// Whether the broker has a network of its own.
    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own { .. })
    }

    fn text(&self) -> String {
        match self {
            Self::Left => "not disturbed".into(),
            Self::Own { delays: true } => "namespace; link taken down, late by netem".into(),
            Self::Own { delays: false } => {
                "namespace; link taken down, late by proxy, as netem is not to be had".into()
            }
            Self::Proxy(why) => format!("proxy alone: {why}"),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Left => json!({ "used": "none" }),
            Self::Own { delays } => json!({ "used": "namespace", "netem": delays }),
            Self::Proxy(why) => json!({ "used": "proxy", "why": why }),
        }
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
    output.line(text(report, args, failure))
}

/// A run in words, without the end of its last line.
pub(super) fn text(report: &Report, args: &TortureArgs, failure: Option<&String>) -> String {
    let mut lines = tables(&report.whole.tallies, args.faults());
    let examples = examples(&report.whole.tallies).into_iter();
    lines.extend(examples.map(|(promise, example)| format!("  {}: {example}", promise.text())));
    lines.extend(untested(&report.whole.tallies, args.faults()));
    lines.push(crate::output::fields(figures(report)).trim_fmt());
    lines.push(String::new());
    lines.extend(report.control.as_ref().map(control_line));
    lines.push(match failure {
        None => format!("passed in {}", span(report.seconds)),
        Some(why) => format!("failed after {}: {why}", span(report.seconds)),
    });
    lines.push(format!("again: {}", args.command(report.seed)));
    lines.join("\n")
}

/// Each promise, in all and under each fault that was wanted.
fn tables(tallies: &Tallies, wanted: Faults) -> Vec<String> {
    let header: [&str; BROKER.len() + 2] = from_fn(|column| match column {
        0 => "promise",
        1 => "in all",
        _ => BROKER[column - 2].word(),
    });
    let rows = Promise::ALL.map(|promise| -> [String; BROKER.len() + 2] {
        from_fn(|column| match column {
            0 => promise.text().to_owned(),
            1 => in_all(promise, &tallies.of(promise)),
            _ => cell(tallies, promise, BROKER[column - 2]),
        })
    });
    let broker = crate::output::rows(header, &[2, 3, 4, 5, 6], rows);
    let mut lines = vec![broker.trim_fmt(), String::new()];
    if !wanted.has_any(&AROUND) {
        return lines;
    }
    let header: [&str; AROUND.len() + 1] = from_fn(|column| match column {
        0 => "promise",
        _ => AROUND[column - 1].word(),
    });
    let rows = Promise::ALL.map(|promise| -> [String; AROUND.len() + 1] {
        from_fn(|column| match column {
            0 => promise.text().to_owned(),
            _ => cell(tallies, promise, AROUND[column - 1]),
        })
    });
    let around = crate::output::rows(header, &[1, 2, 3, 4, 5, 6, 7, 8], rows);
    lines.extend([around.trim_fmt(), String::new()]);
    lines
}

/// How a promise fared under a fault.
fn cell(tallies: &Tallies, promise: Promise, fault: Fault) -> String {
    match tallies.under(promise, fault) {
        (0, _) if !promise.judged_under().has(fault) => "–".into(),
        (0, _) => "not tested".into(),
        (cases, 0) => format!("held {}", count(cases)),
        (cases, broken) => format!("BROKEN {} of {}", count(broken), count(cases)),
    }
}

fn word(tally: &Tally) -> &'static str {
    match tally {
        Tally { broken: 1.., .. } => "BROKEN",
        Tally { checked: 0, .. } => "not tested",
        Tally { .. } => "held",
    }
}

/// How a promise fared, and in how many cases.
fn in_all(promise: Promise, tally: &Tally) -> String {
    let Tally { checked, broken, .. } = tally;
    let (word, checked, unit) = (word(tally), count(*checked), promise.unit());
    match broken {
        0 => format!("{word} {checked} {unit}"),
        broken => format!("{word} {} of {checked} {unit}", count(*broken)),
    }
}

fn examples(tallies: &Tallies) -> Vec<(Promise, String)> {
    let of = |promise| tallies.of(promise).examples.into_iter().map(move |told| (promise, told));
    Promise::ALL.into_iter().flat_map(of).collect()
}

/// What was to be tested and was not, a line for each promise.
fn untested(tallies: &Tallies, wanted: Faults) -> Vec<String> {
    let words = |promise: Promise| {
        let faults = tallies.untested(promise, wanted).each().map(Fault::word);
        (promise.text(), faults.collect::<Vec<_>>())
    };
    Promise::ALL
        .into_iter()
        .map(words)
        .filter(|(_, faults)| !faults.is_empty())
        .map(|(text, faults)| format!("  not tested: {text}, under {}", faults.join(", ")))
        .collect()
}

fn figures(report: &Report) -> Vec<(&'static str, String)> {
    let Found { counts, faults, .. } = &report.whole;
    let faults: Vec<String> =
        faults.iter().map(|(fault, times)| format!("{} {}", count(*times), fault.word())).collect();
    let (middle, longest) = counts.recovery();
    let mut figures = vec![
        ("faults", faults.join(", ")),
        ("network", report.network.text()),
        ("ready again", format!("p50 {}, longest {}", span(middle), span(longest))),
    ];
    figures.extend(COUNTS.map(|(figure, _, text)| (text, count(counts.of(figure)))));
    figures
}

fn control_line(control: &Found) -> String {
    let lost = control.tallies.of(Promise::NothingLost);
    let kills = control.kills();
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

fn value(report: &Report, args: &TortureArgs, failure: Option<&String>) -> Value {
    let control = report.control.as_ref().map(|control| {
        let lost = control.tallies.of(Promise::NothingLost);
        json!({
            "kills": control.kills(),
            "accepted_synced": lost.checked,
            "lost": lost.broken,
            "caught": lost.broken > 0,
        })
    });
    let Found { tallies, counts, faults, .. } = &report.whole;
    let faults: Map<_, _> =
        faults.iter().map(|(fault, times)| (fault.word().to_owned(), json!(times))).collect();
    json!({
        "passed": failure.is_none(),
        "failure": failure,
        "seed": report.seed,
        "command": args.command(report.seed),
        "seconds": report.seconds.as_secs_f64(),
        "promises": promises(tallies, args.faults()),
        "faults": faults,
        "network": report.network.value(),
        "counts": figures_json(counts),
        "control": control,
    })
}

fn promises(tallies: &Tallies, wanted: Faults) -> Value {
    let promise = |promise: Promise| {
        let tally = tallies.of(promise);
        let under = |fault: Fault| {
            let (checked, broken) = tallies.under(promise, fault);
            let outcome = match (checked, promise.judged_under().has(fault)) {
                (0, false) => "not judged".to_owned(),
                _ => word(&Tally { checked, broken, ..Tally::default() }).to_lowercase(),
            };
            let cell = json!({ "outcome": outcome, "checked": checked, "broken": broken });
            (fault.word().to_owned(), cell)
        };
        json!({
            "promise": promise.text(),
            "outcome": word(&tally).to_lowercase(),
            "checked": tally.checked,
            "unit": promise.unit(),
            "broken": tally.broken,
            "examples": tally.examples,
            "under": wanted.each().map(under).collect::<Map<_, _>>(),
        })
    };
    Promise::ALL.into_iter().map(promise).collect()
}

fn figures_json(counts: &Counts) -> Value {
    let (middle, longest) = counts.recovery();
    let figure = |(figure, key, _): (Count, &str, _)| (key.to_owned(), json!(counts.of(figure)));
    let mut figures: Map<_, _> = COUNTS.into_iter().map(figure).collect();
    figures.insert("restarts".into(), json!(counts.recoveries.len()));
    figures.insert("ready_ms".into(), json!({ "p50": millis(middle), "max": millis(longest) }));
    figures.into()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_is_held_broken_or_was_not_tested() {
        let mut tallies = Tallies::default();
        assert_eq!(word(&tallies.of(Promise::KeysOnce)), "not tested");
        tallies.held(Promise::KeysOnce, Fault::Kill, 1_200);
        assert_eq!(word(&tallies.of(Promise::KeysOnce)), "held");
        let all = |tallies: &Tallies| in_all(Promise::KeysOnce, &tallies.of(Promise::KeysOnce));
        assert_eq!(all(&tallies), "held 1,200 keys");
        tallies.check(Promise::KeysOnce, Fault::Cut, false, || "two".into());
        let tally = tallies.of(Promise::KeysOnce);
        assert_eq!(word(&tally), "BROKEN");
        assert_eq!(all(&tallies), "BROKEN 1 of 1,201 keys");
        assert_eq!(examples(&tallies), [(Promise::KeysOnce, "two".to_owned())]);
        let cell = |fault| cell(&tallies, Promise::KeysOnce, fault);
        assert_eq!(cell(Fault::Kill), "held 1,200");
        assert_eq!(cell(Fault::Cut), "BROKEN 1 of 1");
        assert_eq!(cell(Fault::Stall), "not tested");
        assert_eq!(cell(Fault::BitFlip), "–");
        let wanted = Faults::from(Fault::Kill).and(Fault::Stall).and(Fault::BitFlip);
        let lines = untested(&tallies, wanted);
        let of = |text: &str| lines.iter().find(|line| line.contains(text)).cloned();
        let keys = of(Promise::KeysOnce.text());
        assert_eq!(keys.unwrap(), "  not tested: one idempotency key, one task, under stall");
        // What no fault of the run can test is not missed.
        assert_eq!(of(Promise::HungEnded.text()), None);
        let json = promises(&tallies, wanted);
        let keys = json.as_array().unwrap().iter().find(|it| it["unit"] == "keys").unwrap();
        assert_eq!(keys["under"]["stall"]["outcome"], "not tested");
        assert_eq!(keys["under"]["bit-flip"]["outcome"], "not judged");
    }

    #[test]
    fn every_fault_has_a_column() {
        let columns: Faults = BROKER.into_iter().chain(AROUND).collect();
        assert_eq!(columns, Fault::ALL.into_iter().collect());
    }
}
