//! `publish`: an event for the subscribers of a topic.

use super::send::print_id;
use crate::args::Reach;
use crate::around::Around;
use crate::connect::Link;
use crate::error::CliError;
use crate::input::Input;
use crate::marks::{Life, Marks};
use crate::output::Output;
use clap::Args;
use trunkline_types::{Destination, Kind, Topic};

/// What `publish` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline publish build.linux.done --data '{\"ok\":true}'
  git log -1 | trunkline publish repo.commit -
  trunkline publish orders.new --data 7 --absent park --ttl 1h")]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    reach: Reach,
    /// The topic: 1 to 16 tokens joined by dots.
    topic: Topic,
    /// What it is: event, broadcast, context-share, status or error.
    #[arg(long, default_value = "event")]
    kind: Kind,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    marks: Marks,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    around: Around,
}

/// Runs the command.
pub(crate) async fn run(args: PublishArgs, output: &Output) -> Result<(), CliError> {
    let PublishArgs { reach, topic, kind, input, marks, life, around } = args;
    let cause = around.cause()?;
    let payload = input.payload()?;
    let link = Link::new(&reach)?;
    let session = link.open().await?;
    let (to, due) = (Destination::Topic(topic.clone()), marks.due());
    let event = cause.apply(Some(kind), session.publish(topic, payload).kind(kind));
    let result = life.apply(marks.apply(event)).await;
    let result =
        result.map_err(CliError::from).and_then(|accepted| print_id(&accepted, &to, due, output));
    session.close();
    link.farewell().await;
    result
}
