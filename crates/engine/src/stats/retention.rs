//! What is kept of the past goes with time: ended tasks and dead letters.
//!
//! Records say when something ended, so a replay forgets at each end, and at each operation that
//! names a dead letter, what the live engine had forgotten by then. What the live engine forgot
//! after its last record a replay has still; it goes as soon as the engine is started.

use crate::engine::Engine;
use std::time::Duration;
use trunkline_types::WallTime;

/// How far apart the times are at which the engine looks: so many milliseconds. What ends at a
/// high rate would otherwise wake it as often once its time has come.
const STEP: u64 = 1000;

impl Engine {
    /// Forgets what was over so long before a time that it is not kept any longer. They go in the
    /// order in which they ended, so that one that ended while the wall clock was ahead holds up
    /// those after it until its own time has come: a replay does the same.
    pub(crate) fn forget_past(&mut self, at: WallTime) {
        for class in [0, 1] {
            while let Some(&(key, _)) = self.tasks.ended[class].queue.front() {
                if !is_past(self.tasks.rows[key].updated_at, self.config.ended_task_keep, at) {
                    break;
                }
                self.forget_oldest_task(class);
            }
        }
        let keep = self.config.dead_letter_keep;
        for owner in self.dead_letters.forget(|letter| is_past(letter.at, keep, at)) {
            self.tenants[owner].tally.letters_forgotten += 1;
        }
    }

    /// When the next of it is to be forgotten.
    pub(crate) fn next_forgetting(&self) -> Option<WallTime> {
        let tasks = self.tasks.ended.iter().filter_map(|ended| ended.queue.front());
        let tasks = tasks.map(|&(key, _)| self.tasks.rows[key].updated_at);
        let tasks = tasks.map(|at| at.after(self.config.ended_task_keep));
        let letters = self.dead_letters.oldest();
        let letters = letters.map(|letter| letter.at.after(self.config.dead_letter_keep));
        let next = tasks.chain(letters).min()?;
        Some(WallTime(next.0.div_ceil(STEP).saturating_mul(STEP)))
    }
}

/// Whether something that ended at `ended` is no longer kept at `at`.
pub(crate) fn is_past(ended: WallTime, keep: Duration, at: WallTime) -> bool {
    ended.after(keep) <= at
}
