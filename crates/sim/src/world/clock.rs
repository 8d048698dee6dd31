//! Virtual time. Events happen in world time; a freeze of the whole machine moves both clocks
//! but no event, and the wall clock also jumps on its own.

use crate::model::Moment;
use trunkline_engine::{Deadline, Mono, Now};
use trunkline_types::WallTime;

const MS: u64 = 1_000_000;

/// The clocks of one run. All in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// World time.
    pub(crate) time: u64,
    /// How far the monotonic clock is ahead of world time.
    frozen: u64,
    /// How far the wall clock is ahead of world time.
    wall: u64,
    /// The latest time that the wall clock has shown before it was set back.
    latest: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { time: 0, frozen: 1000 * MS, wall: 1_700_000_000_000 * MS, latest: 0 }
    }

    pub(crate) fn now(&self) -> Now {
        let wall = (self.time + self.wall) / MS;
        Now { mono: Mono(self.time + self.frozen), wall: WallTime(wall) }
    }

    pub(crate) fn moment(&self) -> Moment {
        let Now { mono, wall } = self.now();
        Moment { mono: mono.0, wall }
    }

    /// The machine stands still for a while.
    pub(crate) fn freeze(&mut self, span: u64) {
        self.frozen += span;
        self.wall += span;
    }

    /// The wall clock is set.
    pub(crate) fn jump(&mut self, span: i64) {
        self.latest = self.latest.max(self.time + self.wall);
        self.wall = self.wall.saturating_add_signed(span);
    }

    /// How far the wall clock is behind the latest time that it has shown.
    pub(crate) fn behind(&self) -> i64 {
        i64::try_from(self.latest.saturating_sub(self.time + self.wall)).unwrap_or(i64::MAX)
    }

    /// The world time of a deadline.
    pub(crate) fn world_time(&self, deadline: Deadline) -> Option<u64> {
        let mono = deadline.mono.map(|at| at.0.saturating_sub(self.frozen));
        let wall = deadline.wall.map(|at| at.0.saturating_mul(MS).saturating_sub(self.wall));
        match (mono, wall) {
            (Some(mono), Some(wall)) => Some(mono.min(wall)),
            (mono, wall) => mono.or(wall),
        }
    }
}
