//! `deep`: what it costs that a queue is deep. Turns alternate, each with a broker of its own: in
//! every second one so many tasks wait before anybody works, most of their payloads on disk only,
//! and for each that is completed another is submitted, so that the queue stays as deep while it is
//! worked off and the log is cleaned. In the others few are in flight and all is in memory.

use super::flow::{keep_full, tasks};
use crate::broker::{PAYLOAD_MEMORY, Setting};
use crate::load::{SKILL, start_agents, stop_agents};
use crate::report::{Figure, Goal, LatencyMicros, Measures};
use crate::rounds::Spread;
use crate::stage::{Meter, Stage};
use crate::{BenchError, BenchReport, disk, progress};

/// How many turns there are; the queue is deep in every second one.
const TURNS: u32 = 4;
/// How many are in flight where the queue is not deep, unless the deep one is not much deeper.
const SHALLOW: u32 = 8192;
/// By what factor the deep one is deeper at least.
const DEEPER: u32 = 8;
/// Out of how many waiting payloads one may stay in memory.
const IN_MEMORY: u64 = 8;
/// How many pieces are on their way at once while the queue gets deep.
const PIECES: usize = 8;
/// Small segments, and no log too small to be cleaned, so that a few seconds of load fill and free
/// several: with the defaults that takes a minute. The longest record bounds them from below.
const SMALL: [(&str, &str); 3] = [
    ("TRUNKLINE_LOG__SEGMENT_BYTES", "8388608"),
    ("TRUNKLINE_LOG__MAX_BODY_BYTES", "3145728"),
    ("TRUNKLINE_LOG__CLEAN_MIN_BYTES", "0"),
];

/// What a turn came to.
struct Turn {
    report: BenchReport,
    /// Payloads that were on disk only when work began.
    spilled: u64,
    /// Payloads that were read back.
    loads: u64,
    /// Segments of the log that were given up.
    removed: u64,
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

/// The same with as many in flight as need no deep queue.
fn shallow(stage: &Stage) -> Stage {
    let mut config = stage.config.clone();
    let depth = config.in_flight.unwrap_or(1);
    let in_flight = (depth / DEEPER).clamp(1, SHALLOW);
    let share = in_flight / config.senders.unwrap_or(1) / 2;
    config.in_flight = Some(in_flight);
    config.batch = config.batch.map(|batch| batch.min(share).max(1));
    Stage::new(stage.scenario, config)
}

/// Plays one turn.
async fn play(stage: &Stage, is_deep: bool) -> Result<Turn, BenchError> {
    let data = stage.data_directory()?;
    let depth = stage.config.in_flight.unwrap_or(1);
    let settings = if is_deep { settings(depth, stage.config.payload) } else { Vec::new() };
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
    let spread = stage.flow.take_latency().as_ref().and_then(LatencyMicros::of);
    let measures = Measures {
        rate: "completed from a deep queue, synced, while as many are submitted",
        latency: "submitted until its completion is confirmed, the queue before it included",
    };
    let report = stage.report(&target, &phase, done, spread, measures);
    Ok(Turn { report, spilled, loads: log.payload_loads, removed: log.removed_segments })
}

/// The settings of a broker whose queue is to be deep.
fn settings(depth: u32, payload: usize) -> Vec<Setting> {
    let in_memory = u64::from(depth) * payload as u64 / IN_MEMORY;
    let small = SMALL.into_iter().map(|(name, value)| (name, value.to_owned()));
    small.chain([(PAYLOAD_MEMORY, in_memory.to_string())]).collect()
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
    report.latency_us = report.latency_us.filter(|_| report.pass);
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
    report.figures = figures;
    let without = |count: u64| Some(if count == 0 { 1.0 } else { 0.0 });
    Ok(report.with_goals(vec![
        Goal::below("no payload was on disk only", without(spilled), 1.0),
        Goal::below("no segment was given up in some deep turn", without(removed), 1.0),
    ]))
}
