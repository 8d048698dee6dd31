//! `stalled`: events for many agents, each with a connection of its own, of which one hangs in
//! every other turn. What its hanging costs the others is the ratio of their 99th percentiles in
//! two turns that follow each other, and of these ratios the median, because what else a machine
//! does hits single turns. When a turn is over the one that hung takes up all it missed, so that
//! every event is accounted for.

use crate::broker::Target;
use crate::load::{Checker, Latency, agent_name, latency, stop_agents};
use crate::observe::{Observed, histogram};
use crate::pace::{Pace, Wait};
use crate::report::{Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use trunkline_agent::{Agent, Handler, HandlerFuture, Host, Session, Task};
use trunkline_types::Topic;

/// How many turns there are; the agent hangs in every second one.
const TURNS: u32 = 30;
/// How much more the others' 99th percentile may be while one hangs.
const RATIO: f64 = 1.1;
/// How long the last events of a turn may take.
const PATIENCE: Duration = Duration::from_secs(30);
const TOPIC: &str = "bench.news";

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
    let target = stage.remote().await?;
    let spread = latency();
    let (gate, open) = watch::channel(true);
    let agents = start(&stage, &target, &spread, open).await?;
    let sessions = stage.sessions(&stage.host(&target)).await?;
    let topic = Topic::new(TOPIC).map_err(|error| BenchError::Load(error.to_string()))?;
    let mut hanging = histogram();
    let (mut calm, mut ratios) = (None, Vec::new());
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
                    let events = talk(&stage, &sessions[0], &topic, seconds).await?;
                    let awake = events * (due - u64::from(hangs));
                    stage.flow.reach(before + awake, PATIENCE).await;
                    let p99 = LatencyMicros::of(&spread.lock()).map(|it| it.p99);
                    if hangs {
                        // It grows as it must.
                        let _ = hanging.add(&*spread.lock());
                        ratios.extend(p99.zip(calm).map(|(hanging, calm)| hanging / calm));
                    } else {
                        calm = p99;
                    }
                    gate.send_replace(true);
                    stage.flow.reach(before + events * due, PATIENCE).await;
                }
                Ok(())
            })
            .await?
    };
    let measures =
        Measures { rate: "settled", latency: "due to be sent until handled, while one hangs" };
    let latency = LatencyMicros::of(&hanging);
    let report = stage.report(&target, &phase, phase.counts.confirmed, latency, measures);
    let whole = report.pass && ratios.len() == TURNS as usize / 2;
    let ratio = median(ratios).filter(|_| whole);
    stop_agents(agents).await;
    let what = "p99 while one hangs to p99 without, median of pairs of turns";
    Ok(report.with_goals(vec![Goal::below(what, ratio, RATIO)]))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
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
        let agent = host.agent(&agent_name(number)).workers(1..=1);
        let agent = match number {
            0 => agent.on_event(TOPIC, Hanging { checker, open: open.clone() }),
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
