//! How an executable is run as a handler.

use super::child;
use super::workplace::{Desk, Workplace};
use crate::{Handler, HandlerFuture, Task};
use parking_lot::Mutex;
use smol_str::SmolStr;
use std::ffi::OsString;
use std::fmt;
use std::io;
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
    /// What it finds in its environment besides what is there and what describes its delivery.
    pub variables: Vec<(OsString, OsString)>,
    /// How long one run may take; `None`, the default, for as long as the delivery is of use.
    pub timeout: Option<Duration>,
    /// How long a run that is called off has between the request to end and being killed.
    /// Default 5 s.
    pub grace: Duration,
    /// Largest reply in bytes; a run that writes more fails. Default 1 MiB.
    pub reply_bytes: usize,
    /// The media type of what is on stdout; empty, the default, when nothing is said of it.
    pub content_type: SmolStr,
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
            variables: Vec::new(),
            timeout: None,
            grace: Duration::from_secs(5),
            reply_bytes: 1 << 20,
            content_type: SmolStr::default(),
            stderr_bytes: 4 << 10,
        }
    }
}

/// A handler that runs an executable for each delivery. The child gets the payload on stdin, and
/// the task in its environment; exit code 0 completes the delivery with what is on stdout, 65
/// declines it, any other end asks for another attempt; the end of stderr is the reason. Lines that
/// it writes to file descriptor 3 are its progress, pieces of results, or how else the delivery
/// ends. It runs in a process group of its own, all of which is ended with it.
///
/// What the child sends has the delivery as its [`cause`](super::cause), and while it waits for an
/// answer it can [`lend`](super::lend) its permit. For that the handler has a directory among the
/// system's temporary ones, made when it first runs, and removed by [`Exec::close`] or when the
/// last clone of it is dropped.
#[derive(Clone)]
pub struct Exec {
    shared: Arc<Shared>,
}

/// What the runs of a handler share.
pub(super) struct Shared {
    pub(super) options: ExecOptions,
    /// Opened when it is first needed, by whoever comes first.
    workplace: Mutex<State>,
}

/// Of a workplace.
enum State {
    Unopened,
    Open(Arc<Workplace>),
    /// It could not be opened, or was closed.
    Closed,
}

impl Exec {
    /// A handler from its options.
    pub fn new(options: ExecOptions) -> Self {
        let workplace = Mutex::new(State::Unopened);
        Self { shared: Arc::new(Shared { options, workplace }) }
    }

    /// Removes what it has on disk. What runs still or later is lent to nobody, and cannot be
    /// told what was said to a paused task. For a process that ends without dropping everything.
    pub fn close(&self) {
        *self.shared.workplace.lock() = State::Closed;
    }
}

impl Shared {
    /// A run's part of the workplace; `None` if there is none, which only what was said to a
    /// paused task needs.
    ///
    /// # Errors
    /// What was said cannot be written down.
    pub(super) fn desk(&self, task: &Task) -> io::Result<Option<Desk>> {
        let mut workplace = self.workplace.lock();
        if let State::Unopened = *workplace {
            *workplace = match Workplace::open() {
                Ok(open) => State::Open(Arc::new(open)),
                Err(error) => {
                    tracing::warn!(%error, "no permit is lent to commands that wait for answers");
                    State::Closed
                }
            };
        }
        let open = if let State::Open(open) = &*workplace { Some(Arc::clone(open)) } else { None };
        drop(workplace);
        match open {
            Some(workplace) => workplace.desk(task).map(Some),
            None if task.messages().is_empty() => Ok(None),
            None => Err(io::Error::other("there is no directory for it")),
        }
    }
}

impl fmt::Debug for Exec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Handler for Exec {
    fn handle(&self, task: Task) -> HandlerFuture {
        Box::pin(child::run(Arc::clone(&self.shared), task))
    }

    fn cancel_grace(&self) -> Duration {
        // Time enough to kill, once the child had its own.
        self.shared.options.grace.saturating_add(Duration::from_secs(5))
    }
}
