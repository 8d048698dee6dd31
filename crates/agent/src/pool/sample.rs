//! Measures handlers without reading the clock more often than it is worth.

use super::cell::Cell;
use super::queue::Pool;
use std::time::{Duration, Instant};

/// How many fast handlers make one measurement of time.
const SAMPLE: u32 = 16;

/// A worker that keeps its thread for this long without awaiting anything holds up others.
const BLOCKED: Duration = Duration::from_millis(100);

/// Measures handlers that are not awaited: each one while they are slow, several together while
/// they are fast, because reading the clock is not free.
pub(super) struct Sample {
    since: Instant,
    count: u32,
}

impl Sample {
    pub(super) fn begin() -> Self {
        Self { since: Instant::now(), count: 0 }
    }

    /// When it began.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn count(&mut self, pool: &Pool, cell: &Cell, handled: u32) {
        self.count += handled;
        if self.count >= SAMPLE || !pool.pace.is_fast() {
            self.end(pool, cell);
        }
    }

    pub(super) fn end(&mut self, pool: &Pool, cell: &Cell) {
        if self.count > 0 {
            let now = Instant::now();
            let span = now.duration_since(self.since);
            pool.pace.record(span / self.count);
            note_if_blocked(cell, span);
            *self = Self { since: now, count: 0 };
        }
    }

    /// A handler is to be awaited. It and those before it have kept the thread until now.
    pub(super) fn interrupt(&self, cell: &Cell, now: Instant) {
        note_if_blocked(cell, now.duration_since(self.since));
    }
}

/// Notes that a worker kept its thread for so long, if that is long.
pub(super) fn note_if_blocked(cell: &Cell, span: Duration) {
    if span >= BLOCKED {
        cell.hands.lock().tally.blocked += 1;
        tracing::warn!(
            worker = cell.number,
            ?span,
            "a handler kept its thread without awaiting anything; `blocking` gives it one of its own"
        );
    }
}
