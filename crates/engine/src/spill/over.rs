//! Fewer bytes may be held than are: what waits is spilled, a bounded number of entries at a time,
//! for nothing else happens in the partition meanwhile.

use crate::defect::Defect;
use crate::engine::Engine;
use crate::queue::Place;
use crate::record::EntryId;
use crate::table::{EntryKey, Key};

/// How many entries are looked at in one step.
const STEP: u32 = 1024;

/// How far it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Over {
    /// The slots of entries that are still to be looked at are those below. What came last is by
    /// and large in the highest ones, and is delivered last.
    slots: u32,
    /// The entry that was spilled last.
    last: EntryId,
    /// Whether they all were spilled in the reverse of their order, as they are to be listed.
    in_order: bool,
}

impl Engine {
    /// Begins to spill until no more is held than may be, if that has changed.
    pub(crate) fn spill_over(&mut self) {
        if self.planted(Defect::IgnoredMemoryBound) {
            return;
        }
        let (slots, last) = (self.entries.slots(), EntryId(u64::MAX));
        self.spill.over = Some(Over { slots, last, in_order: true });
        self.spill_on();
    }

    /// Whether more is held than may be, and [`Engine::tick`] is to be called again and again until
    /// that is no longer so.
    pub fn is_spilling(&self) -> bool {
        self.spill.over.is_some()
    }

    /// Goes on with it for a step.
    pub(crate) fn spill_on(&mut self) {
        let Some(mut over) = self.spill.over.take() else { return };
        let until = over.slots.saturating_sub(STEP);
        while over.slots > until && self.holds_too_much() {
            over.slots -= 1;
            self.spill_slot(EntryKey::from_slot(over.slots), &mut over);
        }
        if over.slots > 0 && self.holds_too_much() {
            self.spill.over = Some(over);
        } else if !over.in_order {
            for inbox in self.inboxes.iter_mut() {
                inbox.list_again(&self.entries);
            }
        }
    }

    fn holds_too_much(&self) -> bool {
        self.spill.figures.memory_bytes > self.config.payload_memory
    }

    fn spill_slot(&mut self, key: EntryKey, over: &mut Over) {
        let Some(entry) = self.entries.get(key) else { return };
        if !self.may_spill(entry) || self.is_next(key) {
            return;
        }
        let (id, lane, inbox) = (entry.id, crate::queue::lane_of(entry), entry.inbox);
        let is_listed = entry.place == Place::Ready;
        self.spill(key);
        if is_listed && let Some(ahead) = &mut self.inboxes[inbox].ahead {
            ahead.list_first(lane, key, id);
            over.in_order &= id < over.last;
            over.last = id;
        }
    }
}
