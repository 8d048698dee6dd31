//! Thousands of agents: how they start, and how each shows that it is there.

use super::flow::join;
use crate::BenchError;
use crate::load::{SKILL, agent_name, described};
use crate::observe::Observed;
use crate::stage::Stage;
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::task::JoinSet;
use trunkline_agent::{Agent, Session};
use trunkline_types::{Destination, Kind, Publish};

/// Starts agents, several at once, each on the host that it is given.
///
/// # Errors
/// The broker refuses one.
pub(super) async fn start(
    stage: &Stage,
    name: impl Fn(u32) -> String,
    count: u32,
    host: impl Fn() -> Result<Observed, BenchError>,
) -> Result<Vec<Agent>, BenchError> {
    let agents: Arc<Mutex<Vec<Agent>>> = Arc::default();
    let mut starters = JoinSet::new();
    let width = stage.config.in_flight.unwrap_or(1).min(count);
    for first in 0..width {
        let hosts = (first..count)
            .step_by(width as usize)
            .map(|number| Ok((name(number), host()?)))
            .collect::<Result<Vec<_>, BenchError>>()?;
        let (agents, checker) = (Arc::clone(&agents), stage.checker(None, false));
        let config = stage.config.clone();
        starters.spawn(async move {
            for (name, host) in hosts {
                let agent = described(&host, &config, &name).skill(SKILL, checker.clone());
                let agent = agent.on_message(checker.clone()).start().await;
                agents.lock().push(agent.map_err(BenchError::refused("cannot start an agent"))?);
            }
            Ok(())
        });
    }
    join(starters).await?;
    let agents = std::mem::take(&mut *agents.lock());
    Ok(agents)
}

/// Sends a message to every agent.
///
/// # Errors
/// The session ends.
pub(super) async fn address(stage: &Stage, session: &Session) -> Result<(), BenchError> {
    let publishes = (0..stage.config.agents).map_while(|number| {
        let to = Destination::agent(&agent_name(number));
        let drawn = stage.ledger.draw(1, u64::MAX).next()?;
        let stamp = stage.ledger.stamp(drawn, stage.clock.nanos());
        let payload = stamp.payload(stage.config.payload);
        Some(to.map(|to| Arc::new(Publish::new(session.envelope(Kind::Event, to, payload)))))
    });
    let publishes: Vec<_> =
        publishes.collect::<Result<_, _>>().map_err(|error| BenchError::Load(error.to_string()))?;
    let ticket = session.publish_batch(publishes).await;
    let outcome = ticket.map_err(BenchError::refused("cannot send"))?.await;
    let outcome = outcome.map_err(BenchError::refused("a batch was not answered"))?;
    stage.ledger.answered(&outcome, 1);
    outcome.refused.iter().for_each(|(_, why)| stage.ledger.note_refusals(1, why));
    Ok(())
}
