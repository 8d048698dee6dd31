//! Ordering keys: strictly in order of acceptance, one in flight.

use super::entry::{Entry, Place};
use crate::engine::Engine;
use crate::map::map;
use crate::room::give_back;
use crate::table::EntryKey;
use std::collections::VecDeque;

impl Engine {
    /// Puts an accepted entry at the end of its key's queue, if it has a key.
    pub(crate) fn key_join(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        let Some(ordering) = entry.body.ordering_key().cloned() else { return };
        let seed = self.config.seed;
        let keys = self.inboxes[entry.inbox].keys.get_or_insert_with(|| Box::new(map(seed)));
        keys.entry(ordering).or_default().push_back(key);
    }

    /// Puts a continued entry back, in order of acceptance, but behind one that is in flight. So
    /// where it stands depends on no history but its own and that of the one in flight.
    pub(crate) fn key_rejoin(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        let Some(ordering) = entry.body.ordering_key().cloned() else { return };
        let seed = self.config.seed;
        let keys = self.inboxes[entry.inbox].keys.get_or_insert_with(|| Box::new(map(seed)));
        let queue = keys.entry(ordering).or_default();
        let id = entry.id;
        let holds = |head: &EntryKey| self.entries[*head].holds_key();
        let in_flight = queue.front().is_some_and(holds);
        let rest = queue.iter().skip(usize::from(in_flight));
        let older = rest.take_while(|&&other| self.entries[other].id < id).count();
        let at = if holds(&key) { 0 } else { usize::from(in_flight) + older };
        queue.insert(at, key);
        // A head that had only been ready gives way again.
        let displaced = (at == 0).then(|| queue.get(1).copied()).flatten();
        if let Some(head) = displaced.filter(|&head| self.entries[head].place == Place::Ready) {
            self.unqueue(head);
            self.put(head, Place::Blocked);
        }
    }

    /// Whether an entry must wait for another one with its key.
    #[inline]
    pub(crate) fn key_blocks(&self, key: EntryKey) -> bool {
        let entry = &self.entries[key];
        entry.ordered
            && !self.planted(crate::defect::Defect::IgnoredOrderingKey)
            && self.is_behind(key, entry)
    }

    fn is_behind(&self, key: EntryKey, entry: &Entry) -> bool {
        let Some(ordering) = entry.body.ordering_key() else { return false };
        let queue = self.inboxes[entry.inbox].keys.as_ref().and_then(|keys| keys.get(ordering));
        queue.is_some_and(|queue| queue.front() != Some(&key))
    }

    /// Takes an entry out of its key's queue. Returns the entry that was blocked by it and no
    /// longer is; it counts as staged until the caller lets it go.
    #[inline]
    pub(crate) fn key_leave(&mut self, key: EntryKey) -> Option<EntryKey> {
        if self.entries[key].ordered { self.leave_key_queue(key) } else { None }
    }

    fn leave_key_queue(&mut self, key: EntryKey) -> Option<EntryKey> {
        let entry = &self.entries[key];
        let inbox = entry.inbox;
        let ordering = entry.body.ordering_key().cloned()?;
        let keys = self.inboxes[inbox].keys.as_mut()?;
        let queue = keys.get_mut(&ordering)?;
        let was_head = queue.front() == Some(&key);
        if was_head {
            queue.pop_front();
        } else {
            queue.retain(|&other| other != key);
        }
        let next = queue.front().copied().filter(|_| was_head);
        if queue.is_empty() {
            keys.remove(&ordering);
            if keys.is_empty() {
                self.inboxes[inbox].keys = None;
            }
        } else {
            give_back(queue, 64);
        }
        let next = next.filter(|&next| self.entries[next].place == Place::Blocked)?;
        self.put(next, Place::Staged);
        Some(next)
    }

    /// The queue of a key, for checks.
    pub(crate) fn key_queue(&self, key: EntryKey) -> Option<&VecDeque<EntryKey>> {
        let entry = &self.entries[key];
        let ordering = entry.body.ordering_key()?;
        self.inboxes[entry.inbox].keys.as_ref()?.get(ordering)
    }
}
