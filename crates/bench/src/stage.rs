//! What every scenario needs: its settings, ledger and flow, the broker under test, phases that
//! are measured, and the report at the end.

use crate::broker::{Setting, Target, data_directory, setting};
use crate::cli::UNKNOWN;
use crate::clock::Clock;
use crate::ledger::{Counts, Ledger, disagreements, unanswered};
use crate::load::{Checker, Latency, Mix, Sender, Stop};
use crate::machine::{Machine, Process};
use crate::observe::{Flow, Observed};
use crate::progress::Progress;
use crate::report::{BenchReport, CpuSeconds, Goal, LatencyMicros, Measures};
use crate::{BenchError, Config, Scenario};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use trunkline_agent::{Host, Session, SessionOptions};
use trunkline_client::Transport;
use trunkline_types::{Counters, Gauges};

/// How long the last messages may take to be settled before they count as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) flow: Arc<Flow>,
    /// Which counts did not agree when it warmed up.
    cold: Mutex<Vec<String>>,
}

/// What a phase came to.
#[derive(Debug)]
pub(crate) struct Phase {
    pub(crate) counts: Counts,
    pub(crate) broker: Counters,
    pub(crate) left: Gauges,
    pub(crate) seconds: f64,
    pub(crate) cpu: CpuSeconds,
}

/// The watch of a phase. It stops at the phase's end unless it was stopped before.
pub(crate) struct Meter<'a> {
    target: &'a Target,
    /// When it began, and what had been spent by then.
    start: Mutex<(Instant, CpuSeconds)>,
    read: Mutex<Option<(f64, CpuSeconds)>>,
}

impl Meter<'_> {
    /// Starts the watch anew: what came before is not part of the figure.
    pub(crate) fn restart(&self) {
        *self.start.lock() = (Instant::now(), cpu(self.target));
    }

    /// Stops the watch: what comes after is not part of the figure.
    pub(crate) fn stop(&self) {
        self.read.lock().get_or_insert_with(|| {
            let (begun, before) = *self.start.lock();
            let spent = |now: Option<f64>, before: Option<f64>| Some(now? - before?);
            let now = cpu(self.target);
            let cpu = CpuSeconds {
                broker: spent(now.broker, before.broker),
                load: spent(now.load, before.load),
            };
            (begun.elapsed().as_secs_f64(), cpu)
        });
    }
}

fn cpu(target: &Target) -> CpuSeconds {
    CpuSeconds { broker: target.cpu_seconds(), load: Process::this().cpu_seconds() }
}

impl Stage {
    pub(crate) fn new(scenario: Scenario, config: Config) -> Self {
        let clock = Clock::new();
        let ledger = Arc::new(Ledger::new(fastrand::u64(..), config.payload));
        let flow = Flow::new(clock, config.in_flight.unwrap_or(0), scenario.times_settlement());
        Self { scenario, config, clock, ledger, flow, cold: Mutex::default() }
    }

    /// The broker that the settings name: the one at the URL, otherwise one in a process of its
    /// own that keeps everything in memory.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn remote(&self) -> Result<Target, BenchError> {
        match &self.config.url {
            Some(url) => Target::elsewhere(url, self.transport()),
            None => Target::child(None, self.transport(), self.settings(&[])).await,
        }
    }

    /// What carries sessions over the network.
    pub(crate) fn transport(&self) -> Transport {
        self.config.transport.unwrap_or_default()
    }

    /// A directory for the broker's data, unless the broker runs already.
    ///
    /// # Errors
    /// It cannot be made on a disk.
    pub(crate) fn data_directory(&self) -> Result<Option<TempDir>, BenchError> {
        let Some(parent) = self.config.dir.as_deref() else { return Ok(None) };
        data_directory(self.scenario, parent).map(Some)
    }

    /// The same as [`Self::remote`] with a data directory.
    ///
    /// # Errors
    /// It does not start, or has no data directory.
    pub(crate) async fn durable(&self, data: Option<&Path>) -> Result<Target, BenchError> {
        self.durable_with(data, &[]).await
    }

    /// The same with settings of its own, if it is not there already.
    ///
    /// # Errors
    /// It does not start, or has no data directory.
    pub(crate) async fn durable_with(
        &self,
        data: Option<&Path>,
        settings: &[Setting],
    ) -> Result<Target, BenchError> {
        let target = match (&self.config.url, data) {
            (Some(url), _) => Target::elsewhere(url, self.transport())?,
            (None, data) => Target::child(data, self.transport(), self.settings(settings)).await?,
        };
        if target.stats().await?.log.is_none() {
            return Err(BenchError::NotDurable(self.scenario.to_string()));
        }
        Ok(target)
    }

    /// A broker of its own on a port that is kept, so that another can be started there on the same
    /// data.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn on_kept_port(&self, data: &Path) -> Result<Target, BenchError> {
        Target::child_on_kept_port(data, self.transport(), self.settings(&[])).await
    }

    /// The settings of a broker of its own: those of the scenario, and then what was asked for.
    fn settings(&self, own: &[Setting]) -> Vec<Setting> {
        let asked = self.config.set.iter().filter_map(|text| setting(text));
        own.iter().cloned().chain(asked).collect()
    }

    /// The way to the broker on which agents are observed.
    pub(crate) fn host(&self, target: &Target) -> Observed {
        Observed::new(target.connector(), Arc::clone(&self.flow))
    }

    /// A handler that checks.
    pub(crate) fn checker(&self, latency: Option<Latency>, echo: bool) -> Checker {
        Checker { ledger: Arc::clone(&self.ledger), clock: self.clock, latency, echo, copy: 0 }
    }

    /// Opens the sessions that send.
    ///
    /// # Errors
    /// The broker refuses one.
    pub(crate) async fn sessions(&self, host: &Observed) -> Result<Vec<Session>, BenchError> {
        let mut sessions = Vec::new();
        for _ in 0..self.config.senders.unwrap_or(1) {
            sessions.push(self.session(host).await?);
        }
        Ok(sessions)
    }

    /// Opens one session.
    ///
    /// # Errors
    /// The broker refuses it.
    pub(crate) async fn session(&self, host: &Observed) -> Result<Session, BenchError> {
        let outstanding = self.config.outstanding;
        let options = SessionOptions { outstanding, ..SessionOptions::default() };
        let session = host.session_with(options).await;
        session.map_err(BenchError::refused("cannot open a session"))
    }

    /// Senders that send in batches, one on each session.
    pub(crate) fn senders(&self, sessions: &[Session], mix: &Mix) -> Vec<Sender> {
        let sender = |session: &Session| {
            Sender::new(session.clone(), Arc::clone(&self.ledger), self.clock, mix.clone())
        };
        sessions.iter().map(sender).collect()
    }

    /// When warming up stops.
    pub(crate) fn warm_up(&self) -> Stop {
        let seconds = self.config.seconds.unwrap_or(1.0);
        let span = Duration::from_secs_f64((seconds / 4.0).min(1.0));
        let count = self.config.count.unwrap_or(u64::MAX) / 10;
        Stop { at: Instant::now() + span, count }
    }

    /// When the measured phase stops, if it begins now.
    pub(crate) fn stop(&self) -> Stop {
        let span = Duration::from_secs_f64(self.config.seconds.unwrap_or(86_400.0));
        Stop { at: Instant::now() + span, count: self.config.count.unwrap_or(u64::MAX) }
    }

    /// Tells how many settlements are confirmed, while the value lives.
    pub(crate) fn progress(&self, what: &'static str) -> Progress {
        let flow = Arc::clone(&self.flow);
        Progress::start(what, "settled", move || flow.confirmed())
    }

    /// Does some work and waits until everything it sent is settled; what is not by then is
    /// missing in the counts.
    ///
    /// # Errors
    /// The work fails, or the broker does not tell its figures.
    pub(crate) async fn phase(
        &self,
        target: &Target,
        work: impl AsyncFnOnce(&Meter<'_>) -> Result<(), BenchError>,
    ) -> Result<Phase, BenchError> {
        let stats = target.stats().await?.counters;
        let counts = self.counts();
        let before = cpu(target);
        let start = Mutex::new((Instant::now(), before));
        let meter = Meter { target, start, read: Mutex::new(None) };
        let all = async {
            work(&meter).await?;
            let new = self.ledger.counts() - counts_only(&counts);
            let due = new.sent.saturating_sub(new.refused);
            // If not all came in time the counts tell.
            self.flow.reach(counts.confirmed + due, PATIENCE).await;
            meter.stop();
            Ok::<(), BenchError>(())
        };
        tokio::select! {
            done = all => done?,
            error = target.ended() => return Err(error),
        }
        let after = target.stats().await?;
        let (seconds, cpu) = meter.read.into_inner().unwrap_or((0.0, before));
        let broker = minus(&after.counters, &stats);
        Ok(Phase { counts: self.counts() - counts, broker, left: after.gauges, seconds, cpu })
    }

    /// Takes what warming up came to: its counts must agree like those that are measured, and what
    /// does not is told by the report.
    pub(crate) fn warmed(&self, phase: &Phase) {
        let found = disagreements(&phase.counts, &phase.broker, &phase.left, self.ledger.refusal());
        self.cold.lock().extend(found.into_iter().map(|text| format!("warming up: {text}")));
    }

    /// Waits until all that was ever accepted is settled; what is not by then is missing in the
    /// counts. The patience begins anew with every settlement.
    pub(crate) async fn all_settled(&self) {
        let due = self.ledger.counts().accepted;
        let mut before = u64::MAX;
        while self.flow.confirmed() != before {
            before = self.flow.confirmed();
            if self.flow.reach(due, PATIENCE).await {
                return;
            }
        }
    }

    /// The report of work for a server of which only the answers are known: each of them must have
    /// come, with what was sent.
    pub(crate) fn report_elsewhere(
        &self,
        counts: Counts,
        span: Duration,
        latency: Option<LatencyMicros>,
        measures: Measures,
    ) -> BenchReport {
        let mut disagreements = self.cold.lock().clone();
        disagreements.extend(unanswered(&counts, self.ledger.refusal()));
        let agrees = disagreements.is_empty();
        let seconds = span.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let rate = counts.accepted as f64 / seconds;
        BenchReport {
            scenario: self.scenario,
            sent: counts.sent,
            settled: counts.accepted,
            dead: 0,
            expired: 0,
            sent_again: counts.again,
            seconds,
            rate_per_s: agrees.then_some(rate),
            latency_us: latency.filter(|_| agrees),
            first_event_us: None,
            measures,
            cpu_s: CpuSeconds { broker: None, load: None },
            peak_rss_bytes: None,
            config: self.config.clone(),
            disk: None,
            wire: None,
            rounds: None,
            figures: Vec::new(),
            goals: Vec::new(),
            pass: agrees,
            disagreements,
            machine: Machine::this(),
            version: env!("CARGO_PKG_VERSION"),
            commit: UNKNOWN,
        }
    }

    fn counts(&self) -> Counts {
        let (confirmed, unconfirmed) = (self.flow.confirmed(), self.flow.refused());
        Counts { confirmed, unconfirmed, ..self.ledger.counts() }
    }

    /// The report of a phase. `done` is how many of what the rate counts were done in it.
    pub(crate) fn report(
        &self,
        target: &Target,
        phase: &Phase,
        done: u64,
        latency: Option<LatencyMicros>,
        measures: Measures,
    ) -> BenchReport {
        let Phase { counts, broker, left, seconds, cpu } = phase;
        let found = disagreements(counts, broker, left, self.ledger.refusal());
        let disagreements = [self.cold.lock().clone(), found].concat();
        let agrees = disagreements.is_empty();
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let rate = done as f64 / seconds;
        BenchReport {
            scenario: self.scenario,
            sent: counts.sent,
            settled: counts.confirmed,
            dead: broker.dead_lettered,
            expired: broker.expired,
            sent_again: counts.again,
            seconds: *seconds,
            rate_per_s: agrees.then_some(rate),
            latency_us: latency.filter(|_| agrees),
            first_event_us: None,
            measures,
            cpu_s: *cpu,
            peak_rss_bytes: target.peak_rss_bytes(),
            config: self.config.clone(),
            disk: None,
            wire: None,
            rounds: None,
            figures: Vec::new(),
            goals: Vec::new(),
            pass: agrees,
            disagreements,
            machine: Machine::this(),
            version: env!("CARGO_PKG_VERSION"),
            commit: UNKNOWN,
        }
    }
}

impl BenchReport {
    /// The report with goals; a goal that is not met fails it. Where the counts do not agree none has
    /// a value: whatever was seen is not of the work that was to be done.
    pub(crate) fn with_goals(mut self, goals: Vec<Goal>) -> Self {
        let counted = self.disagreements.is_empty();
        let known = |goal: Goal| if counted { goal } else { goal.unknown() };
        let goals: Vec<Goal> = goals.into_iter().map(known).collect();
        self.pass &= goals.iter().all(|goal| goal.met);
        self.goals = goals;
        self
    }
}

/// Counts of which those kept elsewhere are left out, for taking them off the ledger's own.
fn counts_only(counts: &Counts) -> Counts {
    Counts { confirmed: 0, unconfirmed: 0, ..*counts }
}

fn minus(after: &Counters, before: &Counters) -> Counters {
    Counters {
        accepted: after.accepted - before.accepted,
        settled: after.settled - before.settled,
        dead_lettered: after.dead_lettered - before.dead_lettered,
        expired: after.expired - before.expired,
        canceled: after.canceled - before.canceled,
        dropped: after.dropped - before.dropped,
        lost: after.lost - before.lost,
        redeliveries: after.redeliveries - before.redeliveries,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Wanted;

    #[tokio::test]
    async fn what_warming_up_lost_leaves_no_figure() {
        let config = Config::new(Scenario::Inproc, &Wanted::default()).unwrap();
        let stage = Stage::new(Scenario::Inproc, config);
        let measures = Measures { rate: "settled", latency: "none" };
        let report = || {
            let span = Duration::from_secs(1);
            stage.report_elsewhere(Counts::default(), span, None, measures)
        };
        assert!(report().pass && report().rate_per_s.is_some());
        let counts = Counts { sent: 2, accepted: 2, ..Counts::default() };
        let cpu = CpuSeconds { broker: None, load: None };
        let (broker, left) = (Counters::default(), Gauges::default());
        stage.warmed(&Phase { counts, broker, left, seconds: 1.0, cpu });
        assert!(!report().pass && report().rate_per_s.is_none());
        let told = report().disagreements;
        assert!(told[0].starts_with("warming up: "), "{told:?}");
        // Whatever a goal's value would be, it is not of the work that was to be done.
        let goals = || vec![Goal::below("cost", Some(0.5), 1.0)];
        let goal = &report().with_goals(goals()).goals[0];
        assert_eq!((goal.value, goal.met), (None, false));
    }
}
