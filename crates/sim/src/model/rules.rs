//! The settings the model must know, and its idea of time.

use std::time::Duration;
use trunkline_types::WallTime;

/// The engine's settings as far as laws depend on them.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) lease: Duration,
    pub(crate) resume_grace: Duration,
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_cap: Duration,
    pub(crate) losses: u32,
    /// Whether bounds on inboxes are small enough to be met.
    pub(crate) tight: bool,
    /// Most ended tasks that stay readable.
    pub(crate) ended_tasks: usize,
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
