//! SIGHUP while a broker serves: the configuration is read again.
//!
//! What can change while it runs changes, and each change is told; what needs a restart is named.
//! A mistake in the new configuration changes nothing.

use crate::config::{Override, Reloaded, Settings};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use std::path::PathBuf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use trunkline_broker::Broker;

/// The configuration of a running broker and the signal to read it again.
#[derive(Debug)]
pub(super) struct Reload {
    hangup: Signal,
    file: Option<PathBuf>,
    flags: Vec<Override>,
    settings: Settings,
}

impl Reload {
    /// Begins to listen for the signal, which without a listener ends a process.
    pub(super) fn new(
        file: Option<PathBuf>,
        flags: Vec<Override>,
        settings: Settings,
    ) -> Result<Self, CliError> {
        let hangup = signal(SignalKind::hangup()).map_err(|error| {
            CliError::new(Exit::General, format_args!("cannot listen for signals: {error}"))
        })?;
        Ok(Self { hangup, file, flags, settings })
    }

    /// Waits for the next signal. A second one that comes meanwhile counts as the same.
    pub(super) async fn wanted(&mut self) {
        // The signal's stream does not end while the process lives.
        if self.hangup.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }

    /// Reads the configuration again and says what came of it.
    pub(super) fn apply(&mut self, broker: &Broker, output: &Output) {
        if let Err(error) = self.try_apply(broker, output) {
            output.error(&error);
            output.note("the configuration stays as it was");
        }
    }

    fn try_apply(&mut self, broker: &Broker, output: &Output) -> Result<(), CliError> {
        let wanted = Settings::load(self.file.as_deref(), &self.flags)?.settings;
        let reloaded = self.settings.reloaded(&wanted).map_err(CliError::usage)?;
        let Reloaded { settings, changed, restart } = reloaded;
        if !changed.is_empty() {
            // The table knows what the broker keeps, so that there is nothing left to tell of.
            broker.reconfigure(settings.broker.engine.clone()).map_err(CliError::usage)?;
            self.settings = settings;
        }
        for change in &changed {
            output.note(format_args!("reloaded: {change}"));
        }
        for change in &restart {
            output.note(format_args!("needs a restart: {change}"));
        }
        if changed.is_empty() && restart.is_empty() {
            output.note("reloaded: nothing has changed");
        }
        Ok(())
    }
}
