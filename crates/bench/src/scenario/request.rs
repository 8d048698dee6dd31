//! Request and reply: `inproc-request` and `request`. As many callers as may be in flight, each
//! waiting for its reply before it asks again.

use super::flow::join;
use crate::broker::Target;
use crate::load::{Latency, Stop, agent_name, latency, start_agents, stop_agents};
use crate::observe::{Note, histogram};
use crate::report::{LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, Scenario, wire};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use trunkline_agent::Session;
use trunkline_types::Destination;

/// How long the last replies may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let remote = stage.scenario == Scenario::Request;
    let limit = if remote { Some(wire::measure()?) } else { None };
    let target = match stage.scenario {
        Scenario::InprocRequest => Target::here().await?,
        _ => stage.remote().await?,
    };
    let host = stage.host(&target);
    let agents = start_agents(&host, &stage.config, None, &stage.checker(None, true)).await?;
    let targets: Arc<[Destination]> = (0..stage.config.agents)
        .map(|number| Destination::agent(&agent_name(number)))
        .collect::<Result<_, _>>()
        .map_err(|error| BenchError::Load(error.to_string()))?;
    let sessions = stage.sessions(&host).await?;
    let spread = latency();
    let callers = |stop| ask(&stage, &sessions, &targets, &spread, stop);
    let warm_up = stage.phase(&target, async |_: &Meter<'_>| callers(stage.warm_up()).await);
    stage.warmed(&warm_up.await?);
    *spread.lock() = histogram();
    let phase = {
        let _progress = stage.progress("measuring");
        stage.phase(&target, async |_: &Meter<'_>| callers(stage.stop()).await).await?
    };
    let spread = LatencyMicros::of(&spread.lock());
    let measures = Measures { rate: "requests answered and settled", latency: "round trip" };
    let mut report = stage.report(&target, &phase, phase.counts.confirmed, spread, measures);
    report.wire = limit;
    stop_agents(agents).await;
    Ok(report)
}

async fn ask(
    stage: &Stage,
    sessions: &[Session],
    targets: &Arc<[Destination]>,
    spread: &Latency,
    stop: Stop,
) -> Result<(), BenchError> {
    let mut callers = JoinSet::new();
    for (_, session) in (0..stage.config.in_flight.unwrap_or(1)).zip(sessions.iter().cycle()) {
        let caller = Caller {
            session: session.clone(),
            ledger: Arc::clone(&stage.ledger),
            clock: stage.clock,
            targets: Arc::clone(targets),
            spread: Arc::clone(spread),
        };
        callers.spawn(async move {
            caller.ask(stop).await;
            Ok(())
        });
    }
    let patience = stop.at.saturating_duration_since(Instant::now()) + PATIENCE;
    // Callers that still wait then are dropped; the counts tell of their requests.
    tokio::time::timeout(patience, join(callers)).await.unwrap_or(Ok(()))
}

struct Caller {
    session: Session,
    ledger: Arc<crate::ledger::Ledger>,
    clock: crate::clock::Clock,
    targets: Arc<[Destination]>,
    spread: Latency,
}

impl Caller {
    async fn ask(&self, stop: Stop) {
        let size = self.ledger.payload_size();
        while Instant::now() < stop.at {
            let Some(number) = self.ledger.draw(1, stop.count).next() else { return };
            let begun = self.clock.nanos();
            let payload = self.ledger.stamp(number, begun).payload(size);
            let target = usize::try_from(number).unwrap_or(0) % self.targets.len();
            let request = self.session.request(self.targets[target].clone(), payload.clone());
            match request.await {
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
}
