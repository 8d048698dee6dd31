//! Doubly linked lists through the entries themselves, so that an entry leaves in constant time
//! and an empty list costs eight bytes.

use super::entry::Entry;
use crate::table::{EntryKey, Key, Table};

const NONE: u32 = u32::MAX;

/// An entry's neighbours in the one list that it is in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    previous: u32,
    next: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self { previous: NONE, next: NONE }
    }
}

/// A list of entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE }
    }
}

impl List {
    pub(crate) fn is_empty(self) -> bool {
        self.head == NONE
    }

    pub(crate) fn front(self) -> Option<EntryKey> {
        (self.head != NONE).then(|| EntryKey::from_slot(self.head))
    }

    #[cfg_attr(not(feature = "defects"), allow(dead_code))]
    pub(crate) fn back(self) -> Option<EntryKey> {
        (self.tail != NONE).then(|| EntryKey::from_slot(self.tail))
    }

    #[inline]
    pub(crate) fn push_back(&mut self, entries: &mut Table<EntryKey, Entry>, key: EntryKey) {
        entries[key].link = Link { previous: self.tail, next: NONE };
        if self.tail == NONE {
            self.head = key.slot();
        } else {
            entries[EntryKey::from_slot(self.tail)].link.next = key.slot();
        }
        self.tail = key.slot();
    }

    /// Takes an entry out. It must be in this list.
    #[inline]
    pub(crate) fn remove(&mut self, entries: &mut Table<EntryKey, Entry>, key: EntryKey) {
        let Link { previous, next } = std::mem::take(&mut entries[key].link);
        if previous == NONE {
            self.head = next;
        } else {
            entries[EntryKey::from_slot(previous)].link.next = next;
        }
        if next == NONE {
            self.tail = previous;
        } else {
            entries[EntryKey::from_slot(next)].link.previous = previous;
        }
    }

    pub(crate) fn iter(self, entries: &Table<EntryKey, Entry>) -> impl Iterator<Item = EntryKey> {
        std::iter::successors(self.front(), |&key| {
            let next = entries[key].link.next;
            (next != NONE).then(|| EntryKey::from_slot(next))
        })
    }
}
