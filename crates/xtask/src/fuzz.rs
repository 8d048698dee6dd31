//! The fuzz targets, one after the other, each for a while.
//!
//! Owns the order, the time and the table at the end; the targets and what they start from lie in
//! `fuzz/`, a workspace of its own that `cargo fuzz` builds. What a run finds new stays in the
//! build directory, so that the kept inputs change only when somebody means it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::failure::Failure;
use crate::project;
use crate::run::Program;

/// How long each target runs when nothing else is said, in seconds.
pub(crate) const SECONDS: u32 = 60;

/// How a missing `cargo fuzz` is to be had.
const INSTALL: &str = "cargo install cargo-fuzz --locked";

/// The most memory of a target, in MiB. None needs a tenth of it, so that what asks for memory
/// without bound is found.
const MEMORY: u32 = 1024;

/// The most time for one input, in seconds. The slowest legal input takes a few hundredths of it.
const INPUT_SECONDS: u32 = 10;

/// Longest input in bytes, tried from the beginning: an engine's story needs some hundred of them,
/// and nothing that reads goes wrong only beyond. No kept input is longer, or it would be cut.
const INPUT_BYTES: u32 = 1024;
/// The same of a configuration: one that says everything is as long as that.
const CONFIG_BYTES: u32 = 4096;

/// How long at least between two lines of progress.
const BETWEEN: Duration = Duration::from_secs(10);

/// How a target's run ended.
#[derive(Debug)]
struct Outcome {
    target: String,
    time: Duration,
    /// Inputs that were tried, as far as the run told.
    tried: Option<u64>,
    failure: Option<Failure>,
}

/// Runs the targets named, or all of them, each for so many seconds, and shows a table.
///
/// # Errors
/// When `cargo fuzz` is not there, a target is unknown or does not build, or one of them fails;
/// the rest are run all the same.
pub(crate) fn run(named: &[String], seconds: u32) -> Result<(), Failure> {
    check_installed()?;
    let known = targets()?;
    let chosen = choose(&known, named)?;
    let target_dir = project::target_dir()?.join("fuzz");
    println!("== fuzz: building {} targets ==", chosen.len());
    for target in &chosen {
        cargo_fuzz("build", &target_dir, &[target]).run()?;
    }
    let mut outcomes = Vec::new();
    for (number, target) in (1..).zip(&chosen) {
        println!("\n== fuzz {number} of {}: {target}, {seconds} s ==", chosen.len());
        outcomes.push(fuzz(target, &target_dir, seconds)?);
    }
    report(&outcomes)
}

/// Runs one target, from the kept inputs and those that earlier runs on this machine found.
fn fuzz(target: &str, target_dir: &Path, seconds: u32) -> Result<Outcome, Failure> {
    let found = target_dir.join("corpus").join(target);
    let made = fs::create_dir_all(&found);
    made.map_err(|error| Failure::new(format!("{} is not to be made: {error}", found.display())))?;
    let log = target_dir.join(format!("{target}.log"));
    let kept = fuzz_dir().join("corpus").join(target);
    let start = Instant::now();
    // The first folder takes what is new.
    let folders = [&*found.to_string_lossy(), &*kept.to_string_lossy()].map(str::to_owned);
    let program = cargo_fuzz("run", target_dir, &[target])
        .with(&folders[..if kept.is_dir() { 2 } else { 1 }])
        .with(&limits(target, seconds));
    let mut text = String::new();
    let mut told = Instant::now();
    let failure = program.watch(|line| {
        text.extend([line, "\n"]);
        if line.starts_with('#') && told.elapsed() >= BETWEEN {
            println!("   {line}");
            told = Instant::now();
        }
    });
    let failure = failure.err();
    fs::write(&log, &text)
        .map_err(|error| Failure::new(format!("{} cannot be written: {error}", log.display())))?;
    let failure = failure.map(|failure| Failure {
        message: format!("{}\n{}", failure.message, crash(&text)),
        code: failure.code,
    });
    let (time, tried) = (start.elapsed(), tried(&text));
    println!("   {}, log in {}", shown(failure.is_none(), tried), log.display());
    Ok(Outcome { target: target.to_owned(), time, tried, failure })
}

/// Longest input of a target in bytes.
fn input_bytes(target: &str) -> u32 {
    if target == "config" { CONFIG_BYTES } else { INPUT_BYTES }
}

/// What is told to libFuzzer.
fn limits(target: &str, seconds: u32) -> [String; 7] {
    [
        "--".to_owned(),
        format!("-max_total_time={seconds}"),
        format!("-timeout={INPUT_SECONDS}"),
        format!("-rss_limit_mb={MEMORY}"),
        format!("-max_len={}", input_bytes(target)),
        "-len_control=0".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]
}

/// A call of `cargo fuzz` as a stable toolchain can do it: with coverage, without a sanitizer.
fn cargo_fuzz(task: &str, target_dir: &Path, args: &[&str]) -> Program {
    let target_dir = target_dir.to_string_lossy();
    Program::cargo(&["fuzz", task, "--sanitizer", "none", "--target-dir", &target_dir])
        .with(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
}

fn fuzz_dir() -> PathBuf {
    project::root().join("fuzz")
}

fn check_installed() -> Result<(), Failure> {
    let mut command = Command::new(project::cargo());
    let there = command.args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    if there.status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let folders = env::var("PATH").unwrap_or_default();
    Err(Failure::new(format!("there is no `cargo fuzz` in {folders}; install it: {INSTALL}")))
}

/// The names of the targets: those of the files in which they lie.
fn targets() -> Result<Vec<String>, Failure> {
    let folder = fuzz_dir().join("fuzz_targets");
    let wrong = |error| Failure::new(format!("{} cannot be read: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.extension().is_some_and(|end| end == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn choose(known: &[String], named: &[String]) -> Result<Vec<String>, Failure> {
    if named.is_empty() {
        return Ok(known.to_vec());
    }
    match named.iter().find(|name| !known.contains(name)) {
        None => Ok(named.to_vec()),
        Some(unknown) => Err(Failure::new(format!(
            "unknown fuzz target '{unknown}'; there are {}",
            known.join(", ")
        ))),
    }
}

/// How many inputs a run tried, from what libFuzzer says in the end.
fn tried(log: &str) -> Option<u64> {
    let line = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    line.and_then(|count| count.trim().parse().ok())
}

/// What a run that failed said about why: from the panic on, without the trace.
fn crash(log: &str) -> String {
    let starts = ["thread '", "panicked: ", "==", "ALARM:"];
    let from = log.lines().position(|line| starts.iter().any(|start| line.starts_with(start)));
    let wanted = |line: &&str| !line.trim_start().starts_with('#') && !line.trim().is_empty();
    let lines: Vec<_> = log.lines().skip(from.unwrap_or(0)).filter(wanted).collect();
    let mut shown: Vec<_> = lines.iter().take(8).copied().collect();
    shown.extend(lines.iter().filter(|line| line.contains("written to")).copied());
    shown.join("\n")
}

fn shown(passed: bool, tried: Option<u64>) -> String {
    let tried = tried.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
    format!("{} after {tried} inputs", if passed { "nothing found" } else { "FOUND SOMETHING" })
}

/// The table of all runs, and what was found.
fn report(outcomes: &[Outcome]) -> Result<(), Failure> {
    println!("\n{:<18} {:>8} {:>12}  result", "target", "seconds", "inputs");
    for Outcome { target, time, tried, failure } in outcomes {
        let tried = tried.map_or_else(|| "-".to_owned(), |count| count.to_string());
        let result = if failure.is_none() { "nothing found" } else { "FOUND SOMETHING" };
        println!("{target:<18} {:>8.1} {tried:>12}  {result}", time.as_secs_f64());
    }
    let found: Vec<_> =
        outcomes.iter().filter_map(|it| Some((&it.target, it.failure.as_ref()?))).collect();
    for (target, failure) in &found {
        println!("\n{target}: {}", failure.message);
    }
    match found.first() {
        None => Ok(()),
        Some((_, failure)) => Err(Failure {
            message: format!("{} of {} fuzz targets found something", found.len(), outcomes.len()),
            code: failure.code,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_inputs_to_start_from() {
        let targets = targets().unwrap();
        assert!(targets.len() >= 12, "{targets:?}");
        for target in targets {
            let kept = fuzz_dir().join("corpus").join(&target);
            assert!(fs::read_dir(&kept).unwrap().count() > 0, "{target}");
        }
    }

    #[test]
    fn no_kept_input_is_cut() {
        for target in targets().unwrap() {
            for input in fs::read_dir(fuzz_dir().join("corpus").join(&target)).unwrap() {
                let input = input.unwrap();
                let bytes = input.metadata().unwrap().len();
                assert!(bytes <= input_bytes(&target).into(), "{}", input.path().display());
            }
        }
    }

    #[test]
    fn an_unknown_target_is_refused_with_those_that_there_are() {
        let known = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choose(&known, &[]).unwrap(), known);
        assert_eq!(choose(&known, &known[1..]).unwrap(), ["b"]);
        let message = choose(&known, &["c".to_owned()]).unwrap_err().message;
        assert_eq!(message, "unknown fuzz target 'c'; there are a, b");
    }

    #[test]
    fn the_seconds_and_bounds_reach_the_fuzzer() {
        let program = cargo_fuzz("run", Path::new("out"), &["topic"]).with(&limits("topic", 7));
        let shown = program.to_string();
        let start = "fuzz run --sanitizer none --target-dir out topic -- -max_total_time=7 ";
        assert!(shown.contains(start), "{shown}");
    }

    #[test]
    fn what_a_run_says_is_read() {
        let log = "INFO: Seed: 1\n#2 INITED\n\nthread '<unnamed>' panicked at x.rs:1:1:\nboom\n\
                   stack backtrace:\n#0 0x1\nArtifact was written to artifacts/crash-1\n\
                   stat::number_of_executed_units: 42\n";
        assert_eq!(tried(log), Some(42));
        let crash = crash(log);
        assert!(crash.starts_with("thread '<unnamed>' panicked at x.rs:1:1:\nboom\n"), "{crash}");
        assert!(!crash.contains("#0"), "{crash}");
        assert_eq!(tried("nothing"), None);
    }
}
