//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second for one at once.

use crate::error::CliError;
use crate::exit::Exit;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The two signals that ask a process to end. Made before the work begins, so that none is missed.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen.
    pub(super) fn new() -> Result<Self, CliError> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                CliError::new(Exit::General, format_args!("cannot listen for signals: {error}"))
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next of them.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The error of a process that was told twice to end.
pub(super) fn interrupted() -> CliError {
    CliError::new(Exit::Interrupted, "ended at once by a second signal")
}
