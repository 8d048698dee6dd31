//! `soak`: tasks at a steady rate for half an hour. What the broker's process has in memory, and how
//! many descriptors it has open, is looked at all the time; in the second half, when it has filled
//! what it keeps, neither may grow.

use super::open::Talk;
use crate::broker::Target;
use crate::load::{SKILL, latency, start_agents, stop_agents};
use crate::pace::{Pace, Wait};
use crate::report::{Goal, LatencyMicros, Measures};
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, disk};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;
use trunkline_types::{Destination, Kind, PublishOptions};

/// Most growth of memory, in hundredths an hour.
const GROWTH: f64 = 1.0;
/// How many descriptors more there may be at the end than there ever were before.
const DESCRIPTORS: f64 = 1.0;
/// How often it is looked at in the whole time.
const LOOKS: f64 = 600.0;
/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(10);

/// What the broker's process had at some time.
#[derive(Clone, Copy, Debug)]
struct Sample {
    hours: f64,
    bytes: f64,
    descriptors: f64,
}

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let Some(data) = stage.data_directory()? else {
        return Err(BenchError::NotDurable(stage.scenario.to_string()));
    };
    let limit = disk::measure(data.path())?;
    let target = stage.durable(Some(data.path())).await?;
    let host = stage.host(&target);
    let spread = latency();
    let checker = stage.checker(Some(Arc::clone(&spread)), false);
    let agents = start_agents(&host, &stage.config, Some(SKILL), &checker).await?;
    let talk = Talk {
        sessions: stage.sessions(&host).await?,
        ledger: Arc::clone(&stage.ledger),
        kind: Kind::Request,
        options: PublishOptions { task: true, ..PublishOptions::default() },
    };
    let to = Destination::skill(SKILL).map_err(|error| BenchError::Load(error.to_string()))?;
    let seconds = stage.config.seconds.unwrap_or(1.0);
    let mut samples = Vec::new();
    let phase = {
        let _progress = stage.progress("soaking");
        stage
            .phase(&target, async |_: &Meter<'_>| {
                // A busy processor for the sake of exact times would be most of the load.
                let pace = Pace::new(stage.clock, stage.config.rate.unwrap_or(1), Wait::Timer);
                let sessions = talk.sessions.len();
                let choose = move |number: u64| {
                    (usize::try_from(number).unwrap_or(0) % sessions, to.clone())
                };
                let sending = talk.spawned(pace, pace.count(seconds), choose);
                tokio::select! {
                    sent = sending => sent,
                    () = look(&target, seconds, &mut samples) => Ok(()),
                }
            })
            .await?
    };
    let spread = LatencyMicros::of(&spread.lock());
    let measures =
        Measures { rate: "tasks completed, synced", latency: "due to be sent until handled" };
    let mut report = stage.report(&target, &phase, phase.counts.confirmed, spread, measures);
    report.disk = Some(limit);
    stop_agents(agents).await;
    let (first, second) = samples.split_at(samples.len() / 2);
    let most = |samples: &[Sample]| samples.iter().map(|it| it.descriptors).reduce(f64::max);
    let more = most(second).zip(most(first)).map(|(late, early)| late - early);
    let growth = growth(second).filter(|_| report.pass);
    Ok(report.with_goals(vec![
        Goal::below("growth of memory in the second half, % an hour", growth, GROWTH),
        Goal::below("descriptors more than in the first half", more, DESCRIPTORS).in_every_round(),
    ]))
}

/// Looks at the broker's process again and again, for ever.
async fn look(target: &Target, seconds: f64, samples: &mut Vec<Sample>) {
    let begun = Instant::now();
    let every = Duration::from_secs_f64(seconds / LOOKS).max(SHORTEST);
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let hours = begun.elapsed().as_secs_f64() / 3600.0;
        #[allow(clippy::cast_precision_loss, reason = "bytes and counts are far below 2^52")]
        let float = |value: u64| value as f64;
        let seen = target.rss_bytes().zip(target.descriptors());
        samples.extend(seen.map(|(bytes, descriptors)| Sample {
            hours,
            bytes: float(bytes),
            descriptors: float(descriptors),
        }));
    }
}

/// By how many hundredths of their mean the bytes grow in an hour: the slope of the line with the
/// least squares. `None` if there are too few to tell.
fn growth(samples: &[Sample]) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "there are hundreds of them")]
    let count = samples.len() as f64;
    let mean = |of: fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (hours, bytes) = (mean(|it| it.hours), mean(|it| it.bytes));
    let squares: f64 = samples.iter().map(|it| (it.hours - hours).powi(2)).sum();
    let product: f64 = samples.iter().map(|it| (it.hours - hours) * (it.bytes - bytes)).sum();
    (squares > 0.0 && bytes > 0.0).then(|| product / squares / bytes * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(bytes: impl Fn(f64) -> f64) -> Vec<Sample> {
        let at = |hours: f64| Sample { hours, bytes: bytes(hours), descriptors: 1.0 };
        (0..10).map(|number| at(f64::from(number) / 10.0)).collect()
    }

    #[test]
    fn growth_is_the_slope_an_hour_in_hundredths_of_the_mean() {
        assert_eq!(growth(&samples(|_| 5.0)), Some(0.0));
        // From 100 to 109 within nine tenths of an hour.
        let grown = growth(&samples(|hours| 100.0 + 10.0 * hours)).unwrap();
        assert!((grown - 10.0 / 104.5 * 100.0).abs() < 1e-9, "{grown}");
        assert_eq!(growth(&samples(|_| 5.0)[..1]), None);
        assert_eq!(growth(&[]), None);
    }
}
