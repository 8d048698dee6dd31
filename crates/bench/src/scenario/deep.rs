//! `deep`: what it costs that a queue is deep. Turns alternate, each with a broker of its own: in
//! every second one so many tasks wait before anybody works, most of their payloads on disk only,
//! and for each that is completed another is submitted, so that the queue stays as deep while it is
//! worked off and the log is cleaned. In the others few are in flight and all is in memory. Both
//! have the same settings but for the memory of payloads, the same log and the same pieces, so that
//! what they differ in is how deep the queue is and where its payloads lie.

use super::flow::{keep_full, tasks};
use crate::broker::{PAYLOAD_MEMORY, Setting};
use crate::load::{SKILL, start_agents, stop_agents};
use crate::observe::histogram;
use crate::report::{CpuSeconds, Figure, Goal, LatencyMicros, Measures};
use crate::rounds::Spread;
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, disk, progress};
use hdrhistogram::Histogram;

/// How many turns there are; the queue is deep in every second one.
const TURNS: u32 = 4;
/// Most in flight where the queue is not deep.
const SHALLOW: u32 = 8192;
/// By what factor the deep one is deeper at least.
pub(crate) const DEEPER: u32 = 8;
/// Out of how many waiting payloads one may stay in memory.
const IN_MEMORY: u64 = 8;
/// How many pieces are on their way at once while the queue gets deep.
const PIECES: usize = 8;
/// Small segments, and no log too small to be cleaned, so that a few seconds of load fill and free
/// several: with the defaults that takes a minute. The longest record bounds them from below. In all
/// turns, as cleaning costs something whatever the queue.
const SMALL: [(&str, &str); 3] = [
    ("TRUNKLINE_LOG__SEGMENT_BYTES", "8388608"),
    ("TRUNKLINE_LOG__MAX_BODY_BYTES", "3145728"),
    ("TRUNKLINE_LOG__CLEAN_MIN_BYTES", "0"),
];

/// What a turn came to.
struct Turn {
    report: BenchReport,
    /// How long each task took that was completed while it was measured.
    latency: Histogram<u64>,
    /// Payloads that were on disk only when work began.
    spilled: u64,
    /// Payloads that were read back.
    loads: u64,
    /// Segments of the log that were given up.
    removed: u64,
    /// Bytes of the log that cleaning wrote again, because what they say was wanted still.
    carried: u64,
}

pub(super) async fn run(stage: Stage) -> Result<BenchReport, BenchError> {
    let Some(data) = stage.data_directory()? else {
        return Err(BenchError::NotDurable(stage.scenario.to_string()));
    };
    let limit = disk::measure(data.path())?;
    drop(data);
    let (mut short, mut deep) = (Vec::new(), Vec::new());
    for turn in 0..TURNS {
        if turn % 2 == 0 {
            progress::tell(&format!("  turn {} of {TURNS}: a short queue", turn + 1));
            short.push(Box::pin(play(&shallow(&stage), false)).await?);
        } else {
            progress::tell(&format!("  turn {} of {TURNS}: a deep queue", turn + 1));
            let own = Stage::new(stage.scenario, stage.config.clone());
            deep.push(Box::pin(play(&own, true)).await?);
        }
    }
    let mut report = told(&short, &deep)?;
    report.disk = Some(limit);
    Ok(report)
}

/// How many are in flight beside a queue of such a depth where it is not deep.
pub(crate) fn short_of(depth: u32) -> u32 {
    (depth / DEEPER).clamp(1, SHALLOW)
}

/// The same with as many in flight as need no deep queue.
fn shallow(stage: &Stage) -> Stage {
    let mut config = stage.config.clone();
    config.in_flight = config.in_flight.map(short_of);
    Stage::new(stage.scenario, config)
}

/// Plays one turn.
async fn play(stage: &Stage, is_deep: bool) -> Result<Turn, BenchError> {
    let data = stage.data_directory()?;
    let depth = stage.config.in_flight.unwrap_or(1);
    let settings = settings(is_deep.then(|| u64::from(depth) * stage.config.payload as u64));
    let path = data.as_ref().map(tempfile::TempDir::path);
    let target = stage.durable_with(path, &settings).await?;
    let host = stage.host(&target);
    let sessions = stage.sessions(&host).await?;
    let mix = tasks(stage.config.batch.unwrap_or(1))?;
    let (mut spilled, mut done) = (0, 0);
    let _progress = stage.progress("working");
    let phase = stage
        .phase(&target, async |meter: &Meter<'_>| {
            if is_deep {
                for mut sender in stage.senders(&sessions, &mix) {
                    sender.fill(&stage.flow, u64::from(depth), PIECES).await?;
                }
                // What waits has taken all the room there is.
                stage.flow.window.forget_permits(depth as usize);
                spilled = target.stats().await?.log.map_or(0, |log| log.payloads_on_disk);
            }
            let checker = stage.checker(None, false);
            let agents = start_agents(&host, &stage.config, Some(SKILL), &checker).await?;
            let warm_up = stage.warm_up();
            keep_full(stage, &sessions, &mix, warm_up).await?;
            drop(stage.flow.take_latency());
            let before = stage.flow.confirmed();
            meter.restart();
            keep_full(stage, &sessions, &mix, stage.stop()).await?;
            done = stage.flow.confirmed() - before;
            meter.stop();
            stage.all_settled().await;
            stop_agents(agents).await;
            Ok(())
        })
        .await?;
    let log = target.stats().await?.log.unwrap_or_default();
    let latency = stage.flow.take_latency().unwrap_or_else(histogram);
    let measures = Measures {
        rate: "completed from a deep queue, synced, while as many are submitted",
        latency: "submitted until its completion is confirmed, the queue before it included",
    };
    let mut report = stage.report(&target, &phase, done, LatencyMicros::of(&latency), measures);
    if done == 0 {
        let text = "nothing was completed while it was measured; name more --seconds or --count";
        report.disagreements.push(text.to_owned());
        report.pass = false;
        report.rate_per_s = None;
        report.latency_us = None;
    }
    let (loads, removed, carried) = (log.payload_loads, log.removed_segments, log.carried_bytes);
    Ok(Turn { report, latency, spilled, loads, removed, carried })
}

/// The settings of a broker: the same of every turn, and less memory than the payloads of a queue
/// take that is to be on disk, if it is.
fn settings(spilling: Option<u64>) -> Vec<Setting> {
    let small = SMALL.into_iter().map(|(name, value)| (name.into(), value.to_owned()));
    let memory = spilling.map(|bytes| (PAYLOAD_MEMORY.into(), (bytes / IN_MEMORY).to_string()));
    small.chain(memory).collect()
}

/// The report of all turns: the counts of all, the figures of the deep ones, and the short ones
/// beside them.
fn told(short: &[Turn], deep: &[Turn]) -> Result<BenchReport, BenchError> {
    let nothing = || BenchError::Load("no turn was played".to_owned());
    let mut report = deep.last().ok_or_else(nothing)?.report.clone();
    let all = || short.iter().chain(deep);
    let sum = |of: fn(&BenchReport) -> u64| all().map(|turn| of(&turn.report)).sum::<u64>();
    report.sent = sum(|it| it.sent);
    report.settled = sum(|it| it.settled);
    report.dead = sum(|it| it.dead);
    report.expired = sum(|it| it.expired);
    report.sent_again = sum(|it| it.sent_again);
    report.seconds = deep.iter().map(|turn| turn.report.seconds).sum();
    let spent = |of: fn(CpuSeconds) -> Option<f64>| {
        deep.iter().map(|turn| of(turn.report.cpu_s)).sum::<Option<f64>>()
    };
    report.cpu_s = CpuSeconds { broker: spent(|cpu| cpu.broker), load: spent(|cpu| cpu.load) };
    report.peak_rss_bytes = deep.iter().filter_map(|turn| turn.report.peak_rss_bytes).max();
    let in_turn = |kind: &'static str, turns: &[Turn]| -> Vec<String> {
        let texts = (1..).zip(turns).flat_map(|(number, turn)| {
            let texts = turn.report.disagreements.iter();
            texts.map(move |text| format!("{kind} turn {number}: {text}"))
        });
        texts.collect()
    };
    report.disagreements = [in_turn("short", short), in_turn("deep", deep)].concat();
    report.pass = report.disagreements.is_empty();
    let rates = |turns: &[Turn]| turns.iter().map(|turn| turn.report.rate_per_s).collect();
    let (short_rates, deep_rates): (Option<Vec<f64>>, Option<Vec<f64>>) =
        (rates(short), rates(deep));
    let each: Option<Vec<f64>> = short_rates
        .as_ref()
        .zip(deep_rates.as_ref())
        .map(|(short, deep)| deep.iter().zip(short).map(|(deep, short)| deep / short).collect());
    let spread = |values: Option<Vec<f64>>| values.and_then(Spread::of).filter(|_| report.pass);
    let (short_rate, deep_rate, ratio) = (spread(short_rates), spread(deep_rates), spread(each));
    report.rate_per_s = deep_rate.map(|it| it.median);
    let mut latency = histogram();
    for turn in deep {
        // It grows as it must.
        let _ = latency.add(&turn.latency);
    }
    report.latency_us = LatencyMicros::of(&latency).filter(|_| report.pass);
    let mut figures = Vec::new();
    figures.extend(short_rate.map(|it| {
        Figure::new("rate from a short queue in memory, median of its turns", it.median)
    }));
    for (what, value) in [
        ("rate of deep to short, median", ratio.map(|it| it.median)),
        ("rate of deep to short, least", ratio.map(|it| it.least)),
        ("rate of deep to short, most", ratio.map(|it| it.most)),
    ] {
        figures.extend(value.map(|value| Figure::new(what, value)));
    }
    let fewest = |of: fn(&Turn) -> u64| deep.iter().map(of).min().unwrap_or(0);
    let (spilled, removed) = (fewest(|it| it.spilled), fewest(|it| it.removed));
    figures.push(Figure::count("payloads on disk only when work began", spilled));
    figures.push(Figure::count("payloads read back", fewest(|it| it.loads)));
    figures.push(Figure::count("segments given up by cleaning", removed));
    #[allow(clippy::cast_precision_loss, reason = "bytes and counts are far below 2^52")]
    let carried = |turns: &[Turn]| {
        let each = turns.iter().map(|turn| turn.carried as f64 / turn.report.settled.max(1) as f64);
        each.fold(0.0, f64::max)
    };
    figures.extend([
        Figure::new("bytes written again by cleaning for each task, at most", carried(deep)),
        Figure::new("the same beside a short queue", carried(short)),
    ]);
    report.figures = figures;
    let never = |what, count: u64| {
        let without = if count == 0 { 1.0 } else { 0.0 };
        Goal::below(what, Some(without), 1.0).in_every_round()
    };
    Ok(report.with_goals(vec![
        never("no payload was on disk only in some deep turn", spilled),
        never("no segment was given up in some deep turn", removed),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Note;
    use crate::plan::Wanted;
    use crate::{Config, Scenario};

    /// A turn that completed so many a second, each within so many nanoseconds.
    fn turn(rate: f64, nanos: u64, spilled: u64, removed: u64) -> Turn {
        let config = Config::new(Scenario::Deep, &Wanted::default()).unwrap();
        let stage = Stage::new(Scenario::Deep, config);
        let measures = Measures { rate: "completed", latency: "submitted until confirmed" };
        let span = std::time::Duration::from_secs(2);
        let mut report = stage.report_elsewhere(stage.ledger.counts(), span, None, measures);
        report.rate_per_s = Some(rate);
        report.cpu_s = CpuSeconds { broker: Some(rate / 10.0), load: Some(0.5) };
        let mut latency = histogram();
        latency.note(nanos);
        Turn { report, latency, spilled, loads: spilled, removed, carried: 0 }
    }

    fn short() -> Vec<Turn> {
        vec![turn(100.0, 1_000, 0, 9), turn(200.0, 1_000, 0, 9)]
    }

    fn figure(report: &BenchReport, what: &str) -> f64 {
        report.figures.iter().find(|figure| figure.what == what).unwrap().value
    }

    #[tokio::test]
    async fn time_and_latency_are_of_all_deep_turns_and_the_ratio_is_of_pairs() {
        let deep = vec![turn(50.0, 5_000_000, 7, 4), turn(180.0, 9_000, 8, 3)];
        let report = told(&short(), &deep).unwrap();
        assert_eq!(report.rate_per_s, Some(115.0));
        assert_eq!(report.cpu_s, CpuSeconds { broker: Some(23.0), load: Some(1.0) });
        assert!((report.seconds - 4.0).abs() < 1e-9);
        assert!(report.latency_us.unwrap().max > 4_999.0);
        assert!(report.latency_us.unwrap().p50 < 10.0);
        assert!((figure(&report, "rate of deep to short, least") - 0.5).abs() < 1e-9);
        assert!((figure(&report, "rate of deep to short, most") - 0.9).abs() < 1e-9);
    }

    #[tokio::test]
    async fn the_deep_turn_with_the_least_on_disk_and_cleaned_decides() {
        let met =
            |report: &BenchReport| report.goals.iter().map(|goal| goal.met).collect::<Vec<_>>();
        let cleaned = "segments given up by cleaning";
        let report = told(&short(), &[turn(50.0, 1, 7, 4), turn(50.0, 1, 8, 3)]).unwrap();
        assert_eq!(figure(&report, cleaned).to_bits(), 3_f64.to_bits());
        assert_eq!(met(&report), [true, true]);
        let report = told(&short(), &[turn(50.0, 1, 7, 4), turn(50.0, 1, 0, 0)]).unwrap();
        assert_eq!(figure(&report, cleaned).to_bits(), 0_f64.to_bits());
        assert_eq!(met(&report), [false, false]);
        assert!(report.goals.iter().all(|goal| goal.in_every_round) && !report.passed());
    }

    #[test]
    fn what_turns_differ_in_is_the_memory_of_payloads() {
        let (short, deep) = (settings(None), settings(Some(800)));
        assert_eq!(deep[..short.len()], short);
        assert_eq!(deep[short.len()..], [(PAYLOAD_MEMORY.into(), "100".to_owned())]);
        assert!(short.iter().any(|(name, _)| *name == "TRUNKLINE_LOG__SEGMENT_BYTES"));
    }
}
