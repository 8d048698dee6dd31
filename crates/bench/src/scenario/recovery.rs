//! `recovery`: a broker with many waiting tasks is killed and started again on its data
//! directory. The figure is the time from the start of its process until `/readyz` answers 200;
//! afterwards an agent completes every task, so that each is accounted for.

use super::flow::tasks;
use crate::broker::Target;
use crate::load::{SKILL, start_agents, stop_agents};
use crate::report::{LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, clock, disk, progress};

/// How many tasks are handed over in one piece.
const BATCH: u32 = 1024;
/// How many pieces are on their way at once.
const PIECES: usize = 8;

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let count = stage.config.count.unwrap_or(1);
    let Some(data) = stage.data_directory()? else {
        return Err(BenchError::NotDurable(stage.scenario.to_string()));
    };
    let limit = disk::measure(data.path())?;
    progress::tell(&format!("  submitting {count} tasks"));
    fill(&stage, &stage.durable(Some(data.path())).await?, count).await?;
    progress::tell("  killed the broker; starting it again");
    let target = stage.durable(Some(data.path())).await?;
    let ready_after = target.ready_after().unwrap_or_default();
    let recovered = target.stats().await?;
    let (cpu, peak) = (target.cpu_seconds(), target.peak_rss_bytes());
    progress::tell(&format!("  ready after {ready_after:?}; completing all tasks"));
    let host = stage.host(&target);
    let progress = stage.progress("completing");
    let mut phase = stage
        .phase(&target, async |_: &Meter<'_>| {
            let checker = stage.checker(None, false);
            let agents = start_agents(&host, stage.config.agents, Some(SKILL), &checker).await?;
            stage.all_settled().await;
            stop_agents(agents).await;
            Ok(())
        })
        .await?;
    drop(progress);
    // Sent and accepted before the phase; what the broker has recovered is what it accepted.
    phase.counts.sent = stage.ledger.counts().sent;
    phase.counts.accepted = stage.ledger.counts().accepted;
    phase.counts.refused = stage.ledger.counts().refused;
    phase.broker.accepted = recovered.gauges.total();
    phase.seconds = ready_after.as_secs_f64();
    phase.cpu.broker = cpu;
    phase.cpu.load = None;
    let spread = LatencyMicros::single(clock::nanos(ready_after));
    let measures = Measures {
        rate: "waiting tasks recovered",
        latency: "start of the process until /readyz answers 200",
    };
    let mut report = stage.report(&target, &phase, recovered.gauges.total(), spread, measures);
    report.peak_rss_bytes = peak;
    report.disk = Some(limit);
    Ok(report)
}

async fn fill(stage: &Stage, target: &Target, count: u64) -> Result<(), BenchError> {
    let host = stage.host(target);
    let sessions = stage.sessions(&host).await?;
    for mut sender in stage.senders(&sessions, &tasks(BATCH)?) {
        sender.fill(&stage.flow, count, PIECES).await?;
    }
    Ok(())
}
