//! `chatter`: many agents send each other messages at a given rate, whether or not earlier ones
//! have arrived.
//!
//! Each message is due at a time that was set beforehand, and its latency counts from then: a
//! sender that is late does not hide it (no coordinated omission).

use crate::load::{agent_name, latency, start_agents};
use crate::observe::histogram;
use crate::report::{Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use trunkline_agent::{Agent, Ticket};
use trunkline_types::{Destination, Kind, Publish};

/// 95 of 100 messages, in milliseconds.
const P95: f64 = 10.0;
/// How many acceptances are waited for at the end rather than on the way.
const TICKETS: usize = 8192;

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let target = stage.remote().await?;
    let host = stage.host(&target);
    let spread = latency();
    let checker = stage.checker(Some(Arc::clone(&spread)), false);
    let agents = start_agents(&host, stage.config.agents, None, &checker).await?;
    let addresses = (0..stage.config.agents)
        .map(|number| Destination::agent(&agent_name(number)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| BenchError::Load(error.to_string()))?;
    let rate = f64::from(stage.config.rate.unwrap_or(1));
    let seconds = stage.config.seconds.unwrap_or(1.0);
    let talk = async |seconds: f64| {
        stage
            .phase(&target, async |_: &Meter<'_>| {
                let count = (rate * seconds).ceil();
                talk(&stage, &agents, &addresses, rate, count).await
            })
            .await
    };
    talk((seconds / 4.0).min(1.0)).await?;
    *spread.lock() = histogram();
    let phase = {
        let _progress = stage.progress("measuring");
        talk(seconds).await?
    };
    let spread = LatencyMicros::of(&spread.lock());
    let measures = Measures { rate: "settled", latency: "due to be sent until handled" };
    let report = stage.report(&target, &phase, phase.counts.confirmed, spread, measures);
    let p95 = report.latency_us.map(|latency| latency.p95 / 1e3);
    drop(agents);
    Ok(report.with_goals(vec![Goal::below("latency p95 in ms", p95, P95)]))
}

/// Sends `count` messages, each when it is due.
async fn talk(
    stage: &Stage,
    agents: &[Agent],
    addresses: &[Destination],
    rate: f64,
    count: f64,
) -> Result<(), BenchError> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut tickets = VecDeque::new();
    // The first is due a little later, so that setting up does not count as being late.
    let start = stage.clock.nanos() + 10_000_000;
    let mut next = 0.0;
    while next < count {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
        let due = start + (next * 1e9 / rate) as u64;
        if stage.clock.nanos() < due {
            tokio::time::sleep_until(stage.clock.instant(due).into()).await;
        }
        let Some(number) = stage.ledger.draw(1, u64::MAX).next() else { break };
        let from = usize::try_from(number).unwrap_or(0) % agents.len();
        // Anyone but the sender, unless it is alone.
        let step = random.usize(1..agents.len().max(2));
        let to = addresses[(from + step) % agents.len()].clone();
        let payload = stage.ledger.stamp(number, due).payload(stage.config.payload);
        let session = agents[from].session();
        let publish = Publish::new(session.envelope(Kind::Event, to, payload));
        let ticket = session.publish_batch([publish]).await;
        tickets.push_back(ticket.map_err(BenchError::refused("cannot send"))?);
        if tickets.len() > TICKETS {
            answered(stage, &mut tickets, TICKETS / 2).await?;
        }
        next += 1.0;
    }
    let patience = Duration::from_secs(30);
    // What is not accepted by then is missing in the counts.
    tokio::time::timeout(patience, answered(stage, &mut tickets, 0)).await.unwrap_or(Ok(()))
}

/// Waits for acceptances until at most so many are missing.
async fn answered(
    stage: &Stage,
    tickets: &mut VecDeque<Ticket>,
    most: usize,
) -> Result<(), BenchError> {
    while tickets.len() > most {
        let Some(ticket) = tickets.pop_front() else { break };
        let outcome = ticket.await.map_err(BenchError::refused("a message was not answered"))?;
        stage.ledger.answered(&outcome);
    }
    Ok(())
}
