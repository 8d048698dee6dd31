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
    /// Only these rows: by a name such as `durable/redis-always`, or by either half of it
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// Print the names of the rows instead
    #[arg(long, conflicts_with_all = ["rows", "rounds", "seconds", "dir", "json"])]
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
}

/// Builds both sides, compares them, and keeps the table in the document.
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
    program(&out, &["run"]).with(&arguments(asked, &target, &dir)).run()
}

fn program(out: &Path, args: &[&str]) -> Program {
    Program::new(out.join("release/compare"), args)
}

fn arguments(asked: &Compare, target: &Path, dir: &Path) -> Vec<String> {
    let Compare { rows, list: _, rounds, seconds, dir: _, json } = asked;
    let shown = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = vec![
        "--trunkline".to_owned(),
        shown(&target.join("release/trunkline")),
        "--rivals".to_owned(),
        shown(&target.join("rivals")),
        "--dir".to_owned(),
        shown(dir),
        "--write".to_owned(),
        shown(&project::root().join(DOCUMENT)),
        format!("--rounds={rounds}"),
        format!("--seconds={seconds}"),
    ];
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
    fn the_document_has_a_place_for_the_table() {
        let text = std::fs::read_to_string(project::root().join(DOCUMENT)).unwrap();
        let begin = text.find("<!-- compare: begin -->").unwrap();
        assert!(text[begin..].contains("<!-- compare: end -->"));
    }
}
