//! The delivery around this process, if it is run by an agent's command: the cause of what it
//! sends, and whose place it lends while it waits for an answer.

use crate::error::CliError;
use crate::output::Output;
use clap::Args;
use trunkline_agent::exec::{self, AroundError, Lent};
use trunkline_agent::{Cause, Outgoing};
use trunkline_types::Kind;

/// What is made of the delivery around this process.
#[derive(Args, Debug)]
#[command(next_help_heading = "Treatment")]
pub(crate) struct Around {
    #[arg(
        long,
        help = "Where an agent's command runs this, do not name its task as the cause, and inherit \
                neither its conversation nor its trace context"
    )]
    no_cause: bool,
}

/// What causes that which is sent, if anything does.
#[derive(Debug)]
pub(crate) struct Caused(Option<Cause>);

impl Around {
    /// The delivery around this process, unless it is not to be named.
    ///
    /// # Errors
    /// What an agent says of it was changed to something that it cannot be.
    pub(crate) fn cause(&self) -> Result<Caused, CliError> {
        if self.no_cause {
            return Ok(Caused(None));
        }
        let hint = "an agent sets it for the command that it runs; unset it, or give --no-cause";
        exec::cause().map(Caused).map_err(|error| CliError::usage(error).hint(hint))
    }
}

impl Caused {
    /// Marks what is to be sent. What says how something goes, or answers it, speaks of its cause
    /// if nothing else is named afterwards.
    pub(crate) fn apply<K>(self, kind: Option<Kind>, outgoing: Outgoing<K>) -> Outgoing<K> {
        let Self(Some(cause)) = self else { return outgoing };
        let id = cause.id;
        let outgoing = outgoing.caused_by(cause);
        match kind {
            Some(Kind::Response | Kind::Status | Kind::Error) => outgoing.correlation(id),
            _ => outgoing,
        }
    }
}

/// Lends the place of the delivery around this process, which is about to wait for an answer. That
/// its agent cannot be reached is told and no failure: others may be there to answer.
pub(crate) async fn lend(output: &Output) -> Result<Option<Lent>, CliError> {
    match exec::lend().await {
        Ok(lent) => Ok(lent),
        Err(error @ AroundError::Malformed { .. }) => {
            let hint = "an agent sets it for the command that it runs; unset it";
            Err(CliError::usage(error).hint(hint))
        }
        Err(error @ AroundError::Unreachable(_)) => {
            output.note(format_args!(
                "note: {error}; its place stays taken until the answer is here"
            ));
            Ok(None)
        }
    }
}
