//! Moving entries between places, and their timers.

use super::entry::{Moment, Place};
use super::inbox::Owner;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::record::{End, EntryId};
use crate::table::EntryKey;

impl Engine {
    /// Notes that an entry is in another place. Lists are the caller's business.
    #[inline]
    pub(crate) fn put(&mut self, key: EntryKey, place: Place) {
        let entry = &mut self.entries[key];
        self.inboxes[entry.inbox].put(entry, place);
    }

    /// Takes an entry out of whatever list it is in; afterwards it counts as staged.
    pub(crate) fn unqueue(&mut self, key: EntryKey) {
        self.take_out(key);
        self.put(key, Place::Staged);
    }

    /// Takes an entry out of whatever list it is in. Where it is after that is for the caller to
    /// say, at once.
    #[inline]
    pub(crate) fn take_out(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        match entry.place {
            Place::Ready => {
                let inbox = &mut self.inboxes[entry.inbox];
                if inbox.owner == Owner::Pending {
                    self.unpark(key);
                } else {
                    inbox.remove(&mut self.entries, key);
                }
            }
            Place::Leased => self.unlease(key),
            Place::Delayed => self.disarm_delay(key),
            Place::Staged | Place::Blocked | Place::Paused => {}
        }
    }

    /// A staged entry goes on: it waits for its time, for its key, or to be delivered.
    pub(crate) fn make_ready(&mut self, now: Now, key: EntryKey, out: &mut Output) {
        let entry = &self.entries[key];
        if entry.expires_at.is_over(now.wall) {
            self.end_entry(now, key, End::Expired, out);
            return;
        }
        let (inbox, was_delayed) = (entry.inbox, entry.place == Place::Delayed);
        if was_delayed {
            self.unqueue(key);
        }
        if self.entries[key].waits(now) {
            self.put(key, Place::Delayed);
            self.set_timer(key);
            self.arm_delay(key);
            self.spill_if_tight(key);
            return;
        }
        if self.inboxes[inbox].owner == Owner::Pending {
            self.pending_due(now, key, out);
            return;
        }
        if self.key_blocks(key) {
            self.put(key, Place::Blocked);
        } else {
            self.inboxes[inbox].push(&mut self.entries, key);
            self.put(key, Place::Ready);
            self.dispatch_inbox(now, inbox, out);
        }
        self.spill_if_tight(key);
        if was_delayed && self.entries.get(key).is_some() {
            self.set_timer(key);
        }
    }

    /// Sets the entry's timer for what it waits for next, if that has changed.
    pub(crate) fn set_timer(&mut self, key: EntryKey) {
        let entry = &mut self.entries[key];
        let wanted = entry.wake_at();
        if entry.timer == Moment::new(wanted) {
            return;
        }
        self.clear_timer(key);
        if self.planted(crate::defect::Defect::MissedTimer) && self.rng.u8(..) < 16 {
            return;
        }
        if let Some(at) = wanted {
            let entry = &mut self.entries[key];
            entry.timer = Moment::new(Some(at));
            self.wall_timers.arm(at, (entry.id, key));
        }
    }

    pub(crate) fn clear_timer(&mut self, key: EntryKey) {
        if self.entries[key].timer != Moment::NONE {
            self.entries[key].timer = Moment::NONE;
            let entries = &self.entries;
            self.wall_timers.disarm(|at, (id, key)| {
                entries
                    .get(key)
                    .is_some_and(|entry| entry.id == id && entry.timer.get() == Some(at))
            });
        }
    }

    /// Handles every entry whose time has come.
    pub(crate) fn fire_wall_timers(&mut self, now: Now, out: &mut Output) {
        while let Some((at, (id, key))) = self.wall_timers.pop_due(now.wall.0) {
            if self.is_timer(at, id, key) {
                self.wall_timers.fired();
                self.entries[key].timer = Moment::NONE;
                self.on_entry_timer(now, key, out);
            }
        }
    }

    fn is_timer(&self, at: u64, id: EntryId, key: EntryKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.id == id && entry.timer.get() == Some(at))
    }

    fn on_entry_timer(&mut self, now: Now, key: EntryKey, out: &mut Output) {
        let entry = &self.entries[key];
        if entry.expires_at.is_over(now.wall) {
            self.end_entry(now, key, End::Expired, out);
        } else if entry.place == Place::Delayed && !entry.waits(now) {
            self.make_ready(now, key, out);
        } else {
            self.set_timer(key);
        }
    }
}
