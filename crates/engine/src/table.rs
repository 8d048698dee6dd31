//! Typed slabs: tables whose keys cannot be mixed up.

use crate::room::KEPT;
use slab::Slab;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// A key into a [`Table`].
pub(crate) trait Key: Copy + Eq {
    /// The key of a slot.
    fn from_slot(slot: u32) -> Self;
    /// The slot of the key.
    fn slot(self) -> u32;
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub(crate) struct $name(u32);
        impl $crate::table::Key for $name {
            fn from_slot(slot: u32) -> Self {
                Self(slot)
            }
            fn slot(self) -> u32 {
                self.0
            }
        }
    };
}

key!(
    /// An inbox entry.
    EntryKey
);
key!(
    /// A lease.
    LeaseKey
);
key!(
    /// An inbox.
    InboxKey
);
key!(
    /// A registered agent.
    AgentKey
);
key!(
    /// A session.
    SessionKey
);
key!(
    /// A task.
    TaskKey
);
key!(
    /// A gathering of answers.
    GatherKey
);
key!(
    /// A tenant.
    TenantKey
);

/// A key that may be missing, in no more room than one that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maybe<K> {
    /// No table has as many slots as the highest number.
    slot: u32,
    key: PhantomData<K>,
}

impl<K: Key> Default for Maybe<K> {
    fn default() -> Self {
        Self::NONE
    }
}

impl<K: Key> Maybe<K> {
    pub(crate) const NONE: Self = Self { slot: u32::MAX, key: PhantomData };

    pub(crate) fn new(key: K) -> Self {
        Self { slot: key.slot(), key: PhantomData }
    }

    pub(crate) fn get(self) -> Option<K> {
        (self.slot != u32::MAX).then(|| K::from_slot(self.slot))
    }

    /// Whether there is none.
    pub(crate) fn is_none(self) -> bool {
        self.slot == u32::MAX
    }

    pub(crate) fn is_some(self) -> bool {
        !self.is_none()
    }
}

impl<K: Key> From<Option<K>> for Maybe<K> {
    fn from(key: Option<K>) -> Self {
        key.map_or(Self::NONE, Self::new)
    }
}

/// A slab with keys of its own type. Slots are reused, lowest recently freed first, which is
/// deterministic.
#[derive(Debug)]
pub(crate) struct Table<K, T> {
    slots: Slab<T>,
    key: PhantomData<K>,
}

impl<K: Key, T> Table<K, T> {
    pub(crate) fn new() -> Self {
        Self { slots: Slab::new(), key: PhantomData }
    }

    pub(crate) fn insert(&mut self, value: T) -> K {
        let slot = self.slots.insert(value);
        debug_assert!(slot < u32::MAX as usize, "the highest number is no slot");
        K::from_slot(u32::try_from(slot).expect("tables are bounded far below 2^32 rows"))
    }

    pub(crate) fn remove(&mut self, key: K) -> T {
        let row = self.slots.remove(key.slot() as usize);
        if self.slots.is_empty() && self.slots.capacity() > KEPT {
            // As many rows were inserted as are now let go of, so that this costs each a little.
            self.slots.shrink_to_fit();
        }
        row
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        self.slots.get(key.slot() as usize)
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        self.slots.get_mut(key.slot() as usize)
    }

    /// No row is in this slot or in a later one.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.slots.capacity()).unwrap_or(u32::MAX)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().map(|(_, value)| value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().map(|(slot, value)| {
            #[allow(clippy::cast_possible_truncation, reason = "checked when it was inserted")]
            (K::from_slot(slot as u32), value)
        })
    }
}

impl<K: Key, T> Index<K> for Table<K, T> {
    type Output = T;
    fn index(&self, key: K) -> &T {
        &self.slots[key.slot() as usize]
    }
}

impl<K: Key, T> IndexMut<K> for Table<K, T> {
    fn index_mut(&mut self, key: K) -> &mut T {
        &mut self.slots[key.slot() as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_gives_back_the_memory_of_a_burst_and_goes_on() {
        let mut table = Table::<EntryKey, u64>::new();
        let keys: Vec<_> = (0..3 * KEPT as u64).map(|value| table.insert(value)).collect();
        let (last, most) = keys.split_last().unwrap();
        for (value, key) in most.iter().enumerate() {
            assert_eq!(table.remove(*key), value as u64);
        }
        assert!(table.slots() as usize >= 3 * KEPT);
        table.remove(*last);
        assert_eq!((table.slots(), table.len()), (0, 0));
        let key = table.insert(7);
        assert_eq!((table[key], key.slot()), (7, 0));
        table.remove(key);
        assert!(table.slots() > 0, "a small one keeps its memory");
    }
}
