//! `mix`: requests, events, broadcasts and tasks at the same time, by callers that each wait for
//! the answer to one before they send the next; broadcasts come at a rate of their own. The latency
//! is that of the requests among all the rest.

use super::flow::{TOPIC, join};
use super::open::addresses;
use crate::ledger::Ledger;
use crate::load::{Checker, Latency, SKILL, Stop, agent_name, described, latency, stop_agents};
use crate::observe::{Note, Observed, histogram};
use crate::pace::{Pace, Wait};
use crate::report::{LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, disk};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use trunkline_agent::{Agent, Handler, HandlerFuture, Session, Task};
use trunkline_types::{Destination, Topic};

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends requests back, and counts what every agent gets as the copy of this one.
struct Mixed {
    checker: Checker,
    number: u64,
}

impl Handler for Mixed {
    fn handle(&self, task: Task) -> HandlerFuture {
        let to_all =
            matches!(task.envelope().destination, Destination::All | Destination::Topic(_));
        let echo = matches!(task.envelope().destination, Destination::Agent(_));
        let copy = if to_all { self.number } else { 0 };
        Checker { echo, copy, ..self.checker.clone() }.handle(task)
    }
}

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let data = stage.data_directory()?;
    let limit = data.as_ref().map(|data| disk::measure(data.path())).transpose()?;
    let target = stage.durable(data.as_ref().map(tempfile::TempDir::path)).await?;
    let host = stage.host(&target);
    let agents = start(&stage, &host).await?;
    let sessions = stage.sessions(&host).await?;
    let spread = latency();
    let round = async |stop: Stop| {
        let meter = async |_: &Meter<'_>| send(&stage, &sessions, &spread, stop).await;
        stage.phase(&target, meter).await
    };
    stage.warmed(&round(stage.warm_up()).await?);
    *spread.lock() = histogram();
    let phase = {
        let _progress = stage.progress("measuring");
        round(stage.stop()).await?
    };
    let spread = LatencyMicros::of(&spread.lock());
    let measures = Measures { rate: "deliveries settled", latency: "round trip of a request" };
    let mut report = stage.report(&target, &phase, phase.counts.confirmed, spread, measures);
    report.disk = limit;
    stop_agents(agents).await;
    Ok(report)
}

/// Starts agents that take all four kinds.
async fn start(stage: &Stage, host: &Observed) -> Result<Vec<Agent>, BenchError> {
    let mut agents = Vec::new();
    for number in 0..stage.config.agents {
        let mixed = || Mixed { checker: stage.checker(None, false), number: u64::from(number) };
        let agent = described(host, &stage.config, &agent_name(number)).skill(SKILL, mixed());
        let agent = agent.on_message(mixed()).on_event(TOPIC, mixed()).start().await;
        agents.push(agent.map_err(BenchError::refused("cannot start an agent"))?);
    }
    Ok(agents)
}

/// What a caller sends.
#[derive(Clone)]
enum What {
    /// To the agents in turn; the reply is what was sent.
    Requests(Arc<[Destination]>),
    /// To the skill; on disk before they are accepted.
    Tasks,
    /// To the subscribers of a topic, which all of them are.
    Events(Topic),
    /// To everybody, so many a second.
    Broadcasts(u32),
}

async fn send(
    stage: &Stage,
    sessions: &[Session],
    spread: &Latency,
    stop: Stop,
) -> Result<(), BenchError> {
    let addresses = addresses(stage.config.agents)?.into();
    let topic = Topic::new(TOPIC).map_err(|error| BenchError::Load(error.to_string()))?;
    let kinds = [What::Requests(addresses), What::Tasks, What::Events(topic)];
    let broadcasts = What::Broadcasts(stage.config.rate.unwrap_or(1));
    let callers = kinds.into_iter().cycle().take(stage.config.in_flight.unwrap_or(3) as usize);
    let mut parts = JoinSet::new();
    for (number, what) in std::iter::once(broadcasts).chain(callers).enumerate() {
        let caller = Caller {
            session: sessions[number % sessions.len()].clone(),
            ledger: Arc::clone(&stage.ledger),
            clock: stage.clock,
            agents: stage.config.agents,
            spread: Arc::clone(spread),
        };
        parts.spawn(async move { caller.send(what, stop).await });
    }
    let patience = stop.at.saturating_duration_since(Instant::now()) + PATIENCE;
    // Callers that still wait then are dropped; the counts tell of what they sent.
    tokio::time::timeout(patience, join(parts)).await.unwrap_or(Ok(()))
}

struct Caller {
    session: Session,
    ledger: Arc<Ledger>,
    clock: crate::clock::Clock,
    agents: u32,
    spread: Latency,
}

impl Caller {
    async fn send(self, what: What, stop: Stop) -> Result<(), BenchError> {
        match what {
            What::Requests(addresses) => {
                while Instant::now() < stop.at {
                    let (first, payload, begun) = self.payload(1);
                    let at = usize::try_from(first).unwrap_or(0) % addresses.len();
                    let reply = self.session.request(addresses[at].clone(), payload.clone()).await;
                    match reply {
                        Ok(reply) if reply.payload.data == payload => {
                            self.ledger.note_accepted(1);
                            let span = self.clock.nanos().saturating_sub(begun);
                            self.spread.lock().note(span);
                        }
                        Ok(_) => self.ledger.note_damaged_reply(),
                        Err(error) => self.ledger.note_refusal(error.to_string()),
                    }
                }
            }
            What::Tasks => {
                let to = Destination::skill(SKILL);
                let to = to.map_err(|error| BenchError::Load(error.to_string()))?;
                while Instant::now() < stop.at {
                    let (_, payload, _) = self.payload(1);
                    let accepted = self.session.send(to.clone(), payload).await;
                    self.accepted(accepted.map(drop).map_err(|error| error.to_string()), 1);
                }
            }
            What::Events(topic) => {
                while Instant::now() < stop.at {
                    let (_, payload, _) = self.payload(self.agents);
                    let accepted = self.session.publish(topic.clone(), payload).await;
                    let accepted = accepted.map(drop).map_err(|error| error.to_string());
                    self.accepted(accepted, self.agents);
                }
            }
            What::Broadcasts(rate) => {
                let pace = Pace::new(self.clock, rate, Wait::Timer);
                for next in 0.. {
                    pace.wait(next).await;
                    if Instant::now() >= stop.at {
                        break;
                    }
                    let (_, payload, _) = self.payload(self.agents);
                    let accepted = self.session.broadcast(payload).await;
                    let accepted = accepted.map(drop).map_err(|error| error.to_string());
                    self.accepted(accepted, self.agents);
                }
            }
        }
        Ok(())
    }

    /// A payload of which so many copies will be seen, its number, and when it was made.
    fn payload(&self, copies: u32) -> (u64, Bytes, u64) {
        let first = self.ledger.draw(u64::from(copies), u64::MAX).start;
        let now = self.clock.nanos();
        (first, self.ledger.stamp(first, now).payload(self.ledger.payload_size()), now)
    }

    fn accepted(&self, accepted: Result<(), String>, copies: u32) {
        match accepted {
            Ok(()) => self.ledger.note_accepted(u64::from(copies)),
            Err(why) => (0..copies).for_each(|_| self.ledger.note_refusal(why.clone())),
        }
    }
}
