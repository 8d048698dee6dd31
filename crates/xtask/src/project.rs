//! Where the project lies: its root, its build directory, and the cargo to use.
//!
//! Owns every question put to `cargo metadata`; judges none of the answers.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failure::Failure;

/// The root folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the root")
        .to_path_buf()
}

/// The cargo that started this process, so that a toolchain override stays in force.
pub(crate) fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where builds go, which a user may have moved.
///
/// # Errors
/// When cargo cannot be run or does not say.
pub(crate) fn target_dir() -> Result<PathBuf, Failure> {
    let metadata = read_metadata(&["--no-deps"])?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| Failure::new("cargo metadata names no target_directory"))
}

/// The resolved graph as it is built on this machine.
///
/// Limited to the host's platform: what other platforms would add may never have been downloaded
/// here, and is judged where it is built.
///
/// # Errors
/// When cargo or rustc cannot be run, or the lock file does not match the manifests.
pub(crate) fn host_metadata() -> Result<Value, Failure> {
    let host = host_triple()?;
    read_metadata(&["--filter-platform", &host])
}

fn read_metadata(extra: &[&str]) -> Result<Value, Failure> {
    let mut command = Command::new(cargo());
    command.args(["metadata", "--format-version", "1", "--locked"]).args(extra);
    let text = output_of(&mut command, "cargo metadata")?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("cargo metadata is not JSON: {error}")))
}

/// The version of the compiler, in its own words.
///
/// # Errors
/// When rustc cannot be run.
pub(crate) fn rustc_version() -> Result<String, Failure> {
    output_of(Command::new(rustc()).arg("-V"), "rustc -V").map(|text| text.trim().to_owned())
}

fn rustc() -> OsString {
    env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

fn host_triple() -> Result<String, Failure> {
    let text = output_of(Command::new(rustc()).arg("-vV"), "rustc -vV")?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc -vV names no host"))
}

/// Runs a program in the root folder and returns what it prints.
///
/// # Errors
/// When it cannot be started, fails, or prints something other than UTF-8.
pub(crate) fn output_of(command: &mut Command, name: &str) -> Result<String, Failure> {
    let output = command
        .current_dir(root())
        .output()
        .map_err(|error| Failure::new(format!("{name} could not be started: {error}")))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("{name} failed: {}", why.trim())));
    }
    String::from_utf8(output.stdout).map_err(|error| {
        Failure::new(format!("{name} printed something other than UTF-8: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace_and_the_target_directory_is_absolute() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[workspace]"));
        assert!(target_dir().unwrap().is_absolute());
    }

    #[test]
    fn a_program_that_fails_is_reported_with_what_it_said() {
        let failure = output_of(Command::new(cargo()).arg("no-such-command"), "cargo").unwrap_err();
        assert!(failure.message.starts_with("cargo failed: "), "{}", failure.message);
        assert!(failure.message.contains("no-such-command"), "{}", failure.message);
    }
}
