//! `subscribe`: the events of the topics that match a pattern, one line each.

use super::signals::Signals;
use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::units::parse_from;
use crate::output::{self, Output, note};
use clap::Args;
use tokio::sync::{mpsc, oneshot};
use trunkline_agent::{Agent, Event, Events, HandlerError, Host, Task};
use trunkline_types::session::{NumberRange, Subscription};
use trunkline_types::{
    AgentId, Destination, Envelope, Filter, GroupName, Refusal, RefusalCode, TopicPattern, WhenFull,
};

/// What `subscribe` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline subscribe 'build.*.done'
  trunkline subscribe '>' --json --count 10
  trunkline subscribe 'orders.>' --filter 'payload.total > 100 && headers.env == \"prod\"'
  trunkline subscribe 'jobs.>' --group workers
  trunkline subscribe 'orders.>' --as auditor

A filter is CEL over topic, kind, source, priority, headers, content_type, size, context_id,
ordering_key and payload (JSON or MessagePack).")]
pub(crate) struct SubscribeArgs {
    #[command(flatten)]
    reach: Reach,
    /// Which topics: `*` stands for one token, `>` at the end for the rest.
    pattern: TopicPattern,
    /// Only events that this CEL expression wants.
    #[arg(long, value_name = "CEL")]
    filter: Option<Filter>,
    /// Share the events with the other subscribers of this group: each goes to one of them.
    #[arg(long, value_name = "NAME")]
    group: Option<GroupName>,
    /// When too many wait, drop the oldest rather than the newest.
    #[arg(long)]
    drop_oldest: bool,
    /// Subscribe as this agent, for which events are kept while nobody is there under its name.
    #[arg(long = "as", value_name = "AGENT", conflicts_with = "drop_oldest")]
    agent: Option<AgentId>,
    /// End after this many events.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = |text: &str| parse_from(1, text)
    )]
    count: Option<u64>,
}

/// Runs the command.
pub(crate) async fn run(args: SubscribeArgs, output: &Output) -> Result<(), CliError> {
    let SubscribeArgs { reach, pattern, filter, group, drop_oldest, agent, count } = args;
    let mut signals = Signals::new()?;
    let url = reach.url();
    // For an agent events are kept while it is away.
    let kept = agent.is_some();
    let link = Link::new(&reach)?.on_reconnect(move |welcome| {
        let lost = if welcome.resumed || kept { "" } else { "; events meanwhile may be lost" };
        note(format_args!("reconnected to {url}{lost}"));
    });
    let when_full = if drop_oldest { WhenFull::DropOldest } else { WhenFull::Reject };
    let subscription =
        Subscription { filter, group, when_full, ..Subscription::new(pattern.clone()) };
    let count = count.unwrap_or(u64::MAX);
    let mut source = match agent {
        None => {
            let session = link.open().await?;
            // The session may end: a subscription with a filter or a group has one of its own.
            Source::Session(session.subscribe_with(subscription).await?)
        }
        Some(id) => as_agent(&link, &id, subscription).await?,
    };
    output.note(format_args!("subscribed to {pattern} at {}", link.url()));
    let result = tokio::select! {
        result = print(&mut source, count, output) => result,
        // Nobody needs to be told that he ended it.
        () = signals.next() => Err(CliError::new(Exit::Interrupted, "")),
    };
    source.end().await;
    link.farewell().await;
    result
}

/// Where events come from.
enum Source {
    /// A subscription of a session.
    Session(Events),
    /// A subscription of an agent, whose handler waits until the event is printed.
    Agent { agent: Agent, events: mpsc::Receiver<(Heard, oneshot::Sender<()>)> },
}

async fn as_agent(
    link: &Link,
    id: &AgentId,
    subscription: Subscription,
) -> Result<Source, CliError> {
    let (sender, events) = mpsc::channel(1);
    let handler = move |task: Task| {
        let sender = sender.clone();
        async move {
            let (printed, done) = oneshot::channel();
            // What is not printed is not settled, so that it comes again.
            let handed = sender.send((Heard::from_task(&task), printed)).await;
            handed.map_err(|_ending| HandlerError::release())?;
            done.await.map_err(|_ending| HandlerError::release())
        }
    };
    let builder = link.agent(id.as_str()).workers(1..=1).prefetch(0);
    let agent = builder.on_event_with(subscription, handler).start().await?;
    Ok(Source::Agent { agent, events })
}

/// An event, and what was dropped before it.
struct Heard {
    envelope: Envelope,
    missed: u64,
    numbers: Option<NumberRange>,
}

impl Heard {
    /// What a handler is given, whose inbox may have had to drop events.
    fn from_task(task: &Task) -> Self {
        let missed = task.missed();
        let numbers = missed
            .first()
            .zip(missed.last())
            .map(|(first, last)| NumberRange { first: first.first, last: last.last });
        let missed = missed.iter().map(|range| range.last - range.first + 1).sum();
        Self { envelope: task.envelope().clone(), missed, numbers }
    }

    fn from_event(event: &Event) -> Self {
        let (envelope, missed) = (event.envelope().clone(), event.missed);
        Self { envelope, missed, numbers: event.numbers }
    }
}

impl Source {
    async fn next(&mut self) -> Result<(Heard, Option<oneshot::Sender<()>>), CliError> {
        let gone = || Refusal::new(RefusalCode::Unavailable, "the broker ended the session");
        match self {
            Self::Session(events) => match events.next().await {
                Some(event) => Ok((Heard::from_event(&event), None)),
                None => Err(events.ended().unwrap_or_else(gone).into()),
            },
            Self::Agent { agent, events } => tokio::select! {
                Some((event, printed)) = events.recv() => Ok((event, Some(printed))),
                refusal = agent.ended() => Err(refusal.into()),
            },
        }
    }

    async fn end(self) {
        match self {
            Self::Session(events) => drop(events),
            Self::Agent { agent, events } => {
                drop(events);
                agent.stop().await;
            }
        }
    }
}

async fn print(source: &mut Source, count: u64, output: &Output) -> Result<(), CliError> {
    for _ in 0..count {
        let (Heard { envelope, missed, numbers }, printed) = source.next().await?;
        if missed > 0 {
            let among = numbers.map_or_else(String::new, |NumberRange { first, last }| {
                format!(" (among the numbers {first} to {last})")
            });
            let (events, were) = if missed == 1 { ("event", "was") } else { ("events", "were") };
            output.note(format_args!("note: {missed} {events} {were} missed here{among}"));
        }
        if output.is_json() {
            output.value(&output::event(&envelope, missed, numbers))?;
        } else {
            output.line(line(&envelope))?;
        }
        if let Some(printed) = printed {
            // A handler that no longer waits was called off; the event comes again then.
            let _ = printed.send(());
        }
    }
    Ok(())
}

/// Topic and payload on one line.
fn line(envelope: &Envelope) -> String {
    let to = match &envelope.destination {
        Destination::Topic(topic) => topic.to_string(),
        other => other.to_string(),
    };
    format!("{to}\t{}", output::one_line(&envelope.payload))
}
