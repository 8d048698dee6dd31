//! The clocks: the one place where time is read.

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

/// Reads both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        let mono = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now { mono: Mono(mono), wall: wall() }
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
        self.start + Duration::from_nanos(at.0)
    }
}
