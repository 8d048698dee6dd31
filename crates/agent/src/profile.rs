//! Settings of the worker pool that go well together.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Settings of the worker pool for where the broker is. What is set after
/// [`AgentBuilder::profile`](crate::AgentBuilder::profile) goes before them.
///
/// | setting | `InProcess` | `Remote` |
/// |---|---|---|
/// | [`workers`](crate::AgentBuilder::workers) | 1 to 8 | 1 to 32 |
/// | [`prefetch`](crate::AgentBuilder::prefetch) | 256 | 1,024 |
/// | [`headroom`](crate::AgentBuilder::headroom) | 2 ms | 20 ms |
/// | [`linger`](crate::Batch::linger) of batches | 0 | 1 ms |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Profile {
    /// The broker is in this process and answers within microseconds, so that little has to be
    /// held ready. The default.
    #[default]
    InProcess,
    /// The broker is across a network: a stock covers the way there and back, and a batch waits
    /// for the frame after the first.
    Remote,
}

impl Profile {
    /// How many handlers run at once.
    pub const fn workers(self) -> RangeInclusive<u32> {
        match self {
            Self::InProcess => 1..=8,
            Self::Remote => 1..=32,
        }
    }

    /// How many deliveries beyond those at work are held ready at most.
    pub const fn prefetch(self) -> u32 {
        match self {
            Self::InProcess => 256,
            Self::Remote => 1024,
        }
    }

    /// How much work is held ready, in time.
    pub const fn headroom(self) -> Duration {
        match self {
            Self::InProcess => Duration::from_millis(2),
            Self::Remote => Duration::from_millis(20),
        }
    }

    /// How long handlers of batches that don't say otherwise wait for fuller ones.
    pub const fn linger(self) -> Duration {
        match self {
            Self::InProcess => Duration::ZERO,
            Self::Remote => Duration::from_millis(1),
        }
    }
}
