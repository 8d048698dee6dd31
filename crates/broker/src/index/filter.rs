//! What keys the index surely does not have: a key that is new is not looked for on disk.

use fastbloom::AtomicBloomFilter;
use foldhash::quality::FixedState;
use parking_lot::RwLock;
use rusqlite::{Connection, Error};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use trunkline_types::Sequence;

use crate::index::store::unsigned;

/// How many keys the smallest and the largest part are for.
const LEAST: usize = 1 << 16;
const LARGEST: usize = 1 << 20;

/// Most parts: 32 MiB for 16 million keys. The latest takes in more than it is for then, so that more
/// keys are looked for in vain, and none is missed.
const MOST: usize = 16;

/// How many bits there are for a key, and how many of them it sets: of a thousand new keys one is
/// looked for in vain, by `(1 - exp(-SET / BITS))^SET`.
const BITS: usize = 16;
const SET: u32 = 6;

/// The keys of the index by their hashes, as Bloom filters one behind the other: what is in the index
/// is always found, of what is not in it nearly nothing.
///
/// The thread that writes the index adds to it before it commits, and the engine asks it at any time.
#[derive(Debug, Default)]
pub(super) struct KeyFilter {
    /// Written to only to begin a part or to drop one.
    parts: RwLock<VecDeque<Part>>,
    /// Whether it has all that is in the file.
    is_complete: AtomicBool,
}

/// Those of some records that follow each other, more or less.
#[derive(Debug)]
struct Part {
    hashes: AtomicBloomFilter<FixedState>,
    /// How many it is for, and how many it has.
    room: usize,
    taken: usize,
    /// The latest of their records.
    last: Sequence,
}

impl Part {
    fn new(room: usize) -> Self {
        let filter = AtomicBloomFilter::with_num_bits(room * BITS);
        let hashes = filter.hasher(FixedState::default()).hashes(SET);
        Self { hashes, room, taken: 0, last: Sequence(0) }
    }
}

impl KeyFilter {
    /// Whether a key with that hash may be in the file. Until everything in it is known, any may.
    pub(super) fn may_have(&self, hash: i64) -> bool {
        !self.is_complete.load(Ordering::Acquire)
            || self.parts.read().iter().any(|part| part.hashes.contains_hash(unsigned(hash)))
    }

    /// Takes in what is about to be committed: the hashes of keys and the latest of their records.
    pub(super) fn add(&self, hashes: impl ExactSizeIterator<Item = i64>, last: Sequence) {
        if hashes.len() == 0 {
            return;
        }
        let mut parts = self.parts.write();
        let is_full = parts.back().is_none_or(|part| part.taken >= part.room);
        if is_full && parts.len() < MOST {
            let known: usize = parts.iter().map(|part| part.room).sum();
            parts.push_back(Part::new(known.clamp(LEAST, LARGEST)));
        }
        let Some(part) = parts.back_mut() else { return };
        part.taken += hashes.len();
        part.last = part.last.max(last);
        for hash in hashes {
            part.hashes.insert_hash(unsigned(hash));
        }
    }

    /// Forgets what is not in the file any more, whose oldest key is of that record.
    pub(super) fn forget(&self, oldest: Option<Sequence>) {
        self.parts.write().retain(|part| oldest.is_some_and(|oldest| part.last >= oldest));
    }

    /// Takes in what is in the file, instead of what was known. Meanwhile any key may be in it. Nothing
    /// may be written to the file at the same time.
    ///
    /// # Errors
    /// If the file cannot be read; then any key may still be in it.
    pub(super) fn fill(&self, connection: &Connection) -> Result<(), Error> {
        self.is_complete.store(false, Ordering::Release);
        // The index by hash is all that a key is found by.
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let count = number("SELECT count(*) FROM keys INDEXED BY keys_by_hash")?;
        let last = number("SELECT coalesce(max(place), 0) FROM keys")?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let mut part = Part::new(count.clamp(LEAST, LARGEST * MOST));
        part.last = Sequence(unsigned(last));
        let mut all = connection.prepare("SELECT hash FROM keys INDEXED BY keys_by_hash")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            part.hashes.insert_hash(unsigned(row.get(0)?));
            part.taken += 1;
        }
        *self.parts.write() = VecDeque::from([part]);
        self.is_complete.store(true, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::keys;
    use crate::index::rows::Row;
    use crate::index::store::Store;
    use trunkline_engine::KeyRow;
    use trunkline_types::{MessageId, Partition, TenantId, WallTime};

    /// Numbers as a hash would spread them.
    fn hash(number: u64) -> i64 {
        use std::hash::BuildHasher;
        FixedState::with_seed(1).hash_one(number).cast_signed()
    }

    fn add(filter: &KeyFilter, numbers: std::ops::Range<u64>) {
        let last = Sequence(numbers.end - 1);
        let numbers: Vec<_> = numbers.map(hash).collect();
        filter.add(numbers.into_iter(), last);
    }

    fn filled() -> (tempfile::TempDir, Store, KeyFilter) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let filter = KeyFilter::default();
        filter.fill(store.connection()).unwrap();
        (folder, store, filter)
    }

    #[test]
    fn all_that_came_may_be_there_and_hardly_anything_else() {
        let (_folder, _store, filter) = filled();
        let count = 3 * LEAST as u64;
        for from in (0..count).step_by(256) {
            add(&filter, from..from + 256);
        }
        assert!((0..count).all(|number| filter.may_have(hash(number))));
        let found = (count..2 * count).filter(|&number| filter.may_have(hash(number))).count();
        assert!(found < 1000, "{found} of {count} were taken for others");
        assert!(filter.parts.read().len() <= 3);
    }

    #[test]
    fn what_was_deleted_is_forgotten_with_what_came_with_it() {
        let (_folder, _store, filter) = filled();
        let count = LEAST as u64;
        add(&filter, 1..count + 1);
        add(&filter, count + 1..count + 9);
        filter.forget(Some(Sequence(count)));
        assert!((1..count + 9).all(|number| filter.may_have(hash(number))), "one is still there");
        filter.forget(Some(Sequence(count + 1)));
        assert!((count + 1..count + 9).all(|number| filter.may_have(hash(number))));
        assert!((1..100).any(|number| !filter.may_have(hash(number))));
        filter.forget(None);
        assert!(filter.parts.read().is_empty());
    }

    #[test]
    fn more_than_it_is_for_costs_no_more_memory_and_misses_none() {
        let filter = KeyFilter::default();
        *filter.parts.write() = (0..MOST).map(|_| Part::new(8)).collect();
        filter.is_complete.store(true, Ordering::Release);
        for from in (0..1024).step_by(8) {
            add(&filter, from..from + 8);
        }
        assert_eq!(filter.parts.read().len(), MOST);
        assert!((0..1024).all(|number| filter.may_have(hash(number))));
    }

    #[test]
    fn what_a_file_has_may_be_there_once_it_was_read_and_before() {
        let (_folder, store, filter) = filled();
        let row = |place: u64| Row {
            place: Sequence(place),
            tenant: TenantId::default(),
            key: format!("k{place}").parse().unwrap(),
            accepted: KeyRow {
                id: MessageId::from_parts(1, Partition(0), place),
                fingerprint: 1,
                expires_at: WallTime(place),
            },
        };
        let rows: Vec<_> = (1..=300).map(row).collect();
        let hashes = store.hashes();
        keys::insert(store.connection(), hashes, &rows).unwrap();
        let may_have = |filter: &KeyFilter| {
            rows.iter().filter(|row| filter.may_have(hashes.of(&row.tenant, &row.key))).count()
        };
        assert_eq!(may_have(&KeyFilter::default()), 300, "nothing is known yet");
        assert!(may_have(&filter) < 10, "it was filled before they came");
        filter.fill(store.connection()).unwrap();
        assert_eq!(may_have(&filter), 300);
        assert!((0..1000).any(|number| !filter.may_have(hash(number))));
    }
}
