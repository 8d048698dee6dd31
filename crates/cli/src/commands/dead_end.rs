//! `dead redrive` and `dead purge`: the two ways out for dead letters, one by one or all that match.

use super::dead::Which;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::input::Source;
use crate::output::{Output, note, units};
use clap::{ArgGroup, Args};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};
use trunkline_agent::{RedriveBuilder, Session};
use trunkline_types::session::LetterAddress;
use trunkline_types::{
    DeadLetter, DeadLetterFilter, Destination, InboxAddress, MessageId, Payload, Priority, Refusal,
    RefusalCode,
};

/// How many letters are on their way at once when nobody says at what rate.
const AT_ONCE: usize = 64;
/// How many refusals are printed; the rest are only counted.
const TOLD: u64 = 10;
/// How often a line tells how far it is where no bar can.
const TELL: Duration = Duration::from_secs(2);
/// How many letters are asked for at once.
const PAGE: u32 = 100;

/// Which dead letters: one, or all that match.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("which").required(true))]
pub(super) struct Chosen {
    /// The id of what was sent.
    #[arg(group = "which")]
    id: Option<MessageId>,
    /// All that match, newest first.
    #[arg(long, group = "which")]
    all: bool,
    #[command(flatten)]
    which: Which,
}

/// What `dead redrive` takes.
#[derive(Args, Debug)]
pub(super) struct RedriveArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Send it to another agent or skill than the one in whose inbox it died.
    #[arg(long, value_name = "DEST", help_heading = "Edits")]
    to: Option<Destination>,
    /// Send it with another priority: low, normal, high or urgent.
    #[arg(long, help_heading = "Edits")]
    priority: Option<Priority>,
    #[command(flatten)]
    source: Source,
    /// At most this many a second, 1/s to 100000/s, such as 100/s; as fast as the broker takes
    /// them if not given.
    #[arg(
        long,
        value_name = "N/s",
        allow_hyphen_values = true,
        value_parser = rate,
        requires = "all"
    )]
    rate: Option<Duration>,
}

/// What `dead purge` takes.
#[derive(Args, Debug)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Yes, delete them: they cannot be brought back.
    #[arg(long)]
    yes: bool,
}

/// What is to be done with each letter.
#[derive(Clone, Debug)]
enum Way {
    Redrive(Edits),
    Purge,
}

#[derive(Clone, Debug)]
struct Edits {
    to: Option<Destination>,
    priority: Option<Priority>,
    payload: Option<Payload>,
}

impl Edits {
    fn apply(self, mut redrive: RedriveBuilder) -> RedriveBuilder {
        let Self { to, priority, payload } = self;
        if let Some(to) = to {
            redrive = redrive.destination(to);
        }
        if let Some(priority) = priority {
            redrive = redrive.priority(priority);
        }
        match payload {
            Some(payload) => redrive.payload(payload),
            None => redrive,
        }
    }
}

impl Way {
    async fn go(self, session: &Session, letter: LetterAddress) -> Result<(), Refusal> {
        match self {
            Self::Redrive(edits) => edits.apply(session.redrive(letter)).await.map(|_id| ()),
            Self::Purge => session.purge(letter).await,
        }
    }

    fn done(&self) -> &'static str {
        match self {
            Self::Redrive(_) => "redriven",
            Self::Purge => "purged",
        }
    }
}

impl Chosen {
    /// The one letter that is meant, if it is one.
    fn one(&self) -> Result<Option<LetterAddress>, CliError> {
        let Some(id) = self.id else { return Ok(None) };
        let Which { inbox, agent, reason, since, until } = &self.which;
        if agent.is_some() || reason.is_some() || since.is_some() || until.is_some() {
            let message = "one letter is named, so that --agent, --reason, --since and --until \
                           choose nothing; leave them out, or name --all";
            return Err(CliError::usage(message));
        }
        Ok(Some(LetterAddress { id, inbox: inbox.clone() }))
    }
}

/// Runs `dead redrive`.
pub(super) async fn redrive(
    link: &Link,
    args: RedriveArgs,
    output: &Output,
) -> Result<(), CliError> {
    let RedriveArgs { chosen, to, priority, source, rate } = args;
    let edits = Edits { to, priority, payload: source.payload()? };
    let Some(letter) = chosen.one()? else {
        let filter = chosen.which.filter();
        return many(link, filter, Way::Redrive(edits), rate, output).await;
    };
    let from = letter.id;
    let id = link.with(async |session| edits.apply(session.redrive(letter)).await).await?;
    if output.is_json() {
        let value = json!({ "id": id.to_string(), "redriven_from": from.to_string() });
        return output.value(&value);
    }
    output.line(id)
}

/// Runs `dead purge`.
pub(super) async fn purge(link: &Link, args: PurgeArgs, output: &Output) -> Result<(), CliError> {
    let PurgeArgs { chosen, yes } = args;
    let letter = chosen.one()?;
    if !yes {
        let what = if letter.is_some() { "a dead letter" } else { "all dead letters that match" };
        let message = format!("this deletes {what} for good; say --yes if that is wanted");
        return Err(CliError::usage(message));
    }
    let Some(letter) = letter else {
        return many(link, chosen.which.filter(), Way::Purge, None, output).await;
    };
    let id = letter.id;
    link.with(async |session| session.purge(letter).await).await?;
    if output.is_json() {
        return output.value(&json!({ "id": id.to_string(), "done": "purged" }));
    }
    output.line(format_args!("purged {id}"))
}

/// What came of many letters.
#[derive(Default)]
struct Tally {
    /// How many there are, as far as is known.
    found: u64,
    done: u64,
    refused: u64,
}

async fn many(
    link: &Link,
    filter: DeadLetterFilter,
    way: Way,
    every: Option<Duration>,
    output: &Output,
) -> Result<(), CliError> {
    let session = link.open().await?;
    let bar = bar(way.done(), output);
    let mut tally = Tally::default();
    let result = each(link, &session, filter, &way, every, &bar, &mut tally).await;
    bar.finish_and_clear();
    session.close();
    link.farewell().await;
    let Tally { done, refused, .. } = tally;
    // What was done is told also when the rest could not be.
    if output.is_json() {
        output.value(&json!({ way.done(): done, "refused": refused }))?;
    } else {
        output.line(format_args!("{} {}", way.done(), units::count(done)))?;
    }
    result?;
    match refused {
        0 => Ok(()),
        count => {
            let message = match count {
                1 => "1 dead letter was refused and stays where it is".to_owned(),
                _ => format!("{count} dead letters were refused and stay where they are"),
            };
            Err(CliError::new(Exit::Refused, message))
        }
    }
}

/// Goes through the letters page by page, from the newest to older ones. What dies again
/// meanwhile is newer than all of them, and is left alone.
async fn each(
    link: &Link,
    session: &Session,
    mut filter: DeadLetterFilter,
    way: &Way,
    every: Option<Duration>,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> Result<(), CliError> {
    filter.limit = PAGE;
    let mut pace = Pace::new(every);
    let mut running = JoinSet::new();
    let mut tell = interval(TELL);
    // The first comes at once, when there is nothing to tell.
    tell.tick().await;
    loop {
        let page = link.dead_letters(filter.clone()).await?;
        tally.found += page.letters.len() as u64;
        bar.set_length(tally.found);
        for letter in page.letters {
            // Answers are taken as they come, however long the next one's turn takes.
            loop {
                tokio::select! {
                    Some(ended) = running.join_next() => settle(ended, bar, tally)?,
                    _ = tell.tick() => progress(way, bar, tally),
                    () = pace.turn(), if running.len() < AT_ONCE => break,
                }
            }
            let (session, way) = (session.clone(), way.clone());
            let (id, inbox) = address(&letter);
            running.spawn(async move {
                let letter = LetterAddress { id, inbox: Some(inbox) };
                (id, way.go(&session, letter).await)
            });
        }
        filter.before = page.next;
        if filter.before.is_none() {
            break;
        }
    }
    while !running.is_empty() {
        tokio::select! {
            Some(ended) = running.join_next() => settle(ended, bar, tally)?,
            _ = tell.tick() => progress(way, bar, tally),
        }
    }
    Ok(())
}

/// A line on how far it is, for who has no bar to look at.
fn progress(way: &Way, bar: &ProgressBar, tally: &Tally) {
    if bar.is_hidden() {
        let Tally { found, done, refused } = tally;
        let (found, done) = (units::count(*found), units::count(*done));
        note(format_args!("{} {done} of at least {found}, {refused} refused", way.done()));
    }
}

fn address(letter: &DeadLetter) -> (MessageId, InboxAddress) {
    (letter.publish.envelope.id, letter.inbox.clone())
}

type Ended = Result<(MessageId, Result<(), Refusal>), tokio::task::JoinError>;

fn settle(ended: Ended, bar: &ProgressBar, tally: &mut Tally) -> Result<(), CliError> {
    let (id, result) = ended.map_err(|error| CliError::new(Exit::General, error))?;
    bar.inc(1);
    match result {
        Ok(()) => tally.done += 1,
        // Without the broker, the others would fare alike.
        Err(refusal)
            if matches!(
                refusal.code,
                RefusalCode::Unavailable | RefusalCode::Draining | RefusalCode::StoreFailed
            ) =>
        {
            return Err(refusal.into());
        }
        Err(refusal) => {
            tally.refused += 1;
            if tally.refused <= TOLD {
                bar.suspend(|| note(format_args!("{id}: {refusal}")));
            }
        }
    }
    Ok(())
}

/// When the next letter may go.
struct Pace(Option<Interval>);

impl Pace {
    /// One for every such span; all at once if there is none.
    fn new(every: Option<Duration>) -> Self {
        Self(every.map(|every| {
            let mut pace = interval(every);
            // Who was late does not hurry afterwards.
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            pace
        }))
    }

    /// Waits for the next turn. One that is given up before it came is not lost.
    async fn turn(&mut self) {
        if let Some(pace) = &mut self.0 {
            pace.tick().await;
        }
    }
}

fn bar(done: &'static str, output: &Output) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let interactive = output.is_interactive();
    let target =
        if interactive { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    bar.set_draw_target(target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} {msg} of at least {len}") {
        bar.set_style(style);
    }
    bar.with_message(done)
}

/// Reads a rate such as `100/s` as the time from one to the next.
fn rate(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "'{}' is no rate; write it like 100/s, the range is 1/s to 100000/s",
            units::shown(text)
        )
    };
    let number = text.trim().strip_suffix("/s").ok_or_else(wrong)?;
    let number: u32 = number.trim().parse().map_err(|_no_number| wrong())?;
    if !(1..=100_000).contains(&number) {
        return Err(wrong());
    }
    Ok(Duration::from_secs(1) / number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pace_gives_one_turn_in_each_span_and_none_is_no_wait() {
        let begun = tokio::time::Instant::now();
        let mut pace = Pace::new(Some(Duration::from_millis(250)));
        for turn in 0..4 {
            pace.turn().await;
            // The clock stands still but for what the pace waits.
            assert_eq!(begun.elapsed(), Duration::from_millis(250) * turn);
        }
        let mut none = Pace::new(None);
        let before = begun.elapsed();
        for _ in 0..1_000 {
            none.turn().await;
        }
        assert_eq!(begun.elapsed(), before);
    }

    #[test]
    fn a_rate_is_so_many_a_second() {
        assert_eq!(rate("1/s"), Ok(Duration::from_secs(1)));
        assert_eq!(rate("100/s"), Ok(Duration::from_millis(10)));
        for text in ["", "100", "0/s", "-1/s", "1/m", "100001/s"] {
            assert!(rate(text).unwrap_err().contains("100/s"), "{text}");
        }
    }
}
