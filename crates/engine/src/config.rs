//! What can be set about an engine.

use std::time::Duration;
use trunkline_types::{Limits, Partition};

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
    /// How long a lease lasts unless renewed. Default 30 s.
    pub lease: Duration,
    /// How long a lost session may take to come back and keep its deliveries. Default 5 s.
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
    /// When a sender refused by a full inbox is told to come back. Default 100 ms.
    pub full_hint: Duration,
    /// Most inboxes in all. Default 1 million.
    pub inboxes: usize,
    /// How long an idempotency key is remembered. Default 24 h.
    pub key_window: Duration,
    /// Most idempotency keys of one tenant. Default 1 million.
    pub keys: usize,
    /// Most ended tasks that stay readable; the oldest are forgotten and counted. Default 100,000.
    pub ended_tasks: usize,
    /// Most events kept of one task; older ones show as a gap. Default 10,000.
    pub task_events: usize,
    /// Most bytes of payloads, results and events of ended tasks that stay readable. Default
    /// 256 MiB.
    pub ended_task_bytes: u64,
    /// Most bytes of events kept of one task; older ones show as a gap. Default 64 MiB.
    pub task_event_bytes: u64,
    /// Most messages that the caller of a paused task may send to it. Default 256.
    pub task_messages: usize,
    /// Most bytes of those messages, which all travel with the next delivery. Default 4 MiB.
    pub task_message_bytes: usize,
    /// Most sessions, lost ones included. Default 1 million.
    pub sessions: usize,
    /// Most dead letters; the oldest are forgotten and counted. Default 100,000.
    pub dead_letters: usize,
    /// How long the operations of a lost session are remembered, so that what it sends again is
    /// done once. Default 1 h.
    pub session_memory: Duration,
    /// Most sessions remembered after they were lost; the oldest are forgotten. Default 100,000.
    pub remembered_sessions: usize,
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
            full_hint: Duration::from_millis(100),
            inboxes: 1_000_000,
            key_window: Duration::from_hours(24),
            keys: 1_000_000,
            ended_tasks: 100_000,
            task_events: 10_000,
            ended_task_bytes: 256 << 20,
            task_event_bytes: 64 << 20,
            task_messages: 256,
            task_message_bytes: 4 << 20,
            sessions: 1_000_000,
            dead_letters: 100_000,
            session_memory: Duration::from_hours(1),
            remembered_sessions: 100_000,
            #[cfg(feature = "defects")]
            defect: None,
        }
    }
}
