//! The table: for people, and between two markers of a document.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, thread};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::outcome::{Outcome, Verdict};
use crate::round::Played;
use crate::row::{Figure, Row};

/// Between these lines a document keeps the table.
const BEGIN: &str = "<!-- compare: begin -->";
const END: &str = "<!-- compare: end -->";
/// How a row of the table begins, before its name.
const ROW: &str = "| `";
/// How the cell of a row begins whose rival was not to be had.
const SKIPPED: &str = "skipped: ";
/// The same of one that failed.
const FAILED: &str = "failed: ";

/// Everything that came of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    /// Which build of Trunkline was measured, as it says itself.
    build: String,
    /// The rivals that came from packages, with their versions.
    rivals: Vec<String>,
    machine: String,
    /// The system that ran there: the same machine may have another one tomorrow.
    kernel: String,
    seconds: f64,
    rows: Vec<Outcome>,
}

impl Table {
    /// The table of what was played on this machine.
    pub(crate) fn new(played: Played, build: String, seconds: f64) -> Self {
        let Played { outcomes: rows, rivals } = played;
        Self { build, rivals, machine: machine(), kernel: kernel(), seconds, rows }
    }

    /// How many rows came to nothing although their rival was there.
    pub(crate) fn failed(&self) -> usize {
        self.rows.iter().filter(|row| matches!(row.result, Verdict::Failed(_))).count()
    }

    /// The table as text.
    pub(crate) fn markdown(&self) -> String {
        self.with(self.lines().collect())
    }

    /// Puts the table between the markers of a document. Rows of an earlier run that this one did
    /// not play stay as they are if they were of the same machine: each says of how many rounds, of how
    /// long turns, and of which build it is. Figures are not replaced by the word why
    /// there are none.
    ///
    /// # Errors
    /// The document cannot be read or written, or has no markers.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let named = || format!("{}", path.display());
        let text = fs::read_to_string(path).with_context(named)?;
        let text = self.within(&text).with_context(named)?;
        fs::write(path, text).with_context(named)
    }

    fn within(&self, text: &str) -> Result<String> {
        let (before, rest) = text.split_once(BEGIN).with_context(|| format!("has no {BEGIN}"))?;
        let (old, after) = rest.split_once(END).with_context(|| format!("has no {END}"))?;
        let mut lines: Vec<String> = self.lines().collect();
        if old.contains(&self.conditions()) {
            let kept = old.lines().filter(|line| name(line).is_some() && !has_no_figure(line));
            let kept: Vec<String> = kept.map(str::to_owned).collect();
            lines.retain(|line| !has_no_figure(line) || !has_row_of(&kept, line));
            let others = kept.into_iter().filter(|line| !has_row_of(&lines, line));
            let others: Vec<String> = others.collect();
            lines.extend(others);
        }
        let order: Vec<String> = Row::all().iter().map(Row::name).collect();
        let place = |line: &String| order.iter().position(|row| name(line) == Some(row));
        lines.sort_by_key(|line| place(line).unwrap_or(usize::MAX));
        Ok(format!("{before}{BEGIN}\n{}{END}{after}", self.with(lines)))
    }

    /// What has to be the same for rows to stand in one table.
    fn conditions(&self) -> String {
        format!("{};", self.machine)
    }

    fn with(&self, lines: Vec<String>) -> String {
        let rivals = match self.rivals.as_slice() {
            [] => String::new(),
            rivals => format!(", with {}", rivals.join(", ")),
        };
        let mut text = format!(
            "{} the last run on {}{rivals}.\n\n| row | work | Trunkline | rival | ratio | spread | rounds | build |\n\
             |---|---|---|---|---|---|---|---|\n",
            self.conditions(),
            self.kernel
        );
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        self.rows.iter().map(|outcome| line(outcome, self.seconds, &self.build))
    }
}

fn line(outcome: &Outcome, seconds: f64, build: &str) -> String {
    let Outcome { row, work, figure, result } = outcome;
    let shown = |value: f64| match figure {
        Figure::PerSecond => format!("{}/s", thousands(value)),
        Figure::MedianMicros => format!("p50 {value:.1} µs"),
    };
    let cells = match result {
        Verdict::Measured(it) => format!(
            "{} | {} | **{:.2}** | {:.2}–{:.2} | {} of {seconds} s | {build}",
            shown(it.trunkline),
            shown(it.rival),
            it.times,
            it.least,
            it.most,
            it.rounds
        ),
        Verdict::Skipped(why) => format!("{SKIPPED}{} | | | | |", in_a_cell(why)),
        Verdict::Failed(why) => format!("{FAILED}{} | | | | |", in_a_cell(why)),
    };
    format!("{ROW}{row}` | {work} | {cells} |")
}

/// Whether one of the lines is of the same row as another.
fn has_row_of(lines: &[String], other: &str) -> bool {
    lines.iter().any(|line| name(line) == name(other))
}

/// Whether a row says why there is no figure.
fn has_no_figure(line: &str) -> bool {
    [SKIPPED, FAILED].iter().any(|word| line.contains(&format!("| {word}")))
}

/// The name of the row that a line of the table is.
fn name(line: &str) -> Option<&str> {
    line.strip_prefix(ROW)?.split_once('`').map(|(name, _)| name)
}

/// A text that does not end its cell.
fn in_a_cell(text: &str) -> String {
    text.replace('|', "/").replace('\n', " ")
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What it was measured on.
fn machine() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let cores = thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores", model.as_deref().unwrap_or("unknown processor"))
}

/// The system and its release.
fn kernel() -> String {
    let system = rustix::system::uname();
    format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{Rival, Transport, Work};

    fn table(machine: &str, rows: Vec<Outcome>) -> Table {
        let (build, kernel, rivals) = ("abc123".to_owned(), "Linux 6".to_owned(), Vec::new());
        Table { build, rivals, machine: machine.to_owned(), kernel, seconds: 4.0, rows }
    }

    fn row(work: Work) -> Row {
        Row { work, rival: Rival::Nats, transport: Transport::Framed }
    }

    fn nats(work: Work, rounds: &[(f64, f64)]) -> Outcome {
        Outcome::measured(row(work), rounds)
    }

    #[test]
    fn a_row_that_is_played_again_replaces_its_own_and_the_others_stay_in_order() {
        let empty = format!("# Doc\n{BEGIN}\nnothing yet\n{END}\nmore\n");
        let both = vec![
            nats(Work::Fanout, &[(1.0, 1.0)]),
            nats(Work::Oneway, &[(2_000_000.0, 1_000_000.0)]),
        ];
        let first = table("here", both).within(&empty).unwrap();
        let rows: Vec<_> = first.lines().filter_map(name).collect();
        assert_eq!(rows, ["oneway/nats", "fanout/nats"]);
        assert!(
            first.contains(
                "| 2,000,000/s | 1,000,000/s | **2.00** | 2.00–2.00 | 1 of 4 s | abc123 |"
            )
        );
        assert!(first.starts_with("# Doc\n") && first.ends_with(&format!("{END}\nmore\n")));
        let again = table("here", vec![nats(Work::Fanout, &[(3.0, 1.0)])]);
        let second = again.within(&first).unwrap();
        assert!(second.contains("**3.00**") && second.contains("**2.00**"), "{second}");
        assert!(!second.contains("**1.00**"), "{second}");
        // Nor does it say of others how long their turns were, or of which build they are.
        let mut later = table("here", vec![nats(Work::Fanout, &[(5.0, 1.0)])]);
        (later.seconds, later.build) = (1.5, "def456".to_owned());
        later.kernel = "Linux 7".to_owned();
        let mixed = later.within(&second).unwrap();
        assert!(mixed.contains("**5.00** | 5.00–5.00 | 1 of 1.5 s | def456 |"), "{mixed}");
        assert!(mixed.contains("**2.00** | 2.00–2.00 | 1 of 4 s | abc123 |"), "{mixed}");
        // What cannot be played again keeps its figures.
        let gone = vec![Outcome::skipped(row(Work::Oneway), "no network")];
        let third = table("here", gone).within(&second).unwrap();
        assert!(third.contains("**2.00**") && !third.contains("no network"), "{third}");
        let fell = vec![Outcome::failed(row(Work::Oneway), "it fell")];
        let fourth = table("here", fell).within(&second).unwrap();
        assert!(fourth.contains("**2.00**") && !fourth.contains("it fell"), "{fourth}");
        // Figures of different machines are not put together.
        let mut elsewhere = table("there", vec![nats(Work::Fanout, &[(3.0, 1.0)])]);
        elsewhere.rivals = vec!["nats-server 2".to_owned(), "Redis 7".to_owned()];
        let elsewhere = elsewhere.within(&first).unwrap();
        assert!(!elsewhere.contains("oneway/nats"));
        assert!(elsewhere.contains("on Linux 6, with nats-server 2, Redis 7.\n"), "{elsewhere}");
    }

    #[test]
    fn a_row_without_figures_says_why() {
        let row = row(Work::Oneway);
        let rows = vec![Outcome::skipped(row, "no | network"), Outcome::failed(row, "it fell")];
        let table = table("here", rows);
        let text = table.markdown();
        assert!(text.contains("| skipped: no / network | | | | | |"), "{text}");
        assert!(text.contains("| failed: it fell | | | | | |"), "{text}");
        assert_eq!(table.failed(), 1);
    }

    #[test]
    fn a_document_without_markers_is_refused() {
        let error = table("here", Vec::new()).within("# Doc").unwrap_err().to_string();
        assert_eq!(error, "has no <!-- compare: begin -->");
    }
}
