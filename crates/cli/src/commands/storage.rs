//! What the commands on data directories share: a bar of progress, and what errors mean.

use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::path::Path;
use trunkline_broker::{BackupError, OpenError};
use trunkline_log::OpenError as LogError;

/// How far a command has come, for a person at stderr.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(what: &'static str, output: &Output) -> Self {
        let target = if output.is_interactive() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {bytes} of {total_bytes}");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        Self(bar)
    }

    /// So many bytes of so many.
    pub(crate) fn at(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    /// So many bytes more, of nobody knows how many.
    pub(crate) fn more(&self, bytes: u64) {
        self.0.inc_length(bytes);
        self.0.inc(bytes);
    }

    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// Refuses a data directory that is not there.
///
/// # Errors
/// It names the directory, and where the right one stands.
pub(crate) fn must_exist(directory: &Path) -> Result<(), CliError> {
    if directory.try_exists().unwrap_or(true) {
        return Ok(());
    }
    let message = format!("there is no directory {}", directory.display());
    Err(CliError::new(Exit::NotFound, message)
        .hint("name the data directory of a broker; `trunkline config show` has it as broker.data"))
}

/// An error of a data directory that was looked at.
pub(crate) fn store_error(error: &OpenError) -> CliError {
    match error {
        OpenError::Log(error) => log_error(error),
        error => CliError::new(Exit::StoreFailed, error),
    }
}

/// An error of a backup or of making a data directory of it.
pub(crate) fn backup_error(error: &BackupError) -> CliError {
    let exit = match error {
        BackupError::Format(error) => return log_error(error),
        BackupError::NotEmpty { .. } | BackupError::Busy { .. } => Exit::Usage,
        BackupError::NoBackup { .. } | BackupError::Damaged { .. } => Exit::Damaged,
        BackupError::Io { .. }
        | BackupError::Index { .. }
        | BackupError::Changing { .. }
        | BackupError::TooMany { .. } => Exit::StoreFailed,
    };
    CliError::with_remedy(exit, error)
}

fn log_error(error: &LogError) -> CliError {
    let exit = match error {
        LogError::Locked { .. } | LogError::NewerFormat { .. } | LogError::UnknownFormat { .. } => {
            Exit::CannotServe
        }
        LogError::Corrupt { .. } | LogError::Refused { .. } => Exit::Damaged,
        LogError::Config { .. } | LogError::Full { .. } | LogError::Io { .. } => Exit::StoreFailed,
    };
    let message = error.to_string();
    match message.split_once(": ") {
        Some((what, remedy)) if exit == Exit::CannotServe => CliError::new(exit, what).hint(remedy),
        _ => CliError::new(exit, message),
    }
}
