//! How long handlers take, and what follows from it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Handlers that take longer are worth a settlement of their own and a second worker.
const SLOW: Duration = Duration::from_micros(20);

/// Handlers that take less are done sooner by one worker than shared between two.
const TINY: Duration = Duration::from_micros(2);

/// What a handler is taken to need before any has run: slow, so that nothing is hoarded.
const UNKNOWN: Duration = Duration::from_millis(5);

/// A moving mean of the time that handlers take, in nanoseconds. Racing updates may lose one of
/// two samples, which does no harm.
pub(super) struct Pace(AtomicU64);

impl Pace {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(nanos(UNKNOWN)))
    }

    /// Takes in that handlers took `mean` each.
    pub(super) fn record(&self, mean: Duration) {
        let old = self.0.load(Ordering::Relaxed);
        let new = old - old / 8 + nanos(mean) / 8;
        self.0.store(new, Ordering::Relaxed);
    }

    pub(super) fn mean(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn is_fast(&self) -> bool {
        self.mean() < SLOW
    }

    pub(super) fn is_tiny(&self) -> bool {
        self.mean() < TINY
    }

    /// How many deliveries to hold ready, at most `most`: what so many workers handle, each in
    /// the mean time, within the `headroom`. A power of two, so that small changes of pace don't
    /// change it.
    pub(super) fn ready(&self, workers: u32, headroom: Duration, most: u32) -> u32 {
        let mean = self.0.load(Ordering::Relaxed).max(1);
        let ahead = nanos(headroom).saturating_mul(u64::from(workers)) / mean;
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX).min(most);
        match ahead {
            0 => 0,
            ahead if ahead == most => most,
            ahead => 1 << ahead.ilog2(),
        }
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(mean: Duration) -> Pace {
        let pace = Pace::new();
        (0..200).for_each(|_| pace.record(mean));
        pace
    }

    #[test]
    fn the_longer_handlers_take_the_less_is_held_ready() {
        const HEADROOM: Duration = Duration::from_millis(2);
        assert_eq!(Pace::new().ready(1, HEADROOM, 256), 0);
        assert_eq!(after(Duration::from_secs(1)).ready(8, HEADROOM, 256), 0);
        assert_eq!(after(Duration::from_micros(900)).ready(1, HEADROOM, 256), 2);
        assert_eq!(after(Duration::from_micros(900)).ready(1, HEADROOM * 8, 256), 16);
        assert_eq!(after(Duration::from_micros(1)).ready(1, HEADROOM, 256), 256);
        assert!(after(Duration::from_micros(1)).is_fast());
        assert!(!Pace::new().is_fast());
    }
}
