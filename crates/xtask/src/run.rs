//! Runs one program in the foreground, with its output untouched or watched line by line.
//!
//! Owns the meaning of a child's end; knows nothing of steps and tests.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};

use crate::failure::Failure;
use crate::project;

/// A program and its arguments, to be run in the root folder.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: OsString,
    args: Vec<String>,
    /// Variables of the environment that are set for it.
    env: Vec<(&'static str, &'static str)>,
}

impl Program {
    /// A call of the cargo that started this process.
    pub(crate) fn cargo(args: &[&str]) -> Self {
        Self::new(project::cargo(), args)
    }

    /// A call of the program at `path`.
    pub(crate) fn new(path: impl Into<OsString>, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { path: path.into(), args, env: Vec::new() }
    }

    /// Adds arguments at the end.
    pub(crate) fn with(mut self, extra: &[String]) -> Self {
        self.args.extend_from_slice(extra);
        self
    }

    /// Sets a variable of the environment for it.
    pub(crate) fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.push((name, value));
        self
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// When it cannot be started, or ends with anything but success: then with its exit code.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        self.ended(self.command().status())
    }

    /// Runs the program to its end, as [`Self::run`] does, and hands over every line that it
    /// writes to standard error, without the end of the line.
    ///
    /// # Errors
    /// Those of [`Self::run`].
    pub(crate) fn watch(&self, mut each: impl FnMut(&str)) -> Result<(), Failure> {
        let child = self.command().stderr(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| self.not_started(&error))?;
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut line = Vec::new();
        // Not everything that a program writes need be UTF-8.
        while lines.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            each(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']));
            line.clear();
        }
        self.ended(child.wait())
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).envs(self.env.iter().copied()).current_dir(project::root());
        command
    }

    fn ended(&self, status: io::Result<ExitStatus>) -> Result<(), Failure> {
        let status = status.map_err(|error| self.not_started(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure { message: format!("{self}: {status}"), code: code_of(status) })
    }

    fn not_started(&self, error: &io::Error) -> Failure {
        Failure { message: format!("{self}: could not be started: {error}"), code: 127 }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = std::path::Path::new(&self.path);
        let name = path.file_name().unwrap_or(path.as_os_str());
        f.write_str(&name.to_string_lossy())?;
        self.args.iter().try_for_each(|arg| write!(f, " {arg}"))
    }
}

/// What a shell would report: the exit code, or 128 and the signal.
fn code_of(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let code = status.code().or_else(|| signal.map(|signal| 128 + signal)).unwrap_or(1);
    // A failure never turns into success, whatever the platform's codes are.
    u8::try_from(code).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_of_the_child_is_kept() {
        let failure = Program::new("sh", &["-c", "exit 7"]).run().unwrap_err();
        assert_eq!(failure.code, 7);
        assert!(failure.message.starts_with("sh -c exit 7: "), "{}", failure.message);
    }

    #[test]
    fn a_child_ended_by_a_signal_reports_128_and_the_signal() {
        let failure = Program::new("sh", &["-c", "kill -9 $$"]).run().unwrap_err();
        assert_eq!(failure.code, 137);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure = Program::new("no-such-program", &[]).run().unwrap_err();
        assert_eq!(failure.code, 127);
        assert!(failure.message.starts_with("no-such-program: "), "{}", failure.message);
    }

    #[test]
    fn a_program_that_is_watched_hands_over_what_it_says_and_how_it_ends() {
        let program = Program::new("sh", &["-c", "echo one >&2; printf '\\377two' >&2; exit 3"]);
        let mut lines = Vec::new();
        let failure = program.watch(|line| lines.push(line.to_owned())).unwrap_err();
        assert_eq!(failure.code, 3);
        assert_eq!(lines, ["one", "\u{fffd}two"]);
    }

    #[test]
    fn a_program_has_the_environment_that_it_is_given() {
        Program::new("sh", &["-c", "test \"$GIVEN\" = yes"]).env("GIVEN", "yes").run().unwrap();
    }

    #[test]
    fn success_is_success() {
        Program::new("sh", &["-c", "exit 0"]).run().unwrap();
    }
}
