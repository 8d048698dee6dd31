//! How the process ends: one code for each class of ending, so that scripts need not read texts.

use std::process::ExitCode;

/// How the process ends. The numbers are fixed; `docs/cli.md` has them as a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Something went wrong that has no code of its own.
    General = 1,
    /// The command line or the configuration is wrong. Also what clap ends with.
    Usage = 2,
    /// No broker answers.
    NoBroker = 3,
    /// The broker refused; nothing of it has been done.
    Refused = 4,
    /// The thing named does not exist.
    NotFound = 5,
    /// The task failed.
    Failed = 6,
    /// The agent declined the task.
    Rejected = 7,
    /// The time to live ended first.
    Expired = 8,
    /// The task was cancelled.
    Canceled = 9,
    /// The task ran out of attempts, or an agent gave it up.
    DeadLettered = 10,
    /// `--timeout` was over before there was an answer.
    Timeout = 11,
    /// The broker went away with an ephemeral request.
    Lost = 12,
    /// The broker cannot start: port taken, data directory locked or of a newer version.
    CannotServe = 13,
    /// The log failed or is damaged.
    StoreFailed = 14,
    /// What was counted does not agree.
    Mismatch = 15,
    /// Not as many agents answered as were wanted.
    Incomplete = 16,
    /// Data or a backup is damaged, and what is damaged has not been put aside.
    Damaged = 17,
    /// A signal ended the process, or a second one before it had drained.
    Interrupted = 130,
    /// Whoever read the output has gone: what a program killed by SIGPIPE ends with.
    BrokenPipe = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
