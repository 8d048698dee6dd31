//! Why a broker cannot be opened.

use thiserror::Error;

/// Why a broker cannot be opened. Nothing was changed on disk.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log cannot be opened or a record in it cannot be replayed.
    #[error(transparent)]
    Log(#[from] trunkline_log::OpenError),
    /// A setting is out of its range.
    #[error("{0}")]
    Setting(String),
    /// The log's thread or the runtime failed while the broker was opened.
    #[error("cannot start the broker: {0}")]
    Start(String),
    /// The index is there and cannot be opened, as on a full disk or by an earlier version of this
    /// program. It may be what alone has the history that the log gave up.
    #[error(
        "{0}; what the log gave up is only there, so it is left as it is: mend the cause, or move \
         the file away to go on without"
    )]
    Index(String),
    /// The log failed on its first write.
    #[error("cannot write to the log: {0}")]
    FirstWrite(String),
}
