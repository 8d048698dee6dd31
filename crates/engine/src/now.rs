//! The time as the engine is told it.

use std::time::Duration;
use trunkline_types::WallTime;

/// The time at which something is handled. The driver reads both clocks; the engine reads none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// A clock that never goes back, for leases and timeouts.
    pub mono: Mono,
    /// The clock on the wall, for times to live and not-before times.
    pub wall: WallTime,
}

/// A moment on the monotonic clock: nanoseconds since some start that the driver chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// This moment plus a span, saturating.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// When an engine wants to be told the time next, on either clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deadline {
    /// On the monotonic clock.
    pub mono: Option<Mono>,
    /// On the wall clock.
    pub wall: Option<WallTime>,
}
