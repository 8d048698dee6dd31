//! Trunkline beside others: builds both sides and has `compare/`, a workspace of its own, do the
//! rest. What it compares, and how, is that crate's matter.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::project;
use crate::run::Program;
use crate::suite;

/// How often each side has its turn when nothing else is said.
pub(crate) const ROUNDS: u32 = 3;
/// How long a turn is when nothing else is said, in seconds.
pub(crate) const SECONDS: f64 = 4.0;

/// The document that keeps the table.
const DOCUMENT: &str = "docs/benchmarks.md";

/// What is asked of a comparison.
#[derive(Debug, clap::Args)]
pub(crate) struct Compare {
    /// Only these rows: by a name such as `durable/redis-always`, or by either half of it. Rows of
    /// earlier runs stay as they are
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// Print the names of the rows instead
    #[arg(long, conflicts_with_all = ["rows", "rounds", "seconds", "dir", "json", "keep"])]
    list: bool,
    /// How often each side has its turn
    #[arg(long, value_name = "N", default_value_t = ROUNDS)]
    rounds: u32,
    /// For how long each turn offers load
    #[arg(long, value_name = "S", default_value_t = SECONDS)]
    seconds: f64,
    /// Where data directories are made, of both sides; by default below the build directory, which
    /// is on a disk wherever the clone is
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Keep the rows in the document although the rounds are fewer or shorter than when nothing is
    /// said; otherwise such a run is a trial, which leaves the document as it is
    #[arg(long)]
    keep: bool,
}

impl Compare {
    /// Whether the document's table is to have what comes of it.
    fn is_kept(&self) -> bool {
        self.keep || (self.rounds >= ROUNDS && self.seconds >= SECONDS)
    }

    /// Why the document's table is as it was, if it was a trial.
    fn told(&self) -> Option<String> {
        let Self { rounds, seconds, .. } = self;
        let text = format!(
            "compare: a trial, {DOCUMENT} is as it was: {rounds} rounds of {seconds} s, and its rows \
             are of {ROUNDS} of {SECONDS} s or more; keep them all the same with --keep"
        );
        (!self.is_kept()).then_some(text)
    }
}

/// Builds both sides, compares them, and keeps the rows in the document unless it is a trial.
///
/// # Errors
/// When a build fails or a row comes to no figure: with its exit code.
pub(crate) fn run(asked: &Compare) -> Result<(), Failure> {
    let target = project::target_dir()?;
    let out = target.join("compare");
    // What it builds is not of this workspace, and some of it is built in another way there.
    let built = out.to_string_lossy();
    let manifest = project::root().join("compare/Cargo.toml");
    let manifest = manifest.to_string_lossy();
    let build = ["build", "--release", "--locked", "--manifest-path", &manifest];
    let build = Program::cargo(&build).env("CARGO_INCREMENTAL", "0");
    build.with(&["--target-dir".to_owned(), built.into_owned()]).run()?;
    if asked.list {
        return program(&out, &["list"]).run();
    }
    suite::build_to_measure().run()?;
    let dir = asked.dir.clone().unwrap_or_else(|| out.join("data"));
    std::fs::create_dir_all(&dir)
        .map_err(|error| Failure::new(format!("cannot make {}: {error}", dir.display())))?;
    let ended = program(&out, &["run"]).with(&arguments(asked, &target, &dir)).run();
    if let Some(why) = asked.told() {
        eprintln!("{why}");
    }
    ended
}

fn program(out: &Path, args: &[&str]) -> Program {
    Program::new(out.join("release/compare"), args)
}

fn arguments(asked: &Compare, target: &Path, dir: &Path) -> Vec<String> {
    let Compare { rows, list: _, rounds, seconds, dir: _, json, keep: _ } = asked;
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = vec![
        "--trunkline".to_owned(),
        shown(&target.join("release/trunkline")),
        "--rivals".to_owned(),
        shown(&target.join("rivals")),
        "--dir".to_owned(),
        shown(dir),
        format!("--rounds={rounds}"),
        format!("--seconds={seconds}"),
    ];
    if asked.is_kept() {
        arguments.extend(["--write".to_owned(), shown(&project::root().join(DOCUMENT))]);
    }
    arguments.extend(json.then(|| "--json".to_owned()));
    arguments.push("--".to_owned());
    arguments.extend(rows.iter().cloned());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_asked_is_passed_on() {
        let asked = Compare {
            rows: vec!["nats".to_owned()],
            list: false,
            rounds: 5,
            seconds: 0.5,
            dir: None,
            json: true,
            keep: false,
        };
        let (out, dir) = (Path::new("out"), Path::new("disk"));
        let text = arguments(&asked, out, dir).join(" ");
        assert!(
            text.starts_with("--trunkline out/release/trunkline --rivals out/rivals --dir disk"),
            "{text}"
        );
        assert!(text.ends_with(" --rounds=5 --seconds=0.5 --json -- nats"), "{text}");
        let plain = arguments(&Compare { json: false, ..asked }, out, dir).join(" ");
        assert!(!plain.contains("--json"), "{plain}");
    }

    #[test]
    fn a_trial_leaves_the_document_as_it_is_unless_it_is_to_be_kept() {
        let asked = |rounds, seconds, keep| Compare {
            rows: Vec::new(),
            list: false,
            rounds,
            seconds,
            dir: None,
            json: false,
            keep,
        };
        for (rounds, seconds, keep, is_kept) in [
            (ROUNDS, SECONDS, false, true),
            (ROUNDS + 2, SECONDS + 1.0, false, true),
            (1, SECONDS, false, false),
            (ROUNDS, 1.0, false, false),
            (1, 1.0, true, true),
        ] {
            let asked = asked(rounds, seconds, keep);
            let text = arguments(&asked, Path::new("out"), Path::new("disk")).join(" ");
            assert_eq!(text.contains("--write"), is_kept, "{text}");
            assert_eq!(asked.told().is_some(), !is_kept, "{text}");
        }
    }

    #[test]
    fn the_document_has_a_place_for_the_table() {
        let text = std::fs::read_to_string(project::root().join(DOCUMENT)).unwrap();
        let begin = text.find("<!-- compare: begin -->").unwrap();
        assert!(text[begin..].contains("<!-- compare: end -->"));
    }
}
