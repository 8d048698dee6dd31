//! What is kept of the past goes with time: ended tasks and dead letters.
//!
//! Records say when something ended, so a replay forgets at each end, and at each operation that
//! names a dead letter, what the live engine had forgotten by then. What the live engine forgot
//! after its last record a replay has still; it goes as soon as the engine is started. A replay
//! that begins in the middle may forget something sooner, for it does not know yet of what was held
//! up before it; that too was past its time.
//!
//! No record says how much was forgotten, since that is told by what has ended and is not kept.

use crate::defect::Defect;
use crate::engine::Engine;
use crate::record::CarriedTally;
use crate::table::TenantKey;
use std::collections::BTreeMap;
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
        let ended = self.tasks.ended.iter().any(|ended| !ended.queue.is_empty());
        if !ended && self.dead_letters.is_empty() {
            return;
        }
        for class in [0, 1] {
            while let Some(&(key, _)) = self.tasks.ended[class].queue.front() {
                if !is_past(self.tasks.rows[key].updated_at(), self.config.ended_task_keep, at) {
                    break;
                }
                self.forget_oldest_task(class);
            }
        }
        let keep = self.dead_letter_keep();
        for owner in self.dead_letters.forget(|letter| is_past(letter.at, keep, at)) {
            self.tenants[owner].tally.letters_forgotten += 1;
        }
    }

    /// Finds after a replay how much of the past was forgotten: all that has ended, without what
    /// is kept and what operators took out.
    pub(crate) fn find_forgotten(&mut self) {
        let mut kept: BTreeMap<TenantKey, u64> = BTreeMap::new();
        for &(key, _) in &self.tasks.ended[0].queue {
            *kept.entry(self.tasks.rows[key].tenant).or_default() += 1;
        }
        let kept_letters = self.dead_letters.logged_of_tenants();
        let mut died: BTreeMap<TenantKey, u64> = BTreeMap::new();
        for (_, inbox) in self.inboxes.iter() {
            *died.entry(inbox.tenant).or_default() += inbox.counters.dead_lettered;
        }
        let count = |counts: &BTreeMap<_, u64>, key| counts.get(&key).copied().unwrap_or(0);
        let tenants: Vec<_> = self.tenants.iter().map(|(key, _)| key).collect();
        for key in tenants {
            let tally = &mut self.tenants[key].tally;
            let CarriedTally { completed, failed, canceled, redriven, purged, .. } = tally.recorded;
            // Behind damaged places more may be kept than records tell of.
            let ended = completed + failed + canceled;
            tally.forgotten = ended.saturating_sub(count(&kept, key));
            let gone = redriven + purged + count(&kept_letters, key);
            tally.letters_forgotten = count(&died, key).saturating_sub(gone);
        }
    }

    pub(crate) fn dead_letter_keep(&self) -> Duration {
        let keep = self.config.dead_letter_keep;
        if self.planted(Defect::KeptTooLong) { keep * 2 } else { keep }
    }

    /// When the next of it is to be forgotten.
    pub(crate) fn next_forgetting(&self) -> Option<WallTime> {
        let tasks = self.tasks.ended.iter().filter_map(|ended| ended.queue.front());
        let tasks = tasks.map(|&(key, _)| self.tasks.rows[key].updated_at());
        let tasks = tasks.map(|at| at.after(self.config.ended_task_keep));
        let letters = self.dead_letters.oldest();
        let letters = letters.map(|letter| letter.at.after(self.dead_letter_keep()));
        let next = tasks.chain(letters).min()?;
        Some(WallTime(next.0.div_ceil(STEP).saturating_mul(STEP)))
    }
}

/// Whether something that ended at `ended` is no longer kept at `at`.
pub(crate) fn is_past(ended: WallTime, keep: Duration, at: WallTime) -> bool {
    ended.after(keep) <= at
}
