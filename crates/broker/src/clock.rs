//! The clocks: the one place where time is read.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use trunkline_engine::{Deadline, Mono, Now};
use trunkline_types::WallTime;

/// How long a wait for a wall-clock time may be before the clock is looked at again, because it
/// may have been set meanwhile.
const WALL_LOOK: Duration = Duration::from_mins(1);

/// How old a reading of the wall clock may be where turns follow each other closely. It counts
/// milliseconds, so that it would nearly always read the same.
const WALL_AGE: Duration = Duration::from_micros(200);

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
        Now { mono: self.mono(), wall: wall() }
    }

    /// The same for who asks again and again: the wall clock is spared while the last reading of
    /// both is young.
    pub(crate) fn now_after(&self, read: &mut Now) -> Now {
        let mono = self.mono();
        if read.mono == Mono(0) || mono > read.mono.after(WALL_AGE) {
            *read = Now { mono, wall: wall() };
        }
        Now { mono, wall: read.wall }
    }

    fn mono(&self) -> Mono {
        Mono(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
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
