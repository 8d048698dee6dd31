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
    /// The log failed on its first write.
    #[error("cannot write to the log: {0}")]
    FirstWrite(String),
}
