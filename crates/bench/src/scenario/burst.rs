//! `burst`: a million tasks are accepted before anybody serves them, then an agent completes all of
//! them. What the broker's process keeps of the memory that they took is looked at when it has come
//! to rest again.

use super::flow::tasks;
use crate::load::{SKILL, start_agents, stop_agents};
use crate::report::{Figure, Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, clock, disk, progress};
use std::time::{Duration, Instant};

/// How many tasks are handed over in one piece.
const BATCH: u32 = 1024;
/// How many pieces are on their way at once.
const PIECES: usize = 8;
/// One task in so many comes before the burst, so that what the first ones leave behind for good is
/// not taken for the burst's.
const FIRST: u64 = 10;
/// How long the broker may take to come to rest.
const REST: Duration = Duration::from_secs(15);
/// Most that is kept of what the burst took, in hundredths.
const KEPT: f64 = 25.0;

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let count = stage.config.count.unwrap_or(1);
    let Some(data) = stage.data_directory()? else {
        return Err(BenchError::NotDurable(stage.scenario.to_string()));
    };
    let limit = disk::measure(data.path())?;
    let target = stage.durable(Some(data.path())).await?;
    let host = stage.host(&target);
    let sessions = stage.sessions(&host).await?;
    let (mut before, mut full, mut spent) = (None, None, Duration::ZERO);
    let _progress = stage.progress("completing");
    let phase = stage
        .phase(&target, async |_: &Meter<'_>| {
            for upto in [count.div_ceil(FIRST), count] {
                before = target.rss_bytes();
                for mut sender in stage.senders(&sessions, &tasks(BATCH)?) {
                    sender.fill(&stage.flow, upto, PIECES).await?;
                }
                // It answers, so it is done with what came before.
                target.stats().await?;
                full = target.rss_bytes();
                let begun = Instant::now();
                let checker = stage.checker(None, false);
                let agents = start_agents(&host, &stage.config, Some(SKILL), &checker).await?;
                stage.all_settled().await;
                stop_agents(agents).await;
                spent = begun.elapsed();
                progress::tell("  letting the broker come to rest");
                tokio::time::sleep(REST).await;
            }
            Ok(())
        })
        .await?;
    let after = target.rss_bytes();
    let spread = LatencyMicros::single(clock::nanos(spent));
    let measures = Measures {
        rate: "tasks accepted and completed, both rests included",
        latency: "an agent comes until all tasks of the burst are completed",
    };
    let mut report = stage.report(&target, &phase, phase.counts.confirmed, spread, measures);
    report.disk = Some(limit);
    // While it is completed more may be taken than when all of it waits, as what is ended waits for
    // its index: then more is kept, too.
    for (what, bytes) in [
        ("MiB of memory before the burst", before),
        ("MiB of memory when all of it waited", full),
        ("MiB of memory at most", target.peak_rss_bytes()),
        ("MiB of memory after it", after),
    ] {
        report.figures.extend(bytes.map(|bytes| Figure::count(what, bytes >> 20)));
    }
    let kept = kept(before, full, after).filter(|_| report.pass);
    Ok(report.with_goals(vec![Goal::below("% of a burst's memory kept after it", kept, KEPT)]))
}

/// How many hundredths of what the burst took are still taken after it; below zero where it is less
/// than before.
fn kept(before: Option<u64>, full: Option<u64>, after: Option<u64>) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "bytes are far below 2^52")]
    let [before, full, after] = [before?, full?, after?].map(|bytes| bytes as f64);
    (full > before).then(|| (after - before) / (full - before) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_a_share_of_what_the_burst_took() {
        assert_eq!(kept(Some(100), Some(300), Some(150)), Some(25.0));
        assert_eq!(kept(Some(100), Some(300), Some(90)), Some(-5.0));
        // One that took nothing says nothing.
        assert_eq!(kept(Some(100), Some(100), Some(100)), None);
        assert_eq!(kept(None, Some(300), Some(150)), None);
    }
}
