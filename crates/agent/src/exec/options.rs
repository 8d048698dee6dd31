//! How an executable is run as a handler.

use super::child;
use crate::{Handler, HandlerFuture, Task};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What to run for each delivery, and within which bounds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecOptions {
    /// The program, found on the path if it has no slash.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Where it runs; `None` for the agent's own working directory.
    pub directory: Option<PathBuf>,
    /// How long one run may take; `None`, the default, for as long as the delivery is of use.
    pub timeout: Option<Duration>,
    /// How long a run that is called off has between the request to end and being killed.
    /// Default 5 s.
    pub grace: Duration,
    /// Largest reply in bytes; a run that writes more fails. Default 1 MiB.
    pub reply_bytes: usize,
    /// How much of the end of stderr is kept as the reason of a failed run, in bytes. Default
    /// 4 KiB, at most 7 KiB are told.
    pub stderr_bytes: usize,
}

impl ExecOptions {
    /// A program with its arguments and the default bounds.
    pub fn new(
        program: impl Into<OsString>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            directory: None,
            timeout: None,
            grace: Duration::from_secs(5),
            reply_bytes: 1 << 20,
            stderr_bytes: 4 << 10,
        }
    }
}

/// A handler that runs an executable for each delivery. The child gets the payload on stdin, and
/// the task in its environment; exit code 0 completes the delivery with what is on stdout, any
/// other end asks for another attempt with the end of stderr as the reason. Lines that it writes
/// to file descriptor 3 are its progress. It runs in a process group of its own, all of which is
/// ended with it.
#[derive(Clone, Debug)]
pub struct Exec {
    options: Arc<ExecOptions>,
}

impl Exec {
    /// A handler from its options.
    pub fn new(options: ExecOptions) -> Self {
        Self { options: Arc::new(options) }
    }
}

impl Handler for Exec {
    fn handle(&self, task: Task) -> HandlerFuture {
        Box::pin(child::run(Arc::clone(&self.options), task))
    }

    fn cancel_grace(&self) -> Duration {
        // Time enough to kill, once the child had its own.
        self.options.grace.saturating_add(Duration::from_secs(5))
    }
}
