//! What a benchmark comes to, for programs and for people.

use crate::machine::Machine;
use crate::observe::{Note, histogram};
use crate::rounds::{Rounds, Spread};
use crate::{Config, Scenario};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};

/// What a benchmark came to.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// Which one.
    pub scenario: Scenario,
    /// Messages that the load handed to the broker.
    pub sent: u64,
    /// Messages whose settlement the broker confirmed to the agent.
    pub settled: u64,
    /// Messages that became dead letters.
    pub dead: u64,
    /// Messages whose time to live ended.
    pub expired: u64,
    /// Refusals with a hint when to come back, after which the load sent the same again. Such a
    /// message is sent once by the count of `sent`.
    pub sent_again: u64,
    /// How long it took, from the first message until the last one was settled.
    pub seconds: f64,
    /// What was done per second; `None` if the counts do not agree.
    pub rate_per_s: Option<f64>,
    /// How long one took; `None` if the counts do not agree.
    pub latency_us: Option<LatencyMicros>,
    /// How long the first event of a stream took, where streams are measured too; `None` if the
    /// counts of those do not agree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_event_us: Option<LatencyMicros>,
    /// What `rate_per_s` counts and `latency_us` spans.
    pub measures: Measures,
    /// CPU time used meanwhile.
    pub cpu_s: CpuSeconds,
    /// The most memory that the broker's process had; in process, the one process.
    pub peak_rss_bytes: Option<u64>,
    /// What it was run with.
    pub config: Config,
    /// What the disk alone can do, where that is the bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskLimit>,
    /// What the wire alone can do, where that is the bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wire: Option<WireLimit>,
    /// How the rounds differ of which this is the middle one, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<Rounds>,
    /// What else was seen on the way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
    /// What was promised, and whether it was kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<Goal>,
    /// Whether the counts agree and every goal was met.
    pub pass: bool,
    /// Which counts do not agree.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disagreements: Vec<String>,
    pub(crate) machine: Machine,
    /// The version of Trunkline.
    pub version: &'static str,
    /// The commit that the load was built from, and the broker with it if it was started for this;
    /// `unknown` if whoever built it did not say.
    pub commit: &'static str,
}

/// What the figures of a scenario mean.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Measures {
    /// What is counted per second.
    pub rate: &'static str,
    /// From when to when a latency goes.
    pub latency: &'static str,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct LatencyMicros {
    /// The median.
    pub p50: f64,
    /// 95 of 100 took no longer.
    pub p95: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
    /// 999 of 1,000 took no longer.
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// CPU time in seconds, user and system.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct CpuSeconds {
    /// The broker's process; `None` if it is this one, or not on this machine.
    pub broker: Option<f64>,
    /// This process; in process that is broker and load together.
    pub load: Option<f64>,
}

/// What the disk alone can do, 4 KiB written and flushed at a time.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct DiskLimit {
    /// Flushes per second, one after another.
    pub flushes_per_s: f64,
    /// The median of one, in microseconds.
    pub p50_us: f64,
}

/// What the wire alone can do, 256 bytes to and fro over TCP on loopback.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct WireLimit {
    /// The median round trip, in microseconds.
    pub round_trip_p50_us: f64,
}

/// Something that was seen and is neither rate nor latency.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Figure {
    /// What it is, with its unit.
    pub what: String,
    /// How much.
    pub value: f64,
    /// What it was in each of several rounds; then `value` is their median.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<Spread>,
}

impl Figure {
    /// A figure with what it is of.
    pub(crate) fn new(what: impl Into<String>, value: f64) -> Self {
        Self { what: what.into(), value, rounds: None }
    }

    /// The same of a count.
    #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(crate) fn count(what: impl Into<String>, count: u64) -> Self {
        Self::new(what, count as f64)
    }

    fn shown(&self) -> String {
        let shown = |value: f64| match value.fract() {
            0.0 => grouped(value),
            _ => format!("{value:.3}"),
        };
        match self.rounds {
            None => shown(self.value),
            Some(Spread { median, least, most }) => {
                format!("median {}, {} to {}", shown(median), shown(least), shown(most))
            }
        }
    }
}

/// Something promised.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Goal {
    /// What must stay below the limit.
    pub what: String,
    /// The limit.
    pub limit: f64,
    /// What it was; `None` if the counts do not agree.
    pub value: Option<f64>,
    /// Whether it was below.
    pub met: bool,
    /// Whether it must be below in every round, because it tells of something that may never
    /// happen; otherwise the median of the rounds must be.
    #[serde(skip)]
    pub(crate) in_every_round: bool,
}

impl Goal {
    /// A value that must be below a limit.
    pub(crate) fn below(what: &str, value: Option<f64>, limit: f64) -> Self {
        let met = value.is_some_and(|value| value < limit);
        Self { what: what.to_owned(), limit, value, met, in_every_round: false }
    }

    /// The same goal of which it is not known what was reached.
    #[must_use]
    pub(crate) fn unknown(self) -> Self {
        Self { value: None, met: false, ..self }
    }

    /// The same goal of which no round may miss it.
    #[must_use]
    pub(crate) fn in_every_round(self) -> Self {
        Self { in_every_round: true, ..self }
    }
}

impl LatencyMicros {
    /// Reads a histogram of nanoseconds; `None` if it is empty.
    pub(crate) fn of(nanos: &Histogram<u64>) -> Option<Self> {
        #[allow(clippy::cast_precision_loss, reason = "latencies are far below 2^52 ns")]
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let at = |quantile| micros(nanos.value_at_quantile(quantile));
        (!nanos.is_empty()).then(|| Self {
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(nanos.max()),
        })
    }

    /// That of a single span in nanoseconds.
    pub(crate) fn single(nanos: u64) -> Option<Self> {
        let mut one = histogram();
        one.note(nanos);
        Self::of(&one)
    }
}

impl BenchReport {
    /// Whether the counts agree and every goal was met. A command that prints a report for which
    /// this is false must not exit with success.
    pub fn passed(&self) -> bool {
        self.pass
    }

    /// The report as one JSON object.
    pub fn to_json(&self) -> Value {
        // Its fields are plain numbers, texts and lists, which always become JSON.
        serde_json::to_value(self).unwrap_or_else(|error| json!({ "error": error.to_string() }))
    }

    /// The report as rows of a table: what, and how much.
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut row = |what: &str, value: String| rows.push((what.to_owned(), value));
        row("scenario", self.scenario.to_string());
        for text in &self.disagreements {
            row("counts do not agree", text.clone());
        }
        if let Some(rate) = self.rate_per_s {
            row(self.measures.rate, format!("{} /s", grouped(rate.round())));
        }
        if let Some(latency) = &self.latency_us {
            let LatencyMicros { p50, p95, p99, p999, max } = *latency;
            row("latency of", self.measures.latency.to_owned());
            for (what, micros) in
                [("p50", p50), ("p95", p95), ("p99", p99), ("p99.9", p999), ("max", max)]
            {
                row(&format!("latency {what}"), span(micros));
            }
        }
        if let Some(LatencyMicros { p50, p99, .. }) = self.first_event_us {
            row("first event of a stream", format!("p50 {}, p99 {}", span(p50), span(p99)));
        }
        if let Some(rounds) = &self.rounds {
            rounds.rows().into_iter().for_each(|(what, value)| row(what, value));
        }
        for figure in &self.figures {
            row(&figure.what, figure.shown());
        }
        for Goal { what, limit, value, met, .. } in &self.goals {
            let value = value.map_or("unknown".to_owned(), |value| format!("{value:.3}"));
            let verdict = if *met { "met" } else { "MISSED" };
            row(what, format!("{value}, to be below {limit}: {verdict}"));
        }
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        for (what, count) in [
            ("sent", self.sent),
            ("settled", self.settled),
            ("dead", self.dead),
            ("expired", self.expired),
        ] {
            row(what, grouped(count as f64));
        }
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        if self.sent_again > 0 {
            row("refused until later, and sent again", grouped(self.sent_again as f64));
        }
        row("seconds", format!("{:.3}", self.seconds));
        let cpu = |seconds: Option<f64>| seconds.map_or("–".to_owned(), |s| format!("{s:.2} s"));
        row("CPU of the broker", cpu(self.cpu_s.broker));
        row("CPU of the load", cpu(self.cpu_s.load));
        if let Some(bytes) = self.peak_rss_bytes {
            row("peak memory", format!("{} MiB", bytes >> 20));
        }
        if let Some(WireLimit { round_trip_p50_us }) = self.wire {
            let text = format!("a TCP round trip of 256 bytes, p50 {}", span(round_trip_p50_us));
            row("the wire alone", text);
        }
        if let Some(DiskLimit { flushes_per_s, p50_us }) = self.disk {
            let flushes = grouped(flushes_per_s.round());
            row("the disk alone", format!("{flushes} flushes/s of 4 KiB, p50 {}", span(p50_us)));
        }
        if let Ok(Value::Object(config)) = serde_json::to_value(&self.config) {
            let config: Vec<String> =
                config.iter().map(|(name, value)| format!("{name} {value}")).collect();
            row("configuration", config.join(", "));
        }
        let Machine { cpu, cores, memory_bytes, kernel, load_average } = &self.machine;
        let mut machine = vec![cpu.clone().unwrap_or_else(|| "unknown processor".to_owned())];
        machine.extend(cores.map(|cores| format!("{cores} cores")));
        machine.extend(memory_bytes.map(|bytes| format!("{} GiB", bytes >> 30)));
        machine.push(kernel.clone());
        machine.extend(load_average.map(|load| format!("load average {load}")));
        row("machine", machine.join(", "));
        row("version", format!("{}, commit {}", self.version, self.commit));
        rows
    }
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn span(micros: f64) -> String {
    match micros {
        micros if micros < 1e3 => format!("{micros:.1} µs"),
        micros if micros < 1e6 => format!("{:.2} ms", micros / 1e3),
        micros => format!("{:.2} s", micros / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_spans_have_units() {
        assert_eq!(grouped(1_234_567.0), "1,234,567");
        assert_eq!(grouped(999.0), "999");
        assert_eq!(grouped(0.0), "0");
        assert_eq!([span(1.25), span(1500.0), span(2.5e6)], ["1.2 µs", "1.50 ms", "2.50 s"]);
    }

    #[test]
    fn a_goal_whose_value_is_unknown_is_not_met() {
        assert!(!Goal::below("x", None, 1.0).met);
        assert!(!Goal::below("x", Some(1.0), 1.0).met);
        assert!(Goal::below("x", Some(0.9), 1.0).met);
    }
}
