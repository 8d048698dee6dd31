//! `message`: any message by its id, whatever its kind.

use super::agents::joined;
use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::output::{self, Output, units};
use clap::{Args, Subcommand};
use serde_json::json;
use trunkline_types::{CopyState, CopyStatus, MessageId, MessageStatus};

/// What `message` takes.
#[derive(Args, Debug)]
pub(crate) struct MessageArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: MessageCommand,
}

#[derive(Subcommand, Debug)]
enum MessageCommand {
    /// Print where each copy of a message is, or how it ended.
    #[command(after_help = "\
Example:
  trunkline message get 0192f0c1-2d3e-7000-8000-00000000002a")]
    Get {
        /// Its id.
        id: MessageId,
    },
    /// Call a message off: every copy that has not ended. Whoever works on one is told.
    #[command(after_help = "\
Example:
  trunkline message cancel 0192f0c1-2d3e-7000-8000-00000000002a --reason 'sent by mistake'")]
    Cancel {
        /// Its id.
        id: MessageId,
        /// Why.
        #[arg(long, default_value = "called off from the command line")]
        reason: String,
    },
}

/// Runs the command.
pub(crate) async fn run(args: MessageArgs, output: &Output) -> Result<(), CliError> {
    let link = Link::new(&args.reach)?;
    match args.command {
        MessageCommand::Get { id } => show(&link.message(id).await?, output),
        MessageCommand::Cancel { id, reason } => {
            // Calling it off again is confirmed like the first time; only its state tells them
            // apart. What is not known yet is for the broker to refuse.
            let before = link.message(id).await.is_ok_and(|message| is_canceled(&message));
            link.with(async |session| session.cancel(id, reason.clone()).await).await?;
            if output.is_json() {
                let value = json!({ "id": id.to_string(), "done": "canceled", "before": before });
                return output.value(&value);
            }
            output
                .line(format_args!("canceled {id}{}", if before { " already before" } else { "" }))
        }
    }
}

/// Whether every copy has ended, and one of them by being called off.
fn is_canceled(MessageStatus { copies, .. }: &MessageStatus) -> bool {
    copies.iter().all(|copy| copy.state.is_ended())
        && copies.iter().any(|copy| copy.state == CopyState::Canceled)
}

fn show(message: &MessageStatus, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&output::message(message));
    }
    let MessageStatus { id, kind, destination, accepted_at, copies } = message;
    let fields = [
        ("id", id.to_string()),
        ("kind", joined(kind.iter())),
        ("destination", joined(destination.iter())),
        ("accepted", joined(accepted_at.map(units::age).iter())),
    ];
    output.table(&output::fields(fields.into_iter().filter(|(_, value)| !value.is_empty())))?;
    if copies.is_empty() {
        return Ok(());
    }
    let row = |copy: &CopyStatus| {
        let CopyStatus { inbox, state, attempts, agent } = copy;
        [joined(inbox.iter()), state.to_string(), attempts.to_string(), joined(agent.iter())]
    };
    output.line("")?;
    let header = ["INBOX", "STATE", "ATTEMPTS", "AGENT"];
    output.table(&output::rows(header, &[2], copies.iter().map(row)))
}
