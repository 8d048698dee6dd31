//! `durable-accept`: how long until a task is on disk and accepted. Nobody works on the tasks
//! meanwhile; afterwards an agent completes all of them, so that each is accounted for.

use super::flow::join;
use crate::load::{Latency, SKILL, Stop, latency, start_agents, stop_agents};
use crate::observe::{Note, Observed, histogram};
use crate::report::{LatencyMicros, Measures};
use crate::stage::{Meter, Phase, Stage};
use crate::{BenchError, BenchReport, disk, progress};
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use trunkline_agent::Session;
use trunkline_types::Destination;

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let data = stage.data_directory()?;
    let limit = data.as_ref().map(|data| disk::measure(data.path())).transpose()?;
    let target = stage.durable(data.as_ref().map(tempfile::TempDir::path)).await?;
    let host = stage.host(&target);
    let sessions = stage.sessions(&host).await?;
    let spread = latency();
    let round = async |stop: Stop| -> Result<Phase, BenchError> {
        stage
            .phase(&target, async |meter: &Meter<'_>| {
                submit(&stage, &sessions, &spread, stop).await?;
                meter.stop();
                complete(&stage, &host).await
            })
            .await
    };
    stage.warmed(&round(stage.warm_up()).await?);
    *spread.lock() = histogram();
    progress::tell("  submitting one after another");
    let phase = round(stage.stop()).await?;
    let spread = LatencyMicros::of(&spread.lock());
    let measures = Measures { rate: "accepted, synced", latency: "submitted until accepted" };
    let mut report = stage.report(&target, &phase, phase.counts.accepted, spread, measures);
    report.disk = limit;
    Ok(report)
}

async fn submit(
    stage: &Stage,
    sessions: &[Session],
    spread: &Latency,
    stop: Stop,
) -> Result<(), BenchError> {
    let to = Destination::skill(SKILL).map_err(|error| BenchError::Load(error.to_string()))?;
    let mut submitters = JoinSet::new();
    for (_, session) in (0..stage.config.in_flight.unwrap_or(1)).zip(sessions.iter().cycle()) {
        let (session, to) = (session.clone(), to.clone());
        let (ledger, clock) = (Arc::clone(&stage.ledger), stage.clock);
        let spread = Arc::clone(spread);
        submitters.spawn(async move {
            while Instant::now() < stop.at
                && let Some(number) = ledger.draw(1, stop.count).next()
            {
                let begun = clock.nanos();
                let payload = ledger.stamp(number, begun).payload(ledger.payload_size());
                match session.send(to.clone(), payload).await {
                    Ok(_) => {
                        ledger.note_accepted(1);
                        spread.lock().note(clock.nanos().saturating_sub(begun));
                    }
                    Err(refusal) => ledger.note_refusal(refusal.to_string()),
                }
            }
            Ok(())
        });
    }
    join(submitters).await
}

/// Has agents complete everything that waits.
async fn complete(stage: &Stage, host: &Observed) -> Result<(), BenchError> {
    let checker = stage.checker(None, false);
    let agents = start_agents(host, &stage.config, Some(SKILL), &checker).await?;
    stage.all_settled().await;
    stop_agents(agents).await;
    Ok(())
}
