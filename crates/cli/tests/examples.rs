//! Every example for the command line runs to its end, is short, and is told of.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long an example may take before it is given up. Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_mins(1);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn scripts() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder().join("cli")).unwrap();
    let scripts: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert!(!scripts.is_empty());
    scripts
}

/// What went wrong with a script, if something did.
fn failure(script: &Path) -> Option<String> {
    let mut path = vec![Path::new(env!("CARGO_BIN_EXE_trunkline")).parent().unwrap().to_owned()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let mut command = Command::new(script);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRUNKLINE_") {
            command.env_remove(name);
        }
    }
    command.env("PATH", std::env::join_paths(path).unwrap()).stdin(Stdio::null());
    // A group of its own, so that what it started can be ended with it.
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    // What it says fits into the pipes.
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PATIENCE {
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-KILL", "--", &group]).status().unwrap();
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || said.is_empty() {
        let errors = String::from_utf8_lossy(&output.stderr);
        return Some(format!("{}: {}\n{said}{errors}", script.display(), output.status));
    }
    None
}

#[test]
fn every_script_shows_something_and_ends_well() {
    let running: Vec<_> =
        scripts().into_iter().map(|script| thread::spawn(move || failure(&script))).collect();
    let failures: Vec<_> = running.into_iter().filter_map(|it| it.join().unwrap()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_script_has_less_than_40_lines_and_is_in_the_list() {
    let list = fs::read_to_string(folder().join("README.md")).unwrap();
    for script in scripts() {
        let (name, lines) = (script.file_name().unwrap().to_str().unwrap(), lines_of(&script));
        assert!(lines < 40, "{name} has {lines} lines");
        assert!(list.contains(&format!("(cli/{name})")), "{name} is not in the list");
    }
}

fn lines_of(script: &Path) -> usize {
    fs::read_to_string(script).unwrap().lines().count()
}
