//! `dead`: what ran out of attempts, with the reason of each.

use crate::args::Global;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Output, units};
use clap::{Args, Subcommand};
use serde_json::Value;
use trunkline_types::{
    AttemptNote, DeadLetter, DeadLetterFilter, DeadLetterPage, InboxAddress, MessageId,
};

/// What `dead` takes.
#[derive(Args, Debug)]
pub(crate) struct DeadArgs {
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Subcommand, Debug)]
enum DeadCommand {
    /// List dead letters, newest first.
    #[command(after_help = "\
Examples:
  trunkline dead list
  trunkline dead list --inbox skill:count-words --json")]
    List {
        /// Only those of this inbox: skill:NAME or agent:ID.
        #[arg(long)]
        inbox: Option<InboxAddress>,
        /// At most this many.
        #[arg(
            long,
            value_name = "N",
            default_value_t = 100,
            value_parser = clap::value_parser!(u32).range(1..)
        )]
        limit: u32,
    },
    /// Print one dead letter with what was sent and every attempt's reason.
    #[command(after_help = "\
Example:
  trunkline dead show 0192f0c1-2d3e-7000-8000-00000000002a")]
    Show {
        /// The id of what was sent.
        id: MessageId,
    },
}

/// Runs the command.
pub(crate) async fn run(args: DeadArgs, global: &Global, output: &Output) -> Result<(), CliError> {
    let link = Link::new(global)?;
    match args.command {
        DeadCommand::List { inbox, limit } => {
            let filter = DeadLetterFilter { inbox, ..DeadLetterFilter::default() };
            list(&gather(&link, filter, limit as usize).await?, output)
        }
        DeadCommand::Show { id } => {
            let filter = DeadLetterFilter { id: Some(id), limit: 1, ..DeadLetterFilter::default() };
            let found = link.dead_letters(filter).await?.letters;
            let Some(letter) = found.first() else {
                let message = format!("there is no dead letter {id}");
                let hint = "list those that there are with `trunkline dead list`";
                return Err(CliError::new(Exit::NotFound, message).hint(hint));
            };
            show(letter, output)
        }
    }
}

/// Asks page by page until there are `most` or no more.
async fn gather(
    link: &Link,
    mut filter: DeadLetterFilter,
    most: usize,
) -> Result<DeadLetterPage, CliError> {
    let mut all = DeadLetterPage::default();
    loop {
        filter.limit = page_limit(most - all.letters.len());
        let page = link.dead_letters(filter.clone()).await?;
        all.letters.extend(page.letters);
        all.next = page.next;
        if all.next.is_none() || all.letters.len() >= most {
            return Ok(all);
        }
        filter.before = all.next;
    }
}

/// How many entries to ask for where this many are wanted: a page has no more than 1,000.
pub(super) fn page_limit(wanted: usize) -> u32 {
    u32::try_from(wanted).map_or(1_000, |wanted| wanted.min(1_000))
}

fn list(page: &DeadLetterPage, output: &Output) -> Result<(), CliError> {
    let DeadLetterPage { letters, next } = page;
    if output.is_json() {
        return output.value(&letters.iter().map(output::dead_letter).collect::<Value>());
    }
    if letters.is_empty() {
        output.note("no dead letters");
        return Ok(());
    }
    let row = |letter: &DeadLetter| {
        [
            letter.publish.envelope.id.to_string(),
            letter.inbox.to_string(),
            letter.attempts.len().to_string(),
            units::age(letter.at),
            first_line(&letter.reason),
        ]
    };
    let header = ["ID", "INBOX", "ATTEMPTS", "WHEN", "REASON"];
    output.table(&output::rows(header, &[2], letters.iter().map(row)))?;
    if next.is_some() {
        output.note("there are older ones: raise --limit to see them");
    }
    Ok(())
}

fn show(letter: &DeadLetter, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&output::dead_letter(letter));
    }
    let DeadLetter { publish, inbox, reason, at, accepted_at, attempts } = letter;
    let envelope = &publish.envelope;
    let fields = [
        ("id", envelope.id.to_string()),
        ("destination", envelope.destination.to_string()),
        ("inbox", inbox.to_string()),
        ("accepted", units::age(*accepted_at)),
        ("dead", units::age(*at)),
        ("reason", reason.clone()),
        ("content type", envelope.payload.content_type.to_string()),
        ("size", units::size(envelope.payload.data.len() as u64)),
    ];
    output.table(&output::fields(fields))?;
    output.line("")?;
    output.table(&attempts_table(attempts))?;
    output.line("")?;
    output.line(envelope.payload.to_text())
}

/// What became of each attempt.
pub(super) fn attempts_table(attempts: &[AttemptNote]) -> comfy_table::Table {
    let row = |note: &AttemptNote| {
        let AttemptNote { attempt, agent, at, reason } = note;
        [
            attempt.to_string(),
            agent.as_ref().map(ToString::to_string).unwrap_or_default(),
            units::age(*at),
            reason.clone(),
        ]
    };
    output::rows(["ATTEMPT", "AGENT", "WHEN", "REASON"], &[0], attempts.iter().map(row))
}

/// The first line of a text that may have several.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
