//! The clocks: the one place where time is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use trunkline_engine::{Deadline, Mono, Now};
use trunkline_types::WallTime;

/// How long a wait for a wall-clock time may be before the clock is looked at again, because it
/// may have been set meanwhile.
const WALL_LOOK: Duration = Duration::from_mins(1);

/// Reads the wall clock.
pub(crate) fn wall() -> WallTime {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
}

/// Reads both clocks. Clones share how far they are put forward.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// How far both are ahead of this machine's, in nanoseconds. It only grows.
    ahead: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), ahead: Arc::default() }
    }

    pub(crate) fn now(&self) -> Now {
        let ahead = self.ahead();
        Now { mono: Mono(nanos(self.start.elapsed())).after(ahead), wall: wall().after(ahead) }
    }

    /// When to wake up for a deadline, on the monotonic clock.
    pub(crate) fn wake_at(now: Now, deadline: Deadline) -> Option<Mono> {
        let wall = deadline.wall.map(|at| now.mono.after(at.since(now.wall).min(WALL_LOOK)));
        match (deadline.mono, wall) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// A moment on the monotonic clock as an instant to sleep until.
    pub(crate) fn instant(&self, at: Mono) -> Instant {
        self.start + Duration::from_nanos(at.0).saturating_sub(self.ahead())
    }

    /// Puts both clocks forward.
    pub(crate) fn skip(&self, span: Duration) {
        self.ahead.fetch_add(nanos(span), Ordering::Relaxed);
    }

    fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead.load(Ordering::Relaxed))
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_is_over_on_both_clocks_and_in_all_clones() {
        let clock = Clock::new();
        let before = clock.now();
        let at = before.mono.after(Duration::from_hours(1));
        let (real, other) = (clock.instant(at), clock.clone());
        other.skip(Duration::from_mins(59));
        let after = clock.now();
        assert!(after.wall.since(before.wall) >= Duration::from_mins(59));
        assert!(after.mono >= before.mono.after(Duration::from_mins(59)));
        // What was an hour off is a minute off.
        assert_eq!(real - clock.instant(at), Duration::from_mins(59));
    }
}
