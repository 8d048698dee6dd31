//! `--version`: what the binary says of where it comes from.

use crate::harness::run;
use std::fs;
use std::path::Path;
use std::process::Command;

#[path = "../../build.rs"]
#[allow(dead_code, clippy::print_stdout, reason = "it is a program of its own when it builds")]
mod build;

/// Whether there is a git to try it with.
fn has_git() -> bool {
    Command::new("git").arg("--version").output().is_ok()
}

fn git(place: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(args);
    // None of whoever runs the test.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").current_dir(place);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn the_version_names_the_commit_that_it_was_built_from() {
    let said = run(["--version"]).ok();
    let plain = concat!("trunkline ", env!("CARGO_PKG_VERSION"));
    let rest = said.trim().strip_prefix(plain).unwrap_or_else(|| panic!("{said}"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if build::commit(&root).is_none() {
        assert_eq!(rest, "");
        return;
    }
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')')).unwrap();
    let hash = commit.strip_suffix("-dirty").unwrap_or(commit);
    assert!(hash.len() >= 7 && git(&root, &["rev-parse", "HEAD"]).starts_with(hash), "{said}");
}

#[test]
fn a_checkout_that_was_changed_says_so_and_what_is_no_checkout_says_nothing() {
    if !has_git() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let file = root.join("file");
    fs::write(&file, "one").unwrap();
    assert_eq!(build::commit(root), None, "it is no checkout");
    git(root, &["init", "--quiet"]);
    assert_eq!(build::commit(root), None, "there is no commit");
    git(root, &["add", "file"]);
    git(root, &["commit", "--quiet", "--message", "one"]);
    let hash = git(root, &["rev-parse", "--short", "HEAD"]);
    assert_eq!(build::commit(root).as_deref(), Some(hash.as_str()));
    fs::write(root.join("beside"), "not of the commit").unwrap();
    assert_eq!(build::commit(root).as_deref(), Some(hash.as_str()));
    fs::write(&file, "another").unwrap();
    assert_eq!(build::commit(root), Some(format!("{hash}-dirty")));
    // Source that was unpacked there is not of its commits.
    let within = root.join("unpacked");
    fs::create_dir(&within).unwrap();
    assert_eq!(build::commit(&within), None);
    assert_eq!(build::commit(&root.join("nowhere")), None);
}
