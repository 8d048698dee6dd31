//! `recovery`: a broker with many waiting tasks is killed and started again on its data
//! directory. The figure is the time from the start of its process until `/readyz` answers 200;
//! afterwards an agent completes every task, so that each is accounted for.
//!
//! `waiting` is the same with an eye on what a waiting task costs in memory and on disk.

use super::flow::tasks;
use crate::load::{SKILL, start_agents, stop_agents};
use crate::report::{Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, Scenario, clock, disk, progress};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How many tasks are handed over in one piece.
const BATCH: u32 = 1024;
/// How many pieces are on their way at once.
const PIECES: usize = 8;
/// Bytes that the system counts files in.
const BLOCK: u64 = 512;
/// Most bytes of memory for a waiting task.
const MEMORY: f64 = 1024.0;
/// Most bytes on disk for one.
const DISK: f64 = 1024.0;
/// Most seconds until a broker with all of them is ready again.
const READY: f64 = 3.0;

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let count = stage.config.count.unwrap_or(1);
    let Some(data) = stage.data_directory()? else {
        return Err(BenchError::NotDurable(stage.scenario.to_string()));
    };
    let limit = disk::measure(data.path())?;
    progress::tell(&format!("  submitting {count} tasks"));
    let costs = fill(&stage, data.path(), count).await?;
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
            let agents = start_agents(&host, &stage.config, Some(SKILL), &checker).await?;
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
    if stage.scenario == Scenario::Waiting {
        let goals = costs.goals(ready_after, report.pass);
        report = report.with_goals(goals);
    }
    Ok(report)
}

/// What each waiting task costs, in bytes.
struct Costs {
    memory: Option<f64>,
    disk: f64,
}

impl Costs {
    /// What was promised of it, where the counts agree.
    fn goals(&self, ready_after: Duration, agree: bool) -> Vec<Goal> {
        let counted = |value: Option<f64>| value.filter(|_| agree);
        let seconds = ready_after.as_secs_f64();
        vec![
            Goal::below("bytes of memory for a waiting task", counted(self.memory), MEMORY),
            Goal::below("bytes on disk for a waiting task", counted(Some(self.disk)), DISK),
            Goal::below("seconds until it is ready again", counted(Some(seconds)), READY),
        ]
    }
}

/// Submits the tasks to a broker that ends when they are accepted. Tells what each costs it.
async fn fill(stage: &Stage, data: &Path, count: u64) -> Result<Costs, BenchError> {
    let target = stage.durable(Some(data)).await?;
    let host = stage.host(&target);
    let sessions = stage.sessions(&host).await?;
    let (memory, disk) = (target.rss_bytes(), on_disk(data)?);
    for mut sender in stage.senders(&sessions, &tasks(BATCH)?) {
        sender.fill(&stage.flow, count, PIECES).await?;
    }
    // It answers, so it is done with what came before.
    target.stats().await?;
    #[allow(clippy::cast_precision_loss, reason = "bytes and counts are far below 2^52")]
    let each = |after: u64, before: u64| (after as f64 - before as f64) / count as f64;
    let memory = target.rss_bytes().zip(memory).map(|(after, before)| each(after, before));
    Ok(Costs { memory, disk: each(on_disk(data)?, disk) })
}

/// Bytes that the files in a directory take on disk, those in folders below it included.
fn on_disk(directory: &Path) -> Result<u64, BenchError> {
    let what = || format!("cannot look into '{}'", directory.display());
    let failed = |error| BenchError::System { what: what(), error };
    let mut bytes = 0;
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A file that the broker has removed meanwhile takes nothing.
        let Ok(data) = entry.metadata() else { continue };
        bytes += if data.is_dir() { on_disk(&entry.path())? } else { data.blocks() * BLOCK };
    }
    Ok(bytes)
}
