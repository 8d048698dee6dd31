//! Every example in Rust runs to its end, is short, and is told of. They are built with the tests
//! of this crate; who asks for this test alone builds them first with
//! `cargo build -p trunkline-agent --examples`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// How long an example may take before it is given up. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many run at once: most of them wait most of the time.
const AT_ONCE: usize = 4;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// The names of the examples and what is in them.
fn examples() -> Vec<(String, String)> {
    let mut examples = Vec::new();
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            examples.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    examples.sort_unstable();
    assert!(!examples.is_empty());
    examples
}

/// What went wrong with an example, if something did.
fn failure(name: &str) -> Option<String> {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap().join("examples");
    let program = built.join(name).with_extension(std::env::consts::EXE_EXTENSION);
    let mut command = Command::new(&program);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let build = "cargo build -p trunkline-agent --examples";
            return Some(format!("{name} does not start: {error}; build it with `{build}`"));
        }
    };
    let begun = Instant::now();
    // What it says fits into the pipes.
    while child.try_wait().unwrap().is_none() && begun.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || said.is_empty() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Some(format!("{name}: {}\n{said}{errors}", output.status));
    }
    None
}

#[test]
fn every_example_shows_something_and_ends_well() {
    let examples = Mutex::new(examples());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((name, _)) = examples.lock().unwrap().pop() else { return };
                    let failure = failure(&name);
                    failures.lock().unwrap().extend(failure);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_example_has_less_than_40_lines_and_is_in_the_list() {
    let list = fs::read_to_string(folder().join("README.md")).unwrap();
    for (name, text) in examples() {
        let lines = text.lines().count();
        assert!(lines < 40, "{name}.rs has {lines} lines");
        assert!(list.contains(&format!("({name}.rs)")), "{name}.rs is not in the list");
    }
}
