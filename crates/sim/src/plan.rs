//! A seed's plan: which features and faults it has, how often, and within which limits. Each seed
//! draws its own mix, so that rare combinations come up as often as common ones.

use crate::model::Rules;
use crate::world::SmallRules;
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::EngineConfig;
use trunkline_log::LogConfig;
use trunkline_types::{Limits, Routing, WhenFull};

/// Chances are in thousandths.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How many steps until faults and new work end.
    pub(crate) steps: u32,
    /// The world time in nanoseconds at which they end at the latest.
    pub(crate) until: u64,
    /// The least time in nanoseconds between two looks at the whole state.
    pub(crate) look: u64,
    pub(crate) engine: EngineConfig,
    pub(crate) log: LogConfig,
    /// Whether idempotency keys leave memory for an index.
    pub(crate) indexed: bool,
    /// How often the driver evaluates the filters before it brings a frame.
    pub(crate) verdicts: u32,
    pub(crate) agents: usize,
    pub(crate) clients: usize,
    /// How many agents another tenant has; it has one client if it has any.
    pub(crate) strangers: usize,
    pub(crate) wire: Wire,
    pub(crate) faults: Faults,
    pub(crate) traffic: Traffic,
    pub(crate) work: Work,
}

/// How frames travel.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    /// Longest way of a frame in nanoseconds.
    pub(crate) delay: u64,
    pub(crate) duplicated: u32,
    pub(crate) reordered: u32,
}

/// Faults of the broker's world: the mean time between two of a kind in nanoseconds, 0 for never.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) crash: u64,
    pub(crate) stop: u64,
    /// Longest time in nanoseconds from its end to its next start; mostly it is far less.
    pub(crate) down: u64,
    pub(crate) pause: u64,
    pub(crate) freeze: u64,
    /// Other settings come into force.
    pub(crate) configure: u64,
    pub(crate) jump: u64,
    pub(crate) disk_error: u64,
    pub(crate) full: u64,
    /// The log is as far behind as it may be.
    pub(crate) congest: u64,
    /// A sweep of cleaning begins.
    pub(crate) clean: u64,
    /// How often, in thousandths, a payload that has left memory cannot be read.
    pub(crate) unread: u32,
    /// Longest time from a write to its flush in nanoseconds.
    pub(crate) flush: u64,
}

/// What is sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic {
    /// Mean time between two actions of one actor in nanoseconds.
    pub(crate) pace: u64,
    pub(crate) burst: u32,
    /// Whether everything is logged.
    pub(crate) pure: bool,
    pub(crate) ephemeral: u32,
    pub(crate) buffered: u32,
    pub(crate) topics: u32,
    pub(crate) ttl: u32,
    pub(crate) delay: u32,
    pub(crate) ordered: u32,
    pub(crate) keyed: u32,
    pub(crate) cancel: u32,
    pub(crate) unserved: u32,
    pub(crate) filters: u32,
    pub(crate) groups: u32,
    pub(crate) pending: u32,
    pub(crate) gather: u32,
    pub(crate) max_run: u32,
    pub(crate) nested: u32,
    pub(crate) control: u32,
    pub(crate) weights: u32,
    pub(crate) settings: u32,
    pub(crate) schedules: u32,
    pub(crate) letters: u32,
    pub(crate) directory: u32,
    pub(crate) impostors: u32,
    pub(crate) unregister: u32,
    pub(crate) urgent: u32,
    pub(crate) cut: u32,
    pub(crate) goodbye: u32,
    pub(crate) vanish: u32,
}

/// How agents work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// Longest handling in nanoseconds.
    pub(crate) span: u64,
    pub(crate) credit: u32,
    pub(crate) retry: u32,
    pub(crate) release: u32,
    pub(crate) pause: u32,
    pub(crate) fail: u32,
    pub(crate) dead_letter: u32,
    pub(crate) stall: u32,
    pub(crate) twice: u32,
    pub(crate) stale: u32,
    pub(crate) update: u32,
    /// Thousandths of the agents that never stall nor vanish.
    pub(crate) steady: u32,
}

const MS: u64 = 1_000_000;
/// As many bytes of payloads as no run has.
pub(crate) const SPILLS: u64 = 1 << 20;
/// As many dead letters and as many bytes of them as no run has.
const MANY_LETTERS: usize = 100_000;
const PLENTY: u64 = 256 << 20;
/// A day in milliseconds.
const DAY: u64 = 86_400_000;

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rng = &mut rng;
        let lease = rng.u64(60..=500);
        let grace = rng.u64(24..=lease / 2);
        let tight = rng.u8(..) < 50;
        let few_ended = rng.u8(..) < 40;
        let letters = letters(seed);
        let few_letters = letters != (MANY_LETTERS, PLENTY);
        let engine = EngineConfig {
            seed,
            lease: Duration::from_millis(lease),
            resume_grace: Duration::from_millis(grace),
            backoff_base: Duration::from_millis(rng.u64(1..=60)),
            backoff_cap: Duration::from_millis(rng.u64(20..=400)),
            losses: rng.u32(0..=4),
            absence_tolerance: Duration::from_millis(lease / 10),
            inbox_ephemeral: if tight { rng.u32(2..=12) } else { 10_000 },
            inbox_logged: if tight { rng.u64(4..=20) } else { 10_000_000 },
            ended_tasks: if few_ended { rng.usize(3..=30) } else { 100_000 },
            // Not both bounds at once: a replay that begins in the middle may forget by time what
            // another task held up, and then keeps for longer what the live engine forgot for
            // its number.
            ended_task_keep: if few_ended { Duration::from_hours(7 * 24) } else { keep(rng) },
            // The same goes for dead letters.
            dead_letter_keep: if few_letters {
                Duration::from_hours(7 * 24)
            } else {
                letter_keep(seed)
            },
            recent_tasks: usize::try_from(seed % 9).unwrap_or_default(),
            task_events: if rng.u8(..) < 40 { rng.usize(2..=6) } else { 10_000 },
            limits: Limits::default(),
            rules: Arc::new(SmallRules),
            priority_weights: [1, 2, 4, 8].map(|most| rng.u8(1..=most)),
            when_full: WhenFull::ALL[rng.usize(..WhenFull::ALL.len())],
            wait: Duration::from_millis(rng.u64(1..=400)),
            waiting_outside: if tight { rng.usize(1..=4) } else { 1000 },
            warning: rng.u8(30..=100),
            routing: Routing::ALL[rng.usize(..Routing::ALL.len())],
            breaker_failures: if rng.bool() { 0 } else { rng.u32(2..=6) },
            breaker_window: Duration::from_millis(rng.u64(100..=2000)),
            breaker_open: Duration::from_millis(rng.u64(20..=600)),
            breaker_probes: rng.u32(1..=2),
            pending_events: if tight { rng.usize(2..=8) } else { 100_000 },
            ended_messages: rng.usize(4..=200),
            clean_step_bytes: cleaning(seed).1,
            keys: if rng.u8(..) < 80 { rng.usize(1..=12) } else { 1_000_000 },
            payload_memory: payload_memory(seed),
            schedules: few(seed, 0).unwrap_or(10_000),
            gather_agents: few(seed, 1).unwrap_or(1000),
            logged_copies: few(seed, 2).unwrap_or(10_000),
            dead_letters: letters.0,
            dead_letter_bytes: letters.1,
            max_run: max_run(seed),
            key_window: Duration::from_millis(if rng.bool() { DAY } else { rng.u64(100..=4000) }),
            ..EngineConfig::default()
        };
        let log = LogConfig {
            segment_bytes: 64 << 10,
            max_body_bytes: 16 << 10,
            free_segments: 1,
            salt: seed,
            ..LogConfig::default()
        };
        let mut traffic = Traffic::draw(rng);
        if engine.routing == Routing::Weighted {
            // It takes many draws to tell weights from their absence.
            traffic.weights = traffic.weights.max(60);
        }
        // Ended tasks and dead letters are bounded for all tenants together, which no model of one
        // can follow.
        let tenants = usize::from(letters == (MANY_LETTERS, PLENTY));
        Self {
            seed,
            steps: rng.u32(800..=4000),
            until: u64::MAX,
            look: 20 * MS,
            engine,
            log,
            indexed: rng.bool(),
            verdicts: sometimes(rng, 1000),
            agents: rng.usize(1..=4),
            clients: rng.usize(1..=3),
            strangers: if few_ended || rng.bool() { 0 } else { rng.usize(1..=2) * tenants },
            wire: Wire {
                delay: (grace * MS / 12).min(rng.u64(1..=8) * MS),
                duplicated: sometimes(rng, 60),
                reordered: sometimes(rng, 60),
            },
            faults: Faults {
                clean: cleaning(seed).0,
                unread: unread(seed),
                ..Faults::draw(rng, lease)
            },
            traffic,
            work: Work::draw(rng, lease),
        }
    }

    /// What the model must know of it.
    pub(crate) fn rules(&self) -> Rules {
        let mut rules = rules(&self.engine);
        if self.indexed {
            // The bounds are on memory, which logged ones leave for the index.
            rules.dead_letters = (usize::MAX, u64::MAX);
        }
        rules
    }
}

/// What the model must know of an engine's settings.
pub(crate) fn rules(config: &EngineConfig) -> Rules {
    Rules {
        inbox_logged: config.inbox_logged,
        inbox_ephemeral: u64::from(config.inbox_ephemeral),
        waiting_outside: config.waiting_outside,
        pending_events: config.pending_events,
        warning: config.warning,
        pressure_pace: config.pressure_pace,
        weights: config.priority_weights,
        lease: config.lease,
        resume_grace: config.resume_grace,
        backoff_base: config.backoff_base,
        backoff_cap: config.backoff_cap,
        losses: config.losses,
        tight: config.inbox_ephemeral < 100,
        spills: config.payload_memory < SPILLS,
        payload_memory: config.payload_memory,
        logged_copies: config.logged_copies,
        dead_letters: (config.dead_letters, config.dead_letter_bytes),
        when_full: config.when_full,
        wait: config.wait,
        schedules: config.schedules,
        gather_agents: config.gather_agents,
        max_run: config.max_run,
        routing: config.routing,
        breaker_failures: config.breaker_failures,
        breaker_window: config.breaker_window,
        breaker_open: config.breaker_open,
        breaker_probes: config.breaker_probes,
        key_window: config.key_window,
        keys: config.keys,
        ended_tasks: config.ended_tasks,
        ended_task_keep: config.ended_task_keep,
        dead_letter_keep: config.dead_letter_keep,
        task_events: config.task_events,
    }
}

/// How often cleaning begins, and how much it does at a time. Drawn apart, so that it changes
/// nothing else about a seed.
fn cleaning(seed: u64) -> (u64, u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xC1EA);
    let most = [1, 500, 2_000, 100_000][rng.usize(..4)];
    (every(&mut rng, 20, 600), rng.u64(1..=most))
}

/// How long what has ended is kept: mostly for longer than any run takes.
fn keep(rng: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(if rng.u8(..) < 80 { rng.u64(100..=4000) } else { 7 * DAY })
}

/// How long dead letters are kept, drawn apart like cleaning: in most runs for so short a time that
/// some are named that are past it, and others that are not.
fn letter_keep(seed: u64) -> Duration {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x1E77);
    Duration::from_millis(if rng.u8(..) < 160 { rng.u64(50..=1000) } else { 7 * DAY })
}

/// How many bytes of payloads stay in memory; drawn apart like cleaning.
fn payload_memory(seed: u64) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5B11);
    if rng.bool() { SPILLS } else { [0, 20, 100, 400][rng.usize(..4)] }
}

/// A bound that is met in some of the runs; drawn apart like cleaning.
fn few(seed: u64, which: u64) -> Option<usize> {
    let mut rng = fastrand::Rng::with_seed(seed ^ (0xFE3 + which));
    (rng.u8(..) < 80).then(|| rng.usize(1..=2))
}

/// How many dead letters there may be, and how many bytes of them; drawn apart like cleaning.
fn letters(seed: u64) -> (usize, u64) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xDEAD);
    let most = if rng.u8(..) < 100 { rng.usize(1..=5) } else { MANY_LETTERS };
    (most, if rng.u8(..) < 60 { rng.u64(20..=300) } else { PLENTY })
}

/// How often, in thousandths, the disk fails to read a payload that has left memory; drawn apart
/// like cleaning.
fn unread(seed: u64) -> u32 {
    sometimes(&mut fastrand::Rng::with_seed(seed ^ 0xBAD), 60)
}

/// How long handlers may run whose senders say nothing; drawn apart like cleaning.
fn max_run(seed: u64) -> Option<Duration> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x3A7);
    (rng.u8(..) < 50).then(|| Duration::from_millis(rng.u64(50..=600)))
}

/// A feature that is off in a third of the runs.
fn sometimes(rng: &mut fastrand::Rng, most: u32) -> u32 {
    if rng.u8(..) < 85 { 0 } else { rng.u32(1..=most) }
}

/// A fault that is off in a third of the runs.
fn every(rng: &mut fastrand::Rng, least: u64, most: u64) -> u64 {
    if rng.u8(..) < 85 { 0 } else { rng.u64(least..=most) * MS }
}

impl Faults {
    fn draw(rng: &mut fastrand::Rng, lease: u64) -> Self {
        Self {
            crash: every(rng, 60, 900),
            stop: every(rng, 300, 2500),
            down: 3000 * MS,
            pause: every(rng, 60, 1000),
            freeze: every(rng, lease, 1500),
            configure: every(rng, 100, 1500),
            jump: every(rng, 60, 1000),
            disk_error: every(rng, 150, 1500),
            full: every(rng, 100, 1500),
            congest: every(rng, 100, 1500),
            clean: 0,
            unread: 0,
            flush: rng.u64(1..=12) * MS,
        }
    }
}

impl Traffic {
    fn draw(rng: &mut fastrand::Rng) -> Self {
        Self {
            pace: rng.u64(5..=50) * MS,
            burst: rng.u32(1..=4),
            pure: rng.u8(..) < 90,
            ephemeral: sometimes(rng, 600),
            buffered: sometimes(rng, 400),
            topics: sometimes(rng, 400),
            ttl: sometimes(rng, 400),
            delay: sometimes(rng, 300),
            ordered: sometimes(rng, 600),
            keyed: sometimes(rng, 300),
            cancel: sometimes(rng, 80),
            unserved: sometimes(rng, 60),
            filters: sometimes(rng, 600),
            groups: sometimes(rng, 600),
            pending: sometimes(rng, 300),
            gather: sometimes(rng, 200),
            max_run: sometimes(rng, 200),
            nested: sometimes(rng, 300),
            control: sometimes(rng, 60),
            weights: sometimes(rng, 120),
            settings: sometimes(rng, 60),
            schedules: sometimes(rng, 40),
            letters: sometimes(rng, 200),
            directory: sometimes(rng, 60),
            impostors: sometimes(rng, 40),
            unregister: sometimes(rng, 8),
            urgent: rng.u32(0..=900),
            cut: sometimes(rng, 60),
            goodbye: sometimes(rng, 20),
            vanish: sometimes(rng, 25),
        }
    }
}

impl Work {
    fn draw(rng: &mut fastrand::Rng, lease: u64) -> Self {
        Self {
            span: rng.u64(1..=lease / 2) * MS,
            credit: rng.u32(1..=12),
            retry: sometimes(rng, 400),
            release: sometimes(rng, 200),
            pause: sometimes(rng, 250),
            fail: sometimes(rng, 200),
            dead_letter: sometimes(rng, 60),
            stall: sometimes(rng, 150),
            twice: sometimes(rng, 150),
            stale: sometimes(rng, 60),
            update: sometimes(rng, 700),
            steady: rng.u32(0..=1000),
        }
    }
}
