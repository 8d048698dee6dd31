//! Delays: they run on the monotonic clock, whatever the clock on the wall does meanwhile. What is
//! recorded is the time on the wall at which a delay is over, for only that clock goes on while the
//! broker is down. After a restart what is left by it counts, but no more than the whole delay: it
//! may have been set back.

use super::entry::{Moment, Place};
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::{Mono, Now};
use crate::table::EntryKey;
use std::time::Duration;
use trunkline_types::{Publish, WallTime};

impl Engine {
    /// When a delay is over that begins now.
    pub(crate) fn delay_over(&self, delay: Duration) -> Moment {
        if self.planted(Defect::DelayByTheWall) {
            return Moment::NONE;
        }
        Moment::new(Some(self.last_seen.after(delay).0))
    }

    /// When the delay is over that its sender wants for an envelope which is accepted now, unless
    /// the sender has named a later time.
    pub(crate) fn delay_of(&self, publish: &Publish, at: WallTime) -> Moment {
        let delay = publish.options.delay.filter(|&delay| at.after(delay) == publish.due(at));
        delay.map_or(Moment::NONE, |delay| self.delay_over(delay))
    }

    /// A delay that was reckoned from a moment on the monotonic clock began earlier: what is left
    /// by the wall counts, if that is less.
    pub(crate) fn cap_delay(&mut self, now: Now, key: EntryKey, from: Mono) {
        let entry = &mut self.entries[key];
        if let Some(over) = entry.delay_over().get() {
            let whole = Duration::from_nanos(over.saturating_sub(from.0));
            let left = entry.due().since(now.wall).min(whole);
            entry.set_delay_over(Moment::new(Some(now.mono.after(left).0)));
        }
    }

    /// What has waited outside since it came has had that much of its delay.
    #[inline]
    pub(crate) fn count_delay_from(&mut self, now: Now, key: EntryKey, came: WallTime) {
        if came != now.wall {
            self.cap_delay(now, key, now.mono);
        }
    }

    /// Lets every delay go on that records tell of.
    pub(crate) fn resume_delays(&mut self, now: Now) {
        let delayed = self.entries.iter().filter(|(_, entry)| entry.delay_over() != Moment::NONE);
        for key in delayed.map(|(key, _)| key).collect::<Vec<_>>() {
            self.cap_delay(now, key, Mono(0));
        }
    }

    /// Sets the timer of an entry that waits for the end of its delay.
    pub(super) fn arm_delay(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        if let Some(over) = entry.delay_over().get() {
            self.delays.arm(over, (entry.id, key));
        }
    }

    /// An entry waits no longer for the end of its delay.
    pub(super) fn disarm_delay(&mut self, key: EntryKey) {
        let entries = &self.entries;
        if entries[key].delay_over() != Moment::NONE {
            self.delays.disarm(|at, (id, key)| {
                entries.get(key).is_some_and(|entry| entry.id == id && entry.is_delayed_until(at))
            });
        }
    }

    /// Handles every entry whose delay is over.
    pub(crate) fn fire_delays(&mut self, now: Now, out: &mut Output) {
        while let Some((at, (id, key))) = self.delays.pop_due(now.mono.0) {
            let wanted = self.entries.get(key);
            if wanted.is_some_and(|entry| entry.id == id && entry.is_delayed_until(at)) {
                // Which takes it out of its place, and so counts the timer.
                self.make_ready(now, key, out);
            }
        }
    }
}

impl super::Entry {
    fn is_delayed_until(&self, at: u64) -> bool {
        self.place == Place::Delayed && self.delay_over().get() == Some(at)
    }
}
