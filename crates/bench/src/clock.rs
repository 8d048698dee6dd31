//! Time since the benchmark began, small enough to travel in a payload.

use std::time::{Duration, Instant};

/// Nanoseconds since its making. Copies share the beginning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now, in nanoseconds since the beginning.
    pub(crate) fn nanos(self) -> u64 {
        nanos(self.origin.elapsed())
    }
}

/// A span in nanoseconds, which hold 584 years.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
