//! `stalled`: events for many agents, each with a connection of its own, of which one hangs in
//! every other turn. In every turn that one is also sent messages of its own, on disk, more than it
//! may hold: while it hangs its credit is spent, its inbox fills, and most payloads there leave the
//! broker's memory. What that costs the others is the ratio of their 99th percentiles in two turns
//! that follow each other, and of these ratios the median, because what else a machine does hits
//! single turns. When a turn is over the one that hung takes up all it missed, so that every event
//! and message is accounted for.

use super::open::Talk;
use crate::broker::{PAYLOAD_MEMORY, Target};
use crate::load::{Checker, Latency, agent_name, described, latency, stop_agents};
use crate::observe::{Observed, histogram};
use crate::pace::{Pace, Wait};
use crate::report::{Figure, Goal, LatencyMicros, Measures};
use crate::rounds::Spread;
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use trunkline_agent::{Agent, Handler, HandlerFuture, Session, Task};
use trunkline_types::{Destination, Durability, Kind, PublishOptions, Topic};

/// How many turns there are; the agent hangs in every second one.
const TURNS: u32 = 30;
/// How much more the others' 99th percentile may be while one hangs.
const RATIO: f64 = 1.1;
/// How long the last events of a turn may take.
const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "bench.news";
/// Out of how many of its payloads one may wait in memory.
const IN_MEMORY: u64 = 8;

/// What was there, at the least, when a turn in which it hangs was over: of each figure that of the
/// turn with the fewest.
#[derive(Clone, Copy)]
struct Backlog {
    /// Deliveries that it holds: its credit.
    held: u64,
    /// What waits in its inbox.
    waiting: u64,
    /// How many of its payloads are on disk only.
    spilled: u64,
}

impl Backlog {
    async fn at(target: &Target) -> Result<Self, BenchError> {
        let stats = target.stats().await?;
        let spilled = stats.log.map_or(0, |log| log.payloads_on_disk);
        Ok(Self { held: stats.gauges.leased, waiting: stats.gauges.waiting, spilled })
    }

    fn least(self, other: Self) -> Self {
        Self {
            held: self.held.min(other.held),
            waiting: self.waiting.min(other.waiting),
            spilled: self.spilled.min(other.spilled),
        }
    }
}

/// An agent that hangs while the gate is shut.
struct Hanging {
    checker: Checker,
    open: watch::Receiver<bool>,
}

impl Handler for Hanging {
    fn handle(&self, task: Task) -> HandlerFuture {
        let (checker, mut open) = (self.checker.clone(), self.open.clone());
        Box::pin(async move {
            // The gate's end opens it as well.
            let _ = open.wait_for(|open| *open).await;
            checker.handle(task).await
        })
    }
}

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let data = stage.data_directory()?;
    let own = stage.config.count.unwrap_or(1);
    let in_memory = own * stage.config.payload as u64 / IN_MEMORY;
    let settings = [(PAYLOAD_MEMORY.into(), in_memory.to_string())];
    let path = data.as_ref().map(tempfile::TempDir::path);
    let target = stage.durable_with(path, &settings).await?;
    let spread = latency();
    let (gate, open) = watch::channel(true);
    let agents = start(&stage, &target, &spread, open).await?;
    let host = stage.host(&target);
    let sessions = stage.sessions(&host).await?;
    let feed = Talk {
        // One of its own, so that neither waits for room that the other takes.
        sessions: stage.sessions(&host).await?,
        ledger: Arc::clone(&stage.ledger),
        kind: Kind::Event,
        options: PublishOptions {
            durability: Some(Durability::Synced),
            ..PublishOptions::default()
        },
    };
    let slow = Destination::agent(&agent_name(0));
    let slow = slow.map_err(|error| BenchError::Load(error.to_string()))?;
    let topic = Topic::new(TOPIC).map_err(|error| BenchError::Load(error.to_string()))?;
    let mut hanging = histogram();
    let (mut ratios, mut calms, mut hangings) = (Vec::new(), Vec::new(), Vec::new());
    let mut least: Option<Backlog> = None;
    talk(&stage, &sessions[0], &topic, 1.0).await?;
    stage.all_settled().await;
    let due = u64::from(stage.config.agents);
    let phase = {
        let _progress = stage.progress("measuring");
        stage
            .phase(&target, async |_: &Meter<'_>| {
                for turn in 0..TURNS {
                    *spread.lock() = histogram();
                    let hangs = turn % 2 == 1;
                    gate.send_replace(!hangs);
                    let before = stage.flow.confirmed();
                    let seconds = stage.config.seconds.unwrap_or(1.0);
                    let (events, ()) = tokio::try_join!(
                        talk(&stage, &sessions[0], &topic, seconds),
                        feed.clone().evenly(stage.clock, own, seconds, &slow),
                    )?;
                    let all = events * due + own;
                    let awake = if hangs { events * (due - 1) } else { all };
                    stage.flow.reach(before + awake, PATIENCE).await;
                    let p99 = LatencyMicros::of(&spread.lock()).map(|it| it.p99 / 1e3);
                    if hangs {
                        // It grows as it must.
                        let _ = hanging.add(&*spread.lock());
                        let calm = calms.last().copied();
                        ratios.extend(p99.zip(calm).map(|(hanging, calm)| hanging / calm));
                        hangings.extend(p99);
                        let now = Backlog::at(&target).await?;
                        least = Some(least.map_or(now, |least| least.least(now)));
                    } else {
                        calms.extend(p99);
                    }
                    gate.send_replace(true);
                    stage.flow.reach(before + all, PATIENCE).await;
                }
                Ok(())
            })
            .await?
    };
    let measures =
        Measures { rate: "settled", latency: "due to be sent until handled, while one hangs" };
    let latency = LatencyMicros::of(&hanging);
    let mut report = stage.report(&target, &phase, phase.counts.confirmed, latency, measures);
    for (what, count) in least.into_iter().flat_map(|it| {
        [
            ("held by the one that hangs, at least", it.held),
            ("waiting for it, at least", it.waiting),
            ("of these with payloads on disk only, at least", it.spilled),
        ]
    }) {
        if count == 0 {
            let text = format!("{what}: none; send it more with --count");
            report.disagreements.push(text);
            report.pass = false;
            report.rate_per_s = None;
            report.latency_us = None;
        }
        report.figures.push(Figure::count(what, count));
    }
    let whole = report.pass && ratios.len() == TURNS as usize / 2;
    let ratio = Spread::of(ratios).filter(|_| whole);
    report.figures.extend(figures(Spread::of(calms), Spread::of(hangings), ratio));
    let ratio = ratio.map(|it| it.median);
    stop_agents(agents).await;
    let what = "p99 while one hangs to p99 without, median of pairs of turns";
    Ok(report.with_goals(vec![Goal::below(what, ratio, RATIO)]))
}

/// What was seen of the 99th percentiles, in milliseconds, and of their ratios.
fn figures(
    calm: Option<Spread>,
    hanging: Option<Spread>,
    ratio: Option<Spread>,
) -> impl Iterator<Item = Figure> {
    let figures = [
        ("p99 of the others in ms while none hangs, median of turns", calm.map(|it| it.median)),
        ("p99 of the others in ms while one hangs, median of turns", hanging.map(|it| it.median)),
        ("p99 while one hangs to p99 without, least of the pairs", ratio.map(|it| it.least)),
        ("p99 while one hangs to p99 without, most of the pairs", ratio.map(|it| it.most)),
    ];
    figures.into_iter().filter_map(|(what, value)| Some(Figure::new(what, value?)))
}

/// Starts the agents; the first one is the one that hangs, and its times are not taken.
async fn start(
    stage: &Stage,
    target: &Target,
    spread: &Latency,
    open: watch::Receiver<bool>,
) -> Result<Vec<Agent>, BenchError> {
    let mut agents = Vec::new();
    for number in 0..stage.config.agents {
        let host = Observed::new(target.connect()?, Arc::clone(&stage.flow));
        let taken = (number > 0).then(|| Arc::clone(spread));
        let checker = Checker { copy: u64::from(number), ..stage.checker(taken, false) };
        let agent = described(&host, &stage.config, &agent_name(number));
        let agent = match number {
            0 => {
                let hanging = || Hanging { checker: checker.clone(), open: open.clone() };
                agent.on_event(TOPIC, hanging()).on_message(hanging())
            }
            _ => agent.on_event(TOPIC, checker),
        };
        agents.push(agent.start().await.map_err(BenchError::refused("cannot start an agent"))?);
    }
    Ok(agents)
}

/// Publishes events, each when it is due: a publisher that is late does not hide it. Returns how
/// many.
async fn talk(
    stage: &Stage,
    session: &Session,
    topic: &Topic,
    seconds: f64,
) -> Result<u64, BenchError> {
    let copies = u64::from(stage.config.agents);
    let pace = Pace::new(stage.clock, stage.config.rate.unwrap_or(1), Wait::Timer);
    let count = pace.count(seconds);
    for next in 0..count {
        let due = pace.wait(next).await;
        let drawn = stage.ledger.draw(copies, u64::MAX);
        let stamp = stage.ledger.stamp(drawn.start, due);
        match session.publish(topic.clone(), stamp.payload(stage.config.payload)).await {
            Ok(_) => stage.ledger.note_accepted(copies),
            Err(refusal) => stage.ledger.note_refusal(refusal.to_string()),
        }
    }
    Ok(count)
}
