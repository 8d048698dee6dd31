//! What the demo shows when the work is done.

use super::args::DemoArgs;
use super::files::Files;
use super::stage::{GRACE, Left};
use crate::error::CliError;
use crate::output::Output;
use crate::output::units::{count, span};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::Duration;
use trunkline_types::{Stats, TaskSnapshot};

/// What was seen.
#[derive(Debug)]
pub(super) struct Figures {
    /// What was worked on.
    pub(super) files: Files,
    /// How many agents there were.
    pub(super) agents: usize,
    /// What the agents counted, words and open ends.
    pub(super) counted: (u64, u64),
    /// What this process counted.
    pub(super) recounted: (u64, u64),
    /// Files for which the two differ.
    pub(super) differing: Vec<String>,
    /// Events that told of a finished file.
    pub(super) events: u64,
    /// Microseconds from sending a file to its summary.
    pub(super) latency: Histogram<u64>,
    /// How long all took.
    pub(super) took: Duration,
    /// The process that was killed.
    pub(super) killed: u32,
    /// The task that it held.
    pub(super) held: TaskSnapshot,
    /// The broker's figures.
    pub(super) stats: Stats,
}

impl Figures {
    /// Whether the counts agree and nothing is missing.
    pub(super) fn agree(&self) -> bool {
        self.counted == self.recounted
            && self.differing.is_empty()
            && self.stats.tasks_open == 0
            && self.stats.dead_letters == 0
    }

    fn rate(&self) -> u64 {
        let millis = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1);
        self.stats.counters.settled.saturating_mul(1000) / millis
    }

    fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_quantile(quantile))
    }
}

/// Prints everything.
///
/// # Errors
/// Nobody reads.
pub(super) fn print(
    figures: &Figures,
    args: &DemoArgs,
    left: Option<(&str, &Left)>,
    output: Output,
) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&value(figures, left));
    }
    let Figures { stats, files, .. } = figures;
    let rows = vec![
        ("files", count(files.texts.len() as u64)),
        ("left out", left_out(files)),
        ("messages sent", count(stats.messages_accepted)),
        ("tasks completed", count(stats.tasks_completed)),
        ("redelivered", count(stats.counters.redeliveries)),
        ("dead letters", count(stats.dead_letters)),
        ("events received", count(figures.events)),
        (
            "a file took",
            format!("p50 {}, p99 {}", span(figures.quantile(0.5)), span(figures.quantile(0.99))),
        ),
        ("messages settled a second", count(figures.rate())),
        ("in all", span(figures.took)),
        (
            "words",
            format!(
                "{} by the agents, {} recounted",
                count(figures.counted.0),
                count(figures.recounted.0)
            ),
        ),
        (
            "lines with TODO",
            format!(
                "{} by the agents, {} recounted",
                count(figures.counted.1),
                count(figures.recounted.1)
            ),
        ),
    ];
    output.table(&crate::output::fields(rows))?;
    output.line("")?;
    proven(figures, output)?;
    output.line("")?;
    next(args, left, output)
}

fn left_out(files: &Files) -> String {
    let mut parts = Vec::new();
    for (number, what) in [
        (files.binary, "no text"),
        (files.too_large, "over 1 MiB"),
        (files.unreadable, "not readable"),
    ] {
        if number > 0 {
            parts.push(format!("{} {what}", count(number)));
        }
    }
    if files.more {
        parts.push("more than --files or 16 MiB allow".to_owned());
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn proven(figures: &Figures, output: Output) -> Result<(), CliError> {
    let Figures { killed, held, agents, .. } = figures;
    output.line("What this has shown:")?;
    output.line(format_args!(
        "- {agents} agents and a broker, each a process of its own, worked together over gRPC: \
         tasks, requests from within a task, and events."
    ))?;
    output.line(format_args!(
        "- Process {killed} was killed with SIGKILL while it held task {}. The broker gave it {} \
         to come back (the demo's setting; 5s is the default), then gave its work to {}: {} \
         attempts, {}.",
        held.id,
        span(GRACE),
        held.agent.as_ref().map_or_else(|| "another".to_owned(), ToString::to_string),
        held.attempts,
        held.state,
    ))?;
    if figures.agree() {
        output.line("- Nothing was lost or counted twice: the agents' count is the true one.")
    } else {
        output.line("- THE COUNTS DIFFER:")?;
        for file in figures.differing.iter().take(10) {
            output.line(format_args!("    {file}"))?;
        }
        Ok(())
    }
}

fn next(args: &DemoArgs, left: Option<(&str, &Left)>, output: Output) -> Result<(), CliError> {
    let program = std::env::args().next().unwrap_or_else(|| "trunkline".to_owned());
    let Some((url, Left { pids, directory })) = left else {
        let file = args.input.join("README.md");
        let file = if file.is_file() { file.display().to_string() } else { "FILE".to_owned() };
        let file = file.strip_prefix("./").unwrap_or(&file).to_owned();
        output.line("Everything is stopped and removed. Try, each in a terminal of its own:")?;
        output.line(format_args!("  {program} serve"))?;
        output.line(format_args!("  {program} agent --skill count-words -- wc -w"))?;
        return output
            .line(format_args!("  {program} send --skill count-words --file {file} --wait"));
    };
    output.line(format_args!("The broker at {url} and its agents are still there. Try:"))?;
    output.line(format_args!(
        "  {program} send --url {url} --skill count-words --data 'how many words' --wait"
    ))?;
    output.line(format_args!("  {program} task list --url {url}"))?;
    output.line(format_args!("  {program} stats --url {url}"))?;
    let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
    output.line("To stop them, and then to remove their data:")?;
    output.line(format_args!("  kill {}", pids.join(" ")))?;
    output.line(format_args!("  rm -r '{directory}'"))
}

fn value(figures: &Figures, left: Option<(&str, &Left)>) -> Value {
    let Figures {
        files,
        agents,
        counted,
        recounted,
        differing,
        events,
        took,
        killed,
        held,
        stats,
        ..
    } = figures;
    let kept = left
        .map(|(url, left)| json!({ "url": url, "pids": left.pids, "directory": left.directory }));
    json!({
        "agree": figures.agree(),
        "files": files.texts.len(),
        "left_out": {
            "binary": files.binary,
            "too_large": files.too_large,
            "unreadable": files.unreadable,
            "more": files.more,
        },
        "agents": agents,
        "words": { "agents": counted.0, "recounted": recounted.0 },
        "todos": { "agents": counted.1, "recounted": recounted.1 },
        "differing": differing,
        "messages_accepted": stats.messages_accepted,
        "messages_settled": stats.counters.settled,
        "tasks_completed": stats.tasks_completed,
        "redeliveries": stats.counters.redeliveries,
        "dead_letters": stats.dead_letters,
        "events_received": events,
        "latency_us": {
            "p50": figures.latency.value_at_quantile(0.5),
            "p99": figures.latency.value_at_quantile(0.99),
            "max": figures.latency.max(),
        },
        "seconds": took.as_secs_f64(),
        "rate_per_s": figures.rate(),
        "killed": {
            "pid": killed,
            "task": held.id.to_string(),
            "attempts": held.attempts,
            "state": held.state.as_str(),
            "finished_by": held.agent.as_ref().map(ToString::to_string),
        },
        "kept": kept,
    })
}
