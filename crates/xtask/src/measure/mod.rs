//! The figures of the documents in one go: every benchmark that they tell of, on this machine.

mod plan;
mod table;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::ValueEnum;
use serde_json::Value;

use crate::failure::Failure;
use crate::project;
use crate::suite;
use plan::{APART, Line, PLAN};

/// How often each run with a mark is made when nothing is said.
const ROUNDS: u32 = 3;

/// A part of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// What has a mark to reach, in rounds
    Marks,
    /// What a message costs as something grows
    Growth,
    /// What this field measures: sweeps, open loops, failures
    Classic,
}

impl Section {
    fn title(self) -> &'static str {
        match self {
            Self::Marks => "The marks",
            Self::Growth => "How cost grows",
            Self::Classic => "Sweeps, open loops and failures",
        }
    }
}

/// What is asked of a measurement.
#[derive(Debug, clap::Args)]
pub(crate) struct Measure {
    /// Only these parts
    #[arg(value_name = "PART")]
    parts: Vec<Section>,
    /// How often each run with a mark is made, 1 to 25; 3 if not said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=25))]
    rounds: Option<u32>,
    /// Print the commands instead
    #[arg(long)]
    list: bool,
}

/// Builds what users get, runs every benchmark of the plan one after the other, and prints what came
/// of them as Markdown. That and the reports as JSON are kept below the build directory.
///
/// # Errors
/// When the build fails, or a benchmark comes to no figure; the others are printed all the same. A
/// mark that is missed is no error.
pub(crate) fn run(asked: &Measure) -> Result<(), Failure> {
    let target = project::target_dir()?;
    let parts = if asked.parts.is_empty() { Section::value_variants() } else { &asked.parts };
    let lines: Vec<&Line> = PLAN.iter().filter(|line| parts.contains(&line.section)).collect();
    if asked.rounds.is_some() && !lines.iter().any(|line| line.in_rounds) {
        return Err(Failure::new("--rounds is for `marks`; the other parts are run once"));
    }
    let rounds = asked.rounds.unwrap_or(ROUNDS);
    if asked.list {
        for line in lines {
            println!("{}", shown(line, rounds));
        }
        println!("# half an hour, by itself: trunkline bench {APART}");
        return Ok(());
    }
    suite::build_to_measure().run()?;
    let folder = target.join("measure");
    fs::create_dir_all(&folder).map_err(|error| not_written(&folder, &error))?;
    let begun = Instant::now();
    let (mut text, mut all, mut silent) = (String::new(), Vec::new(), Vec::new());
    let mut section = None;
    for (number, line) in (1..).zip(&lines) {
        let command = shown(line, rounds);
        let seconds = begun.elapsed().as_secs();
        eprintln!("measure {number} of {}, {seconds} s: {command}", lines.len());
        let reports = reports(&target, line, rounds)?;
        let mut piece = String::new();
        if section.replace(line.section) != Some(line.section) {
            piece = ["\n## ", line.section.title(), "\n\n", table::HEAD].concat();
        }
        piece += &table::rows(&command, &reports);
        print!("{piece}");
        text += &piece;
        if reports.is_empty() || reports.iter().any(|report| !report["rate_per_s"].is_number()) {
            silent.push(command);
        }
        all.extend(reports);
        // Kept after each, so that an end before the last leaves the others.
        keep(&folder.join("figures.md"), &text)?;
        keep(&folder.join("figures.json"), &Value::from(all.clone()).to_string())?;
    }
    print!("\n{}", table::machine(&all));
    println!("measure: {} s; kept in {}", begun.elapsed().as_secs(), folder.display());
    println!("not in it, because it takes half an hour: trunkline bench {APART}");
    if silent.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("these came to no figure: {}", silent.join("; "))))
}

/// A line as a user would type it.
fn shown(line: &Line, rounds: u32) -> String {
    format!("trunkline {}", arguments(line, rounds).join(" "))
}

fn arguments(line: &Line, rounds: u32) -> Vec<String> {
    let mut arguments = vec!["bench".to_owned()];
    arguments.extend(line.command.split(' ').map(str::to_owned));
    if line.in_rounds {
        arguments.extend(["--rounds".to_owned(), rounds.to_string()]);
    }
    arguments
}

/// Runs a benchmark; nothing if it prints no report.
fn reports(target: &Path, line: &Line, rounds: u32) -> Result<Vec<Value>, Failure> {
    let program = target.join("release/trunkline");
    let mut command = Command::new(&program);
    command.args(arguments(line, rounds)).arg("--json");
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output();
    let output = output.map_err(|error| {
        Failure::new(format!("{} could not be started: {error}", program.display()))
    })?;
    Ok(match serde_json::from_slice(&output.stdout) {
        Ok(Value::Array(reports)) => reports,
        Ok(report) => vec![report],
        // It has said why itself.
        Err(_) => Vec::new(),
    })
}

fn keep(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| not_written(path, &error))
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_its_line_and_only_what_has_a_mark_is_run_in_rounds() {
        for line in PLAN {
            let text = shown(line, 7);
            assert!(text.starts_with("trunkline bench "), "{text}");
            assert_eq!(text.ends_with(" --rounds 7"), line.in_rounds, "{text}");
            assert!(!line.in_rounds || line.section == Section::Marks, "{text}");
        }
        // Every scenario of the document has its line.
        let document = fs::read_to_string(project::root().join("docs/benchmarks.md")).unwrap();
        let (_, rest) = document.split_once("\n## The scenarios\n").unwrap();
        let (table, _) = rest.split_once("\nAll take `--payload BYTES`").unwrap();
        let names = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let names: Vec<&str> = names.collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names {
            let is_planned = PLAN.iter().any(|line| line.command.split(' ').next() == Some(name));
            assert_eq!(is_planned, name != APART, "{name}");
        }
        for section in Section::value_variants() {
            assert!(PLAN.iter().any(|line| line.section == *section), "{section:?}");
        }
    }
}
