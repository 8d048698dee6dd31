//! The settings the model must know, and its idea of time.

use std::time::Duration;
use trunkline_types::{Routing, WallTime, WhenFull};

/// The engine's settings as far as laws depend on them.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) lease: Duration,
    pub(crate) resume_grace: Duration,
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_cap: Duration,
    pub(crate) losses: u32,
    /// Most logged envelopes in one inbox.
    pub(crate) inbox_logged: u64,
    /// Most ephemeral envelopes in one inbox.
    pub(crate) inbox_ephemeral: u64,
    /// Most publishes that wait outside one inbox.
    pub(crate) waiting_outside: usize,
    /// Most events that wait for their time or for somebody.
    pub(crate) pending_events: usize,
    /// From which percentage on senders are told to slow down, and to which pace at most.
    pub(crate) warning: u8,
    pub(crate) pressure_pace: Duration,
    /// How many deliveries the priorities get out of each round.
    pub(crate) weights: [u8; 4],
    /// Whether bounds on inboxes are small enough to be met.
    pub(crate) tight: bool,
    /// Whether payloads leave memory, so that a priority may have to wait for one.
    pub(crate) spills: bool,
    /// Most bytes of payloads of waiting work in memory.
    pub(crate) payload_memory: u64,
    /// Most inboxes that one logged envelope goes to.
    pub(crate) logged_copies: usize,
    /// What happens when an inbox is full whose settings say nothing else.
    pub(crate) when_full: WhenFull,
    /// How long a publish waits outside a full inbox whose settings say nothing else.
    pub(crate) wait: Duration,
    /// Most schedules.
    pub(crate) schedules: usize,
    /// Most agents that one request gathers answers from.
    pub(crate) gather_agents: usize,
    /// How long a handler may run if its sender says nothing.
    pub(crate) max_run: Option<Duration>,
    /// Who gets what from the inbox of a skill whose settings say nothing else.
    pub(crate) routing: Routing,
    /// How many failures open a circuit breaker; 0 for none.
    pub(crate) breaker_failures: u32,
    pub(crate) breaker_window: Duration,
    pub(crate) breaker_open: Duration,
    /// How many probes may be under way, and must succeed.
    pub(crate) breaker_probes: u32,
    /// For how long an idempotency key is accepted once.
    pub(crate) key_window: Duration,
    /// Most idempotency keys.
    pub(crate) keys: usize,
    /// Most ended tasks that stay readable.
    pub(crate) ended_tasks: usize,
    /// How long ended tasks stay readable.
    pub(crate) ended_task_keep: Duration,
    /// Most dead letters, and most bytes of them.
    pub(crate) dead_letters: (usize, u64),
    /// How long dead letters are kept.
    pub(crate) dead_letter_keep: Duration,
    /// Most events kept of one task.
    pub(crate) task_events: usize,
}

/// A moment on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Moment {
    /// Nanoseconds on the clock that never goes back.
    pub(crate) mono: u64,
    /// The clock on the wall.
    pub(crate) wall: WallTime,
}

impl Rules {
    /// The longest backoff after the attempt with this number.
    pub(crate) fn backoff(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(20);
        self.backoff_base.saturating_mul(1 << doublings).min(self.backoff_cap)
    }
}

/// A span in nanoseconds.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
