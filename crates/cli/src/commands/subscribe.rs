//! `subscribe`: the events of the topics that match a pattern, one line each.

use super::signals::Signals;
use crate::args::Global;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Output};
use clap::Args;
use trunkline_agent::{Event, Events};
use trunkline_types::{Refusal, RefusalCode, TopicPattern};

/// What `subscribe` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline subscribe 'build.*.done'
  trunkline subscribe '>' --json --count 10")]
pub(crate) struct SubscribeArgs {
    /// Which topics: `*` stands for one token, `>` at the end for the rest.
    pattern: TopicPattern,
    /// End after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// Runs the command.
pub(crate) async fn run(
    args: SubscribeArgs,
    global: &Global,
    output: &Output,
) -> Result<(), CliError> {
    let SubscribeArgs { pattern, count } = args;
    let mut signals = Signals::new()?;
    let link = Link::new(global)?;
    let session = link.open().await?;
    let mut events = session.subscribe(pattern).await?;
    output.note(format_args!("subscribed to {} at {}", events.pattern(), link.url()));
    let result = tokio::select! {
        result = print(&mut events, count.unwrap_or(u64::MAX), output) => result,
        // Nobody needs to be told that he ended it.
        () = signals.next() => Err(CliError::new(Exit::Interrupted, "")),
    };
    drop(events);
    session.close();
    link.farewell().await;
    result
}

async fn print(events: &mut Events, count: u64, output: &Output) -> Result<(), CliError> {
    for _ in 0..count {
        let Some(event) = events.next().await else {
            let gone = || Refusal::new(RefusalCode::Unavailable, "the broker ended the session");
            return Err(events.ended().unwrap_or_else(gone).into());
        };
        if event.missed > 0 {
            output.note(format_args!("note: {} events were missed here", event.missed));
        }
        if output.is_json() {
            output.value(&output::event(&event))?;
        } else {
            output.line(line(&event))?;
        }
    }
    Ok(())
}

/// Topic and payload on one line, whatever is in the payload.
fn line(event: &Event) -> String {
    let topic = event.topic().map(ToString::to_string).unwrap_or_default();
    let mut line = format!("{topic}\t");
    for character in event.payload().to_text().trim_end_matches('\n').chars() {
        match character {
            '\n' => line.push_str("\\n"),
            '\t' => line.push('\t'),
            control if control.is_control() => line.extend(control.escape_default()),
            other => line.push(other),
        }
    }
    line
}
