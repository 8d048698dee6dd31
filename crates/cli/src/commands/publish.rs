//! `publish`: an event for the subscribers of a topic.

use super::send::print_id;
use crate::args::Global;
use crate::connect::Link;
use crate::error::CliError;
use crate::input::{Input, Marks};
use crate::output::Output;
use crate::output::units::parse_span;
use clap::Args;
use std::time::Duration;
use trunkline_types::Topic;

/// What `publish` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline publish build.linux.done --data '{\"ok\":true}'
  git log -1 | trunkline publish repo.commit -")]
pub(crate) struct PublishArgs {
    /// The topic: 1 to 16 tokens joined by dots.
    topic: Topic,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    marks: Marks,
    /// How long it is of use, counted from its acceptance; for ever when not given.
    #[arg(long, value_name = "SPAN", value_parser = parse_span, help_heading = "Treatment")]
    ttl: Option<Duration>,
}

/// Runs the command.
pub(crate) async fn run(
    args: PublishArgs,
    global: &Global,
    output: &Output,
) -> Result<(), CliError> {
    let PublishArgs { topic, input, marks, ttl } = args;
    let payload = input.payload()?;
    let link = Link::new(global)?;
    let session = link.open().await?;
    let mut event = marks.apply(session.publish(topic.clone(), payload));
    if let Some(ttl) = ttl {
        event = event.ttl(ttl);
    }
    let result = event.await.map_err(CliError::from).and_then(|accepted| {
        if accepted.targets == 0 {
            output.note(format_args!("note: nobody subscribes to {topic}"));
        }
        print_id(&accepted, output)
    });
    session.close();
    link.farewell().await;
    result
}
