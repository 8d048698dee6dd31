//! `agents-up`: how long many agents take to register. Each is then sent a message, which proves
//! that it is there.

use super::flow::join;
use crate::load::{SKILL, agent_name, described, latency};
use crate::observe::Note;
use crate::report::{Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use trunkline_agent::{Agent, Session};
use trunkline_types::{AgentFilter, Destination, Refusal, SkillName};

/// All agents together, in seconds.
const TOTAL: f64 = 1.0;
/// 95 of 100 registrations, in milliseconds.
const EACH: f64 = 10.0;

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let target = stage.remote().await?;
    let host = stage.host(&target);
    let sessions = stage.sessions(&host).await?;
    let count = stage.config.agents;
    let spread = latency();
    let agents: Arc<Mutex<Vec<Agent>>> = Arc::default();
    let phase = stage
        .phase(&target, async |meter: &Meter<'_>| {
            let mut registrars = JoinSet::new();
            let width = stage.config.in_flight.unwrap_or(1).min(count);
            for first in 0..width {
                let (host, config) = (host.clone(), stage.config.clone());
                let checker = stage.checker(None, false);
                let (agents, spread) = (Arc::clone(&agents), Arc::clone(&spread));
                registrars.spawn(async move {
                    for number in (first..count).step_by(width as usize) {
                        let begun = Instant::now();
                        let agent = described(&host, &config, &agent_name(number))
                            .skill(SKILL, checker.clone())
                            .on_message(checker.clone())
                            .start()
                            .await
                            .map_err(BenchError::refused("cannot start an agent"))?;
                        let span = crate::clock::nanos(begun.elapsed());
                        spread.lock().note(span);
                        agents.lock().push(agent);
                    }
                    Ok(())
                });
            }
            join(registrars).await?;
            meter.stop();
            for number in 0..count {
                let to = Destination::agent(&agent_name(number))
                    .map_err(|error| BenchError::Load(error.to_string()))?;
                let Some(drawn) = stage.ledger.draw(1, u64::MAX).next() else { break };
                let stamp = stage.ledger.stamp(drawn, stage.clock.nanos());
                match sessions[0].tell(to, stamp.payload(stage.config.payload)).await {
                    Ok(_) => stage.ledger.note_accepted(1),
                    Err(refusal) => stage.ledger.note_refusal(refusal.to_string()),
                }
            }
            Ok(())
        })
        .await?;
    let known =
        count_agents(&sessions[0]).await.map_err(BenchError::refused("cannot list the agents"))?;
    let spread = LatencyMicros::of(&spread.lock());
    let measures = Measures { rate: "agents registered", latency: "registration" };
    let mut report = stage.report(&target, &phase, u64::from(count), spread, measures);
    if known != count as usize {
        let text = format!("agents started {count}, agents in the directory {known}");
        report.disagreements.push(text);
        report.pass = false;
        report.rate_per_s = None;
        report.latency_us = None;
    }
    let agrees = report.pass;
    let p95 = report.latency_us.map(|latency| latency.p95 / 1e3);
    agents.lock().clear();
    Ok(report.with_goals(vec![
        Goal::below("seconds until all are up", agrees.then_some(phase.seconds), TOTAL),
        Goal::below("registration p95 in ms", p95, EACH),
    ]))
}

/// How many agents the directory has, asked page by page.
async fn count_agents(session: &Session) -> Result<usize, Refusal> {
    let skill = SkillName::new(SKILL).ok();
    let mut filter = AgentFilter { skill, limit: 1_000, ..AgentFilter::default() };
    let mut known = 0;
    loop {
        let page = session.agents(filter.clone()).await?;
        known += page.agents.len();
        match page.next {
            Some(next) => filter.after = Some(next),
            None => return Ok(known),
        }
    }
}
