//! `dead`: what ran out of attempts, with the reason of each.

use super::dead_end::{self, PurgeArgs, RedriveArgs};
use super::paging;
use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::units::parse_moment;
use crate::output::{self, Output, units};
use clap::{Args, Subcommand};
use serde_json::Value;
use trunkline_types::{
    AgentId, AttemptNote, DeadLetter, DeadLetterFilter, DeadLetterPage, InboxAddress, MessageId,
    WallTime,
};

/// What `dead` takes.
#[derive(Args, Debug)]
pub(crate) struct DeadArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: DeadCommand,
}

#[derive(Subcommand, Debug)]
enum DeadCommand {
    /// List dead letters, newest first.
    #[command(after_help = "\
Examples:
  trunkline dead list
  trunkline dead list --inbox skill:count-words --json
  trunkline dead list --reason timeout --since 2h --limit 10")]
    List {
        #[command(flatten)]
        which: Which,
        /// At most this many.
        #[arg(
            long,
            value_name = "N",
            default_value_t = 100,
            allow_negative_numbers = true,
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
        /// The inbox it died in, if copies of it died in several.
        #[arg(long)]
        inbox: Option<InboxAddress>,
    },
    /// Send dead letters again, edited or not: one, or all that match. Each becomes a new message.
    #[command(after_help = "\
Examples:
  trunkline dead redrive 0192f0c1-2d3e-7000-8000-00000000002a --data '{\"order\":7}'
  trunkline dead redrive --all --inbox skill:bill --since 2h --rate 100/s")]
    Redrive(RedriveArgs),
    /// Delete dead letters for good: one, or all that match.
    #[command(after_help = "\
Examples:
  trunkline dead purge 0192f0c1-2d3e-7000-8000-00000000002a --yes
  trunkline dead purge --all --reason 'no such customer' --yes")]
    Purge(PurgeArgs),
}

/// Which dead letters.
#[derive(Args, Debug, Default)]
pub(super) struct Which {
    /// Only those of this inbox: skill:NAME or agent:ID.
    #[arg(long)]
    pub(super) inbox: Option<InboxAddress>,
    /// Only those that this agent attempted.
    #[arg(long, value_name = "ID")]
    pub(super) agent: Option<AgentId>,
    /// Only those whose reason contains this text.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Only those that died at this time or later, such as 2030-01-31T08:00:00Z, or 2h for the
    /// last two hours.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(super) since: Option<WallTime>,
    /// Only those that died before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub(super) until: Option<WallTime>,
}

impl Which {
    pub(super) fn filter(self) -> DeadLetterFilter {
        let Self { inbox, agent, reason, since, until } = self;
        DeadLetterFilter { inbox, agent, reason, since, until, ..DeadLetterFilter::default() }
    }
}

/// Runs the command.
pub(crate) async fn run(args: DeadArgs, output: &Output) -> Result<(), CliError> {
    let link = Link::new(&args.reach)?;
    match args.command {
        DeadCommand::List { which, limit } => {
            list(&gather(&link, which.filter(), limit as usize).await?, output)
        }
        DeadCommand::Show { id, inbox } => show(&find(&link, id, inbox).await?, output),
        DeadCommand::Redrive(args) => Box::pin(dead_end::redrive(&link, args, output)).await,
        DeadCommand::Purge(args) => Box::pin(dead_end::purge(&link, args, output)).await,
    }
}

async fn find(
    link: &Link,
    id: MessageId,
    inbox: Option<InboxAddress>,
) -> Result<DeadLetter, CliError> {
    let filter = DeadLetterFilter { id: Some(id), inbox, limit: 2, ..DeadLetterFilter::default() };
    let found = link.dead_letters(filter).await?.letters;
    if let [one, other, ..] = found.as_slice() {
        let message = format!("copies of {id} died in several inboxes");
        let hint = format!("say which with --inbox, such as {} or {}", one.inbox, other.inbox);
        return Err(CliError::usage(message).hint(hint));
    }
    found.into_iter().next().ok_or_else(|| {
        CliError::new(Exit::NotFound, format_args!("there is no dead letter {id}"))
            .hint("list those that there are with `trunkline dead list`")
    })
}

/// Asks page by page until there are `most` or no more.
async fn gather(
    link: &Link,
    filter: DeadLetterFilter,
    most: usize,
) -> Result<DeadLetterPage, CliError> {
    let from = filter.before;
    let ask = async |limit, before| {
        let filter = DeadLetterFilter { limit, before, ..filter.clone() };
        link.dead_letters(filter).await.map(|page| (page.letters, page.next))
    };
    let (letters, next) = paging::gather(most, from, ask).await?;
    Ok(DeadLetterPage { letters, next })
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
        (
            "redriven from",
            envelope.redriven_from.as_ref().map(ToString::to_string).unwrap_or_default(),
        ),
        ("content type", envelope.payload.content_type.to_string()),
        ("size", units::size(envelope.payload.data.len() as u64)),
    ];
    output.table(&output::fields(fields.into_iter().filter(|(_, value)| !value.is_empty())))?;
    output.line("")?;
    output.table(&attempts_table(attempts))?;
    output.line("")?;
    output.line(output::plain(&envelope.payload).to_text())
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
