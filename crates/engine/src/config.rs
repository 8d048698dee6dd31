//! What can be set about an engine.

use crate::key_index::KeyIndex;
use crate::rules::{NoRules, Rules};
use crate::settle::LetterIndex;
use crate::spill::PayloadStore;
use crate::task::TaskIndex;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::{Limits, Partition, Routing, WhenFull};

/// Settings of one engine. Every span is exact; every bound is enforced at admission.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Which partition this is.
    pub partition: Partition,
    /// Seeds the jitter of backoff and the hash maps. The same seed and commands give the same
    /// records and effects.
    pub seed: u64,
    /// Whether there is a log. Without one nothing outlives the process and everything is
    /// treated as ephemeral, whatever was asked.
    pub logged: bool,
    /// Bounds on envelopes and sessions.
    pub limits: Limits,
    /// How long a lease lasts unless renewed. A session is told with its welcome, and its leases
    /// last so long until its next one, whatever is set meanwhile. Default 30 s.
    pub lease: Duration,
    /// How long a lost session may take to come back and keep its deliveries. Default 5 s. While
    /// the broker has been back for less than a lease, from a restart or from an absence of its
    /// own, it is a whole lease.
    pub resume_grace: Duration,
    /// The first backoff of a retry; it doubles with each attempt. Default 100 ms.
    pub backoff_base: Duration,
    /// The longest backoff. The delay is drawn evenly between zero and the backoff. Default 30 s.
    pub backoff_cap: Duration,
    /// How often a delivery may be lost with its session before its handler began, until each
    /// further loss counts as an attempt. Default 10.
    pub losses: u32,
    /// How late its own timer may be until the engine concludes that it was the broker that was
    /// away, and extends every lease by that time. Default 500 ms.
    pub absence_tolerance: Duration,
    /// Most ephemeral envelopes in one inbox. Default 10,000.
    pub inbox_ephemeral: u32,
    /// Most bytes of ephemeral payloads in one inbox. Default 64 MiB.
    pub inbox_ephemeral_bytes: u64,
    /// Most logged envelopes in one inbox. Default 10 million.
    pub inbox_logged: u64,
    /// Most bytes of payloads that one session may hold, of deliveries and of unacknowledged
    /// events each; one of either it may hold however large. Default 16 MiB.
    pub session_bytes: u64,
    /// When a sender refused by a full inbox is told to come back. Default 100 ms.
    pub full_hint: Duration,
    /// Most inboxes in all. Default 1 million.
    pub inboxes: usize,
    /// How long an idempotency key is remembered. Default 24 h.
    pub key_window: Duration,
    /// Most idempotency keys of one tenant. Default 1 million.
    pub keys: usize,
    /// Most ended tasks in memory; the oldest are forgotten and counted. With an index they leave
    /// memory for it and are not forgotten before it has them. Default 100,000.
    pub ended_tasks: usize,
    /// How many of the latest ended tasks stay in memory although the index has them, so that who
    /// asks at once need not go to the disk. Default 1,000.
    pub recent_tasks: usize,
    /// How long an ended task stays readable, unless one of the bounds on ended tasks is reached
    /// before. Default 7 days.
    pub ended_task_keep: Duration,
    /// Most events kept of one task; older ones show as a gap. Default 10,000.
    pub task_events: usize,
    /// Most bytes of payloads, results and events of ended tasks in memory, likewise. Default
    /// 256 MiB.
    pub ended_task_bytes: u64,
    /// About how many bytes of ended tasks there are in the index at most; the oldest are forgotten
    /// and counted. For the driver, like the time they are kept, once they have left memory.
    /// Default 10 GiB.
    pub ended_task_disk_bytes: u64,
    /// Most bytes of events kept of one task; older ones show as a gap. Default 64 MiB.
    pub task_event_bytes: u64,
    /// Most messages that the caller of a paused task may send to it. Default 256.
    pub task_messages: usize,
    /// Most bytes of those messages, which all travel with the next delivery. Default 4 MiB.
    pub task_message_bytes: usize,
    /// Most sessions, lost ones included. Default 1 million.
    pub sessions: usize,
    /// Most dead letters in memory, logged and ephemeral ones each; the oldest are forgotten and
    /// counted. With an index logged ones leave memory for it and are not forgotten then. Default
    /// 100,000.
    pub dead_letters: usize,
    /// Most bytes of dead letters in memory, likewise: their payloads and headers, as they were sent
    /// if they cannot be read any more, and reasons. The latest is kept however large. Default
    /// 256 MiB.
    pub dead_letter_bytes: u64,
    /// About how many bytes of dead letters there are in the index at most; the oldest are forgotten
    /// and counted. For the driver, like the time they are kept, once they have left memory.
    /// Default 10 GiB.
    pub dead_letter_disk_bytes: u64,
    /// How long a dead letter is kept, unless one of the bounds on dead letters is reached before;
    /// then it is forgotten and counted. Default 7 days.
    pub dead_letter_keep: Duration,
    /// How long the operations of a lost session are remembered, so that what it sends again is
    /// done once. Default 1 h.
    pub session_memory: Duration,
    /// Most sessions remembered after they were lost; the oldest are forgotten. Default 100,000.
    pub remembered_sessions: usize,
    /// What the engine asks about filters and cron expressions, whose libraries it shall not know.
    /// By default there are none of either.
    pub rules: Arc<dyn Rules>,
    /// Where idempotency keys lie that have left memory; `None` to keep all of them in memory.
    pub key_index: Option<Arc<dyn KeyIndex>>,
    /// Where ended tasks lie that have left memory; `None` to forget them then. One index has keys,
    /// tasks and letters, so that [`Command::Indexed`](crate::Command::Indexed) tells of all.
    pub task_index: Option<Arc<dyn TaskIndex>>,
    /// Where logged dead letters lie, which leave memory as soon as they are there; `None` to keep
    /// them in memory.
    pub letter_index: Option<Arc<dyn LetterIndex>>,
    /// Most bytes of payloads of waiting logged work that stay in memory, over all inboxes; what
    /// goes to many at once is not among it, for its copies share it. Beyond that they are read from
    /// the log again ahead of their delivery; what is held and what is about to be delivered comes
    /// on top. Default 256 MiB.
    pub payload_memory: u64,
    /// Where payloads are read that have left memory; `None` to keep all of them in memory.
    pub payloads: Option<Arc<dyn PayloadStore>>,
    /// How many deliveries out of each round the priorities get while all have work, from low to
    /// urgent, each 1 to 255. Default 1, 2, 4, 8.
    pub priority_weights: [u8; 4],
    /// What happens when an inbox is full and its settings say nothing else. Default reject.
    pub when_full: WhenFull,
    /// How long a publish waits outside a full inbox whose settings say nothing else. Default 5 s.
    pub wait: Duration,
    /// Most publishes that wait outside one full inbox; what comes then is refused. Default 1,000.
    pub waiting_outside: usize,
    /// Most bytes of their payloads; what comes then is refused. Default 16 MiB.
    pub waiting_outside_bytes: u64,
    /// From which percentage of its bound an inbox puts pressure on those who send to it, 1 to
    /// 100; the pressure ends 20 below. Default 80.
    pub warning: u8,
    /// The pace that a sender is told when an inbox is all but full; at the warning threshold it
    /// is zero. Default 20 ms.
    pub pressure_pace: Duration,
    /// Who gets what from the inbox of a skill whose settings say nothing else. Default
    /// least-loaded.
    pub routing: Routing,
    /// How many failures within the window, with no success in between, open the circuit breaker
    /// between an agent and an inbox; 0 for no breakers. Default 5.
    pub breaker_failures: u32,
    /// How far back failures count. Default 60 s.
    pub breaker_window: Duration,
    /// How long a circuit breaker stays open before it lets probes through. Default 30 s.
    pub breaker_open: Duration,
    /// How many probes must succeed, and how many may be under way, before it closes. Default 1.
    pub breaker_probes: u32,
    /// How long a handler may run if its sender says nothing, however often it heartbeats; `None`
    /// for as long as it likes. Default none.
    pub max_run: Option<Duration>,
    /// Most schedules of one tenant. Default 10,000.
    pub schedules: usize,
    /// Most bytes of the schedules of one tenant: what they publish and when. Default 64 MiB.
    pub schedule_bytes: u64,
    /// Most inboxes that one logged envelope goes to, for one record names them all. Default
    /// 10,000.
    pub logged_copies: usize,
    /// Most agents that one request gathers answers from. Default 1,000.
    pub gather_agents: usize,
    /// Most bytes of answers that one tenant's requests hold which wait for more; an answer
    /// beyond that is left out. Default 64 MiB.
    pub gather_bytes: u64,
    /// Most events of one tenant that wait for their time or for a first subscriber. Default
    /// 100,000.
    pub pending_events: usize,
    /// Most bytes of the payloads of those that are logged; of the ephemeral ones there are as many
    /// as one inbox may hold. Default 256 MiB.
    pub pending_event_bytes: u64,
    /// Most messages, tasks apart, whose end is remembered for those who ask; the oldest are
    /// forgotten. Default 65,536.
    pub ended_messages: usize,
    /// Most agents that one session may follow in the directory. Default 10,000.
    pub watched_agents: usize,
    /// The log is not cleaned while its segments have no more bytes than this. Default 256 MiB.
    pub clean_min_bytes: u64,
    /// The log is cleaned when its segments have more bytes than so many percent of what is live in
    /// it; at least 150. With everything else, records are written `percent / (percent - 100)`
    /// times at most in the long run. Default 250.
    pub clean_percent: u32,
    /// About how many bytes of records one step of cleaning writes; the last thing of a step may
    /// exceed it. Default 256 KiB.
    pub clean_step_bytes: u64,
    /// Which defect is planted, to prove that the simulator finds it.
    #[cfg(feature = "defects")]
    pub defect: Option<crate::Defect>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            partition: Partition::default(),
            seed: 0,
            logged: true,
            limits: Limits::default(),
            lease: Duration::from_secs(30),
            resume_grace: Duration::from_secs(5),
            backoff_base: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(30),
            losses: 10,
            absence_tolerance: Duration::from_millis(500),
            inbox_ephemeral: 10_000,
            inbox_ephemeral_bytes: 64 << 20,
            inbox_logged: 10_000_000,
            session_bytes: 16 << 20,
            full_hint: Duration::from_millis(100),
            inboxes: 1_000_000,
            key_window: Duration::from_hours(24),
            keys: 1_000_000,
            ended_tasks: 100_000,
            recent_tasks: 1000,
            ended_task_keep: Duration::from_hours(7 * 24),
            task_events: 10_000,
            ended_task_bytes: 256 << 20,
            ended_task_disk_bytes: 10 << 30,
            task_event_bytes: 64 << 20,
            task_messages: 256,
            task_message_bytes: 4 << 20,
            sessions: 1_000_000,
            dead_letters: 100_000,
            dead_letter_bytes: 256 << 20,
            dead_letter_disk_bytes: 10 << 30,
            dead_letter_keep: Duration::from_hours(7 * 24),
            session_memory: Duration::from_hours(1),
            remembered_sessions: 100_000,
            rules: Arc::new(NoRules),
            key_index: None,
            task_index: None,
            letter_index: None,
            payload_memory: 256 << 20,
            payloads: None,
            priority_weights: [1, 2, 4, 8],
            when_full: WhenFull::Reject,
            wait: Duration::from_secs(5),
            waiting_outside: 1000,
            waiting_outside_bytes: 16 << 20,
            warning: 80,
            pressure_pace: Duration::from_millis(20),
            routing: Routing::LeastLoaded,
            breaker_failures: 5,
            breaker_window: Duration::from_mins(1),
            breaker_open: Duration::from_secs(30),
            breaker_probes: 1,
            max_run: None,
            schedules: 10_000,
            schedule_bytes: 64 << 20,
            logged_copies: 10_000,
            gather_agents: 1000,
            gather_bytes: 64 << 20,
            pending_events: 100_000,
            pending_event_bytes: 256 << 20,
            ended_messages: 65_536,
            watched_agents: 10_000,
            clean_min_bytes: 256 << 20,
            clean_percent: 250,
            clean_step_bytes: 256 << 10,
            #[cfg(feature = "defects")]
            defect: None,
        }
    }
}
