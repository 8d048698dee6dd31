//! The work itself: files go out, events and summaries come back, a worker is killed.

use super::args::Role;
use super::figures::Figures;
use super::files::{Files, TextFile, count_todos, count_words};
use super::roles::{FILE_DONE, HOLD, PATH, WORKER_HOLDS};
use super::stage::Stage;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::units::exact_span;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trunkline_agent::{Event, Host, RequestError, Session};
use trunkline_client::{Client, ClientConfig};
use trunkline_types::{Destination, MessageId, TaskState};

/// Files on their way at once.
const IN_FLIGHT: usize = 32;
/// How long everything may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longest latency that is told apart, in microseconds.
const SLOWEST: u64 = 60_000_000;

/// What the summary agent says of a file.
#[derive(Deserialize, Debug)]
struct Summary {
    words: u64,
    todos: u64,
}

/// What a worker says that holds the marked file.
#[derive(Deserialize, Debug)]
struct Holds {
    pid: u32,
    task: String,
}

/// One file's way.
struct Done {
    index: usize,
    summary: Summary,
    took: Duration,
}

/// Works on the files and tells what was seen.
///
/// # Errors
/// An agent or the broker ended by itself, a file has no summary, or it takes too long.
pub(super) async fn show(
    stage: &mut Stage,
    files: Files,
    interactive: bool,
) -> Result<Figures, CliError> {
    let client = Client::new(&ClientConfig::new(&stage.url))?;
    let session = client.session().await?;
    let agents = stage.agents();
    let work = work(stage, &session, files, agents, interactive);
    let worked = tokio::time::timeout(PATIENCE, work).await;
    worked.unwrap_or_else(|_| {
        let what = format!("the demo is not done after {}", exact_span(PATIENCE));
        Err(CliError::new(Exit::Timeout, what))
    })
}

async fn work(
    stage: &mut Stage,
    session: &Session,
    files: Files,
    agents: usize,
    interactive: bool,
) -> Result<Figures, CliError> {
    let mut events = session.subscribe("demo.>".parse().map_err(broken)?).await?;
    let bar = bar(files.texts.len() as u64, interactive);
    let begun = Instant::now();
    let mut sending = send(session, &files)?;
    let mut seen = Seen::new(files.texts.len())?;
    let mut held: Option<Holds> = None;
    // Events that were dropped because this process was slow: they are not waited for.
    let mut missed = 0;
    // Until every file is summed up and told of.
    while seen.done < files.texts.len() || seen.told + missed < files.texts.len() as u64 {
        let event = tokio::select! {
            Some(done) = sending.join_next() => {
                seen.take(done.map_err(broken)??)?;
                continue;
            }
            event = events.next() => event,
            failure = stage.failure() => return Err(failure),
        };
        let event = event.ok_or_else(|| broken("the subscription ended"))?;
        missed += event.missed;
        match event.topic().map(ToString::to_string).as_deref() {
            Some(FILE_DONE) => {
                seen.told += 1;
                bar.inc(1);
            }
            Some(WORKER_HOLDS) if held.is_none() => {
                let holds: Holds = said(&event)?;
                stage.kill(holds.pid).await?;
                bar.set_message(format!("killed worker process {}", holds.pid));
                held = Some(holds);
            }
            _ => {}
        }
    }
    let took = begun.elapsed();
    bar.finish_and_clear();
    drop(events);
    let held = held.ok_or_else(|| broken("no worker was killed"))?;
    let task: MessageId = held.task.parse().map_err(broken)?;
    let task = session.task(task).await?;
    let stats = session.stats().await?;
    if task.state != TaskState::Completed || task.attempts < 2 || stats.counters.redeliveries == 0 {
        let (id, state, attempts) = (task.id, task.state, task.attempts);
        let what = format!("task {id} of the killed worker is {state} after {attempts} attempts");
        return Err(CliError::new(Exit::Mismatch, what));
    }
    Ok(seen.figures(files, agents, took, held.pid, task, stats))
}

/// Sends every file as a task, so many at once.
fn send(session: &Session, files: &Files) -> Result<JoinSet<Result<Done, CliError>>, CliError> {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let marked = files.texts.len() / 2;
    let mut sending = JoinSet::new();
    for (index, TextFile { path, text }) in files.texts.iter().enumerate() {
        let to = Destination::skill(Role::Summary.word()).map_err(broken)?;
        // A header has room for 1 KiB.
        let shown: String = path.chars().take(200).collect();
        let mut task = session.send(to, text.clone()).header(PATH, shown);
        if index == marked {
            task = task.header(HOLD, "1");
        }
        let (room, path) = (Arc::clone(&room), path.clone());
        sending.spawn(async move {
            let _place = room.acquire_owned().await.map_err(broken)?;
            let begun = Instant::now();
            let reply = task.wait().await.map_err(|error: RequestError| {
                let error = CliError::from(error);
                CliError::new(error.exit, format_args!("{path}: {}", error.message))
            })?;
            let took = begun.elapsed();
            let summary = serde_json::from_slice(&reply.payload.data).map_err(broken)?;
            Ok(Done { index, summary, took })
        });
    }
    Ok(sending)
}

/// What has come back so far.
struct Seen {
    counts: Vec<Option<Summary>>,
    done: usize,
    told: u64,
    latency: Histogram<u64>,
}

impl Seen {
    fn new(files: usize) -> Result<Self, CliError> {
        let latency = Histogram::new_with_bounds(1, SLOWEST, 3).map_err(broken)?;
        let counts = std::iter::repeat_with(|| None).take(files).collect();
        Ok(Self { counts, done: 0, told: 0, latency })
    }

    fn take(&mut self, done: Done) -> Result<(), CliError> {
        let Done { index, summary, took } = done;
        self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let place = self.counts.get_mut(index).ok_or_else(|| broken("there is no such file"))?;
        *place = Some(summary);
        self.done += 1;
        Ok(())
    }

    fn figures(
        self,
        files: Files,
        agents: usize,
        took: Duration,
        killed: u32,
        held: trunkline_types::TaskSnapshot,
        stats: trunkline_types::Stats,
    ) -> Figures {
        let (mut counted, mut recounted, mut differing) = ((0, 0), (0, 0), Vec::new());
        for (TextFile { path, text }, summary) in files.texts.iter().zip(&self.counts) {
            let theirs = summary.as_ref().map_or((0, 0), |said| (said.words, said.todos));
            let ours = (count_words(text), count_todos(text));
            if theirs != ours {
                differing.push(format!("{path}: {theirs:?} by the agents, {ours:?} recounted"));
            }
            counted = (counted.0 + theirs.0, counted.1 + theirs.1);
            recounted = (recounted.0 + ours.0, recounted.1 + ours.1);
        }
        let Self { told: events, latency, .. } = self;
        Figures {
            files,
            agents,
            counted,
            recounted,
            differing,
            events,
            latency,
            took,
            killed,
            held,
            stats,
        }
    }
}

fn said<'a, T: Deserialize<'a>>(event: &'a Event) -> Result<T, CliError> {
    serde_json::from_slice(&event.payload().data).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> CliError {
    CliError::new(Exit::General, error)
}

fn bar(files: u64, interactive: bool) -> ProgressBar {
    let bar = ProgressBar::new(files);
    let target =
        if interactive { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    bar.set_draw_target(target);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} files · {msg}") {
        bar.set_style(style);
    }
    bar
}
