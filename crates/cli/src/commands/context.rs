//! `context`: what was said in a conversation, over all its tasks.

use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::output::{self, Output, units};
use clap::Args;
use trunkline_types::{ContextId, History, HistoryMessage};

/// What `context` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline context order-7
  trunkline context order-7 --history 10 --json")]
pub(crate) struct ContextArgs {
    #[command(flatten)]
    reach: Reach,
    /// The conversation's id.
    id: ContextId,
    /// At most this many of the latest messages; as many as are kept if nothing is said.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32)
    )]
    history: Option<u32>,
}

/// Runs the command.
pub(crate) async fn run(args: ContextArgs, output: &Output) -> Result<(), CliError> {
    let link = Link::new(&args.reach)?;
    let context = link.context(args.id, args.history).await?;
    if output.is_json() {
        return output.value(&output::context(&context));
    }
    let fields = [
        ("id", context.id.to_string()),
        ("tasks", units::count(context.tasks)),
        ("open", units::count(context.tasks_open)),
    ];
    output.table(&output::fields(fields))?;
    show_history(&context.history, output)
}

/// Prints messages, oldest first; nothing if there are none.
pub(super) fn show_history(history: &History, output: &Output) -> Result<(), CliError> {
    let History { messages, more } = history;
    if messages.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let row = |message: &HistoryMessage| {
        let HistoryMessage { task, role, from, at, payload } = message;
        let from = from.as_ref().map(ToString::to_string).unwrap_or_default();
        [task.to_string(), units::age(*at), role.to_string(), from, output::one_line(payload)]
    };
    let header = ["TASK", "SAID", "ROLE", "FROM", "MESSAGE"];
    output.table(&output::rows(header, &[], messages.iter().map(row)))?;
    if *more {
        output.note("there are earlier ones");
    }
    Ok(())
}
