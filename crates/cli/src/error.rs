//! Why a command ends without success: a message, a remedy where there is one, an exit code.
//!
//! The messages of the other crates say what is wrong and then, after a semicolon, what helps;
//! here the two become the lines `error:` and `hint:`.

use crate::exit::Exit;
use std::fmt;
use std::io;
use trunkline_agent::RequestError;
use trunkline_types::{Failure, FailureCode, Refusal, RefusalCode};

/// Why a command ends without success.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CliError {
    /// How the process ends.
    pub(crate) exit: Exit,
    /// A fragment that names the thing, its value and the limit. Nothing is printed if empty.
    pub(crate) message: String,
    /// What helps, if something does.
    pub(crate) hint: Option<String>,
}

impl CliError {
    /// An error without a remedy.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string(), hint: None }
    }

    /// An error whose message may name the remedy after a semicolon.
    pub(crate) fn with_remedy(exit: Exit, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        match message.split_once("; ") {
            Some((what, remedy)) => Self::new(exit, what).hint(remedy),
            None => Self::new(exit, message),
        }
    }

    /// A mistake on the command line or in the configuration.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::with_remedy(Exit::Usage, message)
    }

    /// The same error with a remedy.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, retry_after } = refusal;
        let exit = match code {
            RefusalCode::Unavailable | RefusalCode::Draining => Exit::NoBroker,
            RefusalCode::NotFound => Exit::NotFound,
            RefusalCode::StoreFailed => Exit::StoreFailed,
            RefusalCode::Invalid
            | RefusalCode::TooLarge
            | RefusalCode::AlreadyTaken
            | RefusalCode::StaleToken
            | RefusalCode::OutOfOrder
            | RefusalCode::InboxFull
            | RefusalCode::KeyReused
            | RefusalCode::KeyCap
            | RefusalCode::NobodyThere
            | RefusalCode::DiskFull
            | RefusalCode::Forbidden
            | RefusalCode::WrongState
            | RefusalCode::Deadlock => Exit::Refused,
        };
        let error = Self::with_remedy(exit, message);
        match retry_after {
            Some(span) if error.hint.is_none() => {
                let span = crate::output::units::span(span);
                error.hint(format_args!("trying again in {span} may help"))
            }
            _ => error,
        }
    }
}

/// What a failure means, for people.
pub(crate) fn failed(code: FailureCode) -> &'static str {
    match code {
        FailureCode::Failed => "the task failed",
        FailureCode::Rejected => "the agent declined",
        FailureCode::Expired => "its time to live ended first",
        FailureCode::DeadLettered => "it became a dead letter",
        FailureCode::Canceled => "it was cancelled",
        FailureCode::Lost => "the broker went away with it",
        FailureCode::NobodyThere => "nobody was there to ask",
        FailureCode::LeftOut => "its answer was left out",
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let Failure { code, reason } = failure;
        let what = failed(code);
        let exit = match code {
            FailureCode::Failed | FailureCode::LeftOut => Exit::Failed,
            FailureCode::Rejected => Exit::Rejected,
            FailureCode::Expired => Exit::Expired,
            FailureCode::DeadLettered => Exit::DeadLettered,
            FailureCode::Canceled => Exit::Canceled,
            FailureCode::Lost => Exit::Lost,
            FailureCode::NobodyThere => Exit::Refused,
        };
        match reason.trim() {
            "" => Self::new(exit, what),
            reason => Self::new(exit, format_args!("{what}: {reason}")),
        }
    }
}

impl From<RequestError> for CliError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(refusal) => refusal.into(),
            RequestError::Failed(failure) => failure.into(),
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::BrokenPipe, ""),
            _ => Self::new(Exit::General, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_becomes_a_hint() {
        let refusal = Refusal::new(RefusalCode::Unavailable, "no broker answers; start one");
        let error = CliError::from(refusal);
        assert_eq!(error.message, "no broker answers");
        assert_eq!(error.hint.as_deref(), Some("start one"));
        assert_eq!(error.exit, Exit::NoBroker);
    }
}
