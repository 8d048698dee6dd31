//! `demo --python`: which interpreter it takes, and what it says where there is none. That the
//! examples do what they should is shown with the package, in `clients/python/tests`.

use crate::harness::{Finished, trunkline};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Something that is asked as an interpreter is.
fn interpreter(folder: &Path, answer: &str, run: &str) -> String {
    let path = folder.join("python");
    let script = format!("#!/bin/sh\nif [ \"$1\" = -c ]; then {answer}; fi\n{run}\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn demo(python: &str, more: &[&str]) -> Finished {
    let mut command = trunkline();
    command.args(["demo", "--python", "--input", "docs"]).args(more).env("PYTHON", python);
    command.output().unwrap().into()
}

#[test]
fn both_examples_are_run_by_the_interpreter_that_has_the_package() {
    let folder = tempfile::tempdir().unwrap();
    let echo = "shift 0; echo $(basename $1); grep -c 'import trunkline' $1; shift; echo \"$@\"";
    let python = interpreter(folder.path(), "exit 0", echo);
    let shown = demo(&python, &[]);
    let lines = "research_team.py\n1\n--yes agents and tasks docs\ncrawler.py\n1\n\n";
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(0), lines), "{}", shown.stderr);
    assert!(shown.stderr.contains("crawler.py: a lead and workers"), "{}", shown.stderr);
    let json = demo(&python, &["--json"]).json();
    assert_eq!(json[0]["name"], "research_team");
    assert_eq!(json[1]["output"], "crawler.py\n1\n\n");
}

#[test]
fn an_interpreter_without_the_package_is_named_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let answer = "echo \"ModuleNotFoundError: No module named 'trunkline'\" >&2; exit 1";
    let python = interpreter(folder.path(), answer, "exit 0");
    let said = demo(&python, &[]).fails(1);
    assert!(said.contains(&format!("{python} cannot import trunkline: ModuleNotFound")), "{said}");
    assert!(said.contains("pip install ./clients/python"), "{said}");
    let said = demo("/nowhere/python", &[]).fails(1);
    assert!(said.contains("PYTHON is '/nowhere/python', which does not start"), "{said}");
    let mut command = trunkline();
    command.args(["demo", "--python"]).env_remove("PYTHON").env("PATH", folder.path().join("no"));
    let said = Finished::from(command.output().unwrap()).fails(1);
    assert!(said.contains("no Python interpreter on the PATH"), "{said}");
}

#[test]
fn an_example_that_fails_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let python = interpreter(folder.path(), "exit 0", "exit 3");
    assert!(demo(&python, &[]).fails(1).contains("research_team.py: exit status: 3"));
    assert!(demo(&python, &["--keep"]).fails(2).contains("--keep"));
}
