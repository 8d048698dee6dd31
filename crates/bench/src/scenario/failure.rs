//! `failure`: agents are killed under load. Half of them stand behind a proxy of the load's own;
//! they stop answering with work in their hands, and their connections are cut, which is what the
//! broker sees of a killed process. The figure is the time from then until everything that was
//! accepted before is done by the others; nothing may be lost.

use super::open::Talk;
use crate::broker::client;
use crate::load::{Checker, SKILL, agent_name, described, latency, start_agent, stop_agents};
use crate::observe::{Flow, Observed, histogram};
use crate::pace::{Pace, Wait};
use crate::proxy::Proxy;
use crate::report::{Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, progress};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use trunkline_agent::{Agent, Handler, HandlerFuture, Task};
use trunkline_types::{Destination, Kind, PublishOptions};

/// Most seconds until everything that was there when they were killed is done. For five of them
/// the broker keeps the place of who was cut off, as its `resume_grace` says when nothing is said.
const RECOVERED: f64 = 10.0;
/// How long that may take before it counts as lost.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(1);

/// An agent that can be killed: from then on it takes work and does not do it.
struct Mortal {
    checker: Checker,
    fate: Arc<Fate>,
}

#[derive(Default)]
struct Fate {
    dead: AtomicBool,
    /// Messages that were done before.
    done: AtomicU64,
    /// Messages that are held and will not be done.
    held: AtomicU64,
}

impl Handler for Mortal {
    fn handle(&self, task: Task) -> HandlerFuture {
        if self.fate.dead.load(Ordering::SeqCst) {
            self.fate.held.fetch_add(1, Ordering::SeqCst);
            return Box::pin(std::future::pending());
        }
        self.fate.done.fetch_add(1, Ordering::SeqCst);
        self.checker.handle(task)
    }
}

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let Some(data) = stage.data_directory()? else {
        return Err(BenchError::NotDurable(stage.scenario.to_string()));
    };
    let target = stage.durable(Some(data.path())).await?;
    let host = stage.host(&target);
    let spread = latency();
    let checker = stage.checker(Some(Arc::clone(&spread)), false);
    let port =
        target.port().ok_or_else(|| BenchError::Load("the broker listens nowhere".into()))?;
    let proxy = Proxy::start(port, Duration::ZERO).await;
    let proxy = proxy.map_err(BenchError::system("cannot listen on loopback"))?;
    // The dying have confirmations of their own: they end with as many as they did work.
    let theirs = Flow::new(stage.clock, 0, false);
    let far = Observed::new(client(&proxy.url(), stage.transport())?, Arc::clone(&theirs));
    let fate = Arc::new(Fate::default());
    let mut living = Vec::new();
    let mut dying = Vec::new();
    for number in 0..stage.config.agents {
        let name = agent_name(number);
        if number % 2 == 1 {
            let handler = Mortal { checker: checker.clone(), fate: Arc::clone(&fate) };
            dying.push(mortal(&far, &stage, &name, handler).await?);
        } else {
            let agent = start_agent(&host, &stage.config, &name, Some(SKILL), &checker).await?;
            living.push(agent);
        }
    }
    let talk = Talk {
        sessions: stage.sessions(&host).await?,
        ledger: Arc::clone(&stage.ledger),
        kind: Kind::Request,
        options: PublishOptions { task: true, ..PublishOptions::default() },
    };
    *spread.lock() = histogram();
    let seconds = stage.config.seconds.unwrap_or(1.0);
    let mut recovery = None;
    let phase = {
        let _progress = stage.progress("by those that live");
        stage
            .phase(&target, async |_: &Meter<'_>| {
                let pace = Pace::new(stage.clock, stage.config.rate.unwrap_or(1), Wait::Exact);
                let sending = tokio::spawn(send(talk, pace, pace.count(seconds))?);
                tokio::time::sleep(Duration::from_secs_f64(seconds / 2.0)).await;
                recovery = kill(&stage, &proxy, &fate, &theirs).await;
                sending.await.map_err(|error| BenchError::Load(error.to_string()))??;
                stage.flow.join(&theirs);
                Ok(())
            })
            .await?
    };
    let held = fate.held.load(Ordering::SeqCst);
    progress::tell(&format!("  {} agents were killed, with {held} tasks in hand", dying.len()));
    let spread = LatencyMicros::of(&spread.lock());
    let measures = Measures {
        rate: "tasks completed, synced",
        latency: "due to be sent until handled, those of the killed included",
    };
    let done = phase.counts.confirmed;
    let report = stage.report(&target, &phase, done, spread, measures);
    stop_agents(living).await;
    // They are dead already, and have nobody to say goodbye to.
    drop(dying);
    let counted = recovery.filter(|_| report.pass && held > 0).map(|span| span.as_secs_f64());
    let what = "seconds from the kill until all accepted before it was done";
    Ok(report.with_goals(vec![Goal::below(what, counted, RECOVERED)]))
}

async fn mortal(
    far: &Observed,
    stage: &Stage,
    name: &str,
    handler: Mortal,
) -> Result<Agent, BenchError> {
    let agent = described(far, &stage.config, name).skill(SKILL, handler).start().await;
    agent.map_err(BenchError::refused("cannot start an agent"))
}

/// Tasks to the skill, by the clock.
fn send(
    talk: Talk,
    pace: Pace,
    count: u64,
) -> Result<impl Future<Output = Result<(), BenchError>>, BenchError> {
    let to = Destination::skill(SKILL).map_err(|error| BenchError::Load(error.to_string()))?;
    let sessions = talk.sessions.len();
    let choose = move |number: u64| (usize::try_from(number).unwrap_or(0) % sessions, to.clone());
    Ok(talk.send(pace, count, choose))
}

/// Kills them with work in their hands, and waits until all that was sent before is done. Tells
/// how long that took; `None` if it was not in time.
async fn kill(stage: &Stage, proxy: &Proxy, fate: &Fate, theirs: &Flow) -> Option<Duration> {
    fate.dead.store(true, Ordering::SeqCst);
    let late = Instant::now() + PATIENCE;
    // What they had done before is confirmed to them, so that nothing is done twice by right; and
    // they hold something.
    let quiet = || {
        theirs.confirmed() == fate.done.load(Ordering::SeqCst)
            && fate.held.load(Ordering::SeqCst) > 0
    };
    while !quiet() && Instant::now() < late {
        tokio::time::sleep(LOOK).await;
    }
    let killed = Instant::now();
    proxy.cut();
    let before = stage.ledger.sent();
    while stage.ledger.handled_below(before) < before {
        if Instant::now() > late {
            return None;
        }
        tokio::time::sleep(LOOK).await;
    }
    Some(killed.elapsed())
}
