//! Runs one program in the foreground, with its output untouched.
//!
//! Owns the meaning of a child's end; knows nothing of steps and tests.

use std::ffi::OsString;
use std::fmt;
use std::process::{Command, ExitStatus};

use crate::failure::Failure;
use crate::project;

/// A program and its arguments, to be run in the root folder.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: OsString,
    args: Vec<String>,
}

impl Program {
    /// A call of the cargo that started this process.
    pub(crate) fn cargo(args: &[&str]) -> Self {
        Self::new(project::cargo(), args)
    }

    /// A call of the program at `path`.
    pub(crate) fn new(path: impl Into<OsString>, args: &[&str]) -> Self {
        Self { path: path.into(), args: args.iter().map(|arg| (*arg).to_owned()).collect() }
    }

    /// Adds arguments at the end.
    pub(crate) fn with(mut self, extra: &[String]) -> Self {
        self.args.extend_from_slice(extra);
        self
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// When it cannot be started, or ends with anything but success: then with its exit code.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let status = Command::new(&self.path)
            .args(&self.args)
            .current_dir(project::root())
            .status()
            .map_err(|error| Failure {
                message: format!("{self}: could not be started: {error}"),
                code: 127,
            })?;
        if status.success() {
            return Ok(());
        }
        Err(Failure { message: format!("{self}: {status}"), code: code_of(status) })
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
    fn success_is_success() {
        Program::new("sh", &["-c", "exit 0"]).run().unwrap();
    }
}
