//! What keys the index surely does not have: a key that is new is not looked for on disk.

use fastbloom::AtomicBloomFilter;
use foldhash::quality::FixedState;
use parking_lot::RwLock;
use rusqlite::{Connection, Error};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use trunkline_types::Sequence;

use crate::index::store::unsigned;

/// How many keys the smallest and the largest part are for that begins while the broker runs, and all
/// parts together: 32 MiB. Once that is reached the latest part takes in more than it is for, so that
/// more keys are looked for in vain, and none is missed.
const LEAST: usize = 1 << 16;
const LARGEST: usize = 1 << 20;
const MOST: usize = 1 << 24;

/// How many bits there are for a key, and how many of them it sets. Of a thousand keys that it does not
/// have a full part takes one for another, by `(1 - exp(-SET / BITS))^SET`.
const BITS: usize = 16;
const SET: u32 = 6;

/// The keys of the index by their hashes, as Bloom filters one behind the other: what is in the index
/// is always found, of what is not in it nearly nothing.
///
/// The thread that writes the index adds to it before it commits, and the engine asks it at any time.
#[derive(Debug, Default)]
pub(super) struct KeyFilter {
    /// Written to only to begin a part or to drop some.
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
    taken: AtomicUsize,
    /// The latest of their records.
    last: AtomicU64,
}

impl Part {
    fn new(room: usize) -> Self {
        let filter = AtomicBloomFilter::with_num_bits(room * BITS);
        let hashes = filter.hasher(FixedState::default()).hashes(SET);
        Self { hashes, room, taken: AtomicUsize::new(0), last: AtomicU64::new(0) }
    }

    fn add(&self, hash: i64, place: Sequence) {
        // What is taken in again is not counted again.
        let is_known = self.hashes.insert_hash(unsigned(hash));
        self.taken.fetch_add(usize::from(!is_known), Ordering::Relaxed);
        self.last.fetch_max(place.0, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.room
    }
}

impl KeyFilter {
    /// Whether a key with that hash may be in the file. Until everything in it is known, any may.
    pub(super) fn may_have(&self, hash: i64) -> bool {
        !self.is_complete()
            || self.parts.read().iter().any(|part| part.hashes.contains_hash(unsigned(hash)))
    }

    /// Whether everything in the file is known.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Takes in what is about to be committed: the hashes of keys, with their records. Only one thread
    /// may do this.
    pub(super) fn add(&self, hashes: impl Iterator<Item = (i64, Sequence)>) {
        let mut hashes = hashes.peekable();
        if hashes.peek().is_none() {
            return;
        }
        if let Some(room) = self.room_of_next() {
            // Made while nobody waits for it.
            let part = Part::new(room);
            self.parts.write().push_back(part);
        }
        if let Some(part) = self.parts.read().back() {
            hashes.for_each(|(hash, place)| part.add(hash, place));
        }
    }

    /// How many keys the next part is for, if it is to begin.
    fn room_of_next(&self) -> Option<usize> {
        let parts = self.parts.read();
        let known: usize = parts.iter().map(|part| part.room).sum();
        let room = known.clamp(LEAST, LARGEST);
        let is_due = parts.back().is_none_or(|part| part.is_full() && known + room <= MOST);
        is_due.then_some(room)
    }

    /// Forgets what is not in the file any more: what all records up to this one told of.
    pub(super) fn forget(&self, through: Sequence) {
        let is_gone = |part: &Part| part.last.load(Ordering::Relaxed) <= through.0;
        let mut gone = Vec::new();
        let mut parts = self.parts.write();
        while parts.front().is_some_and(is_gone) {
            gone.extend(parts.pop_front());
        }
        drop(parts);
        // Given back while nobody waits for it.
        drop(gone);
    }

    /// Takes in what is in the file, instead of what was known. Meanwhile any key may be in it. Nothing
    /// may be written to the file at the same time.
    ///
    /// # Errors
    /// If the file cannot be read; then any key may still be in it.
    pub(super) fn fill(&self, connection: &Connection) -> Result<(), Error> {
        self.is_complete.store(false, Ordering::Release);
        let old = std::mem::take(&mut *self.parts.write());
        drop(old);
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let count = number("SELECT count(*) FROM keys INDEXED BY keys_by_hash")?;
        let part = Part::new(usize::try_from(count).unwrap_or(MOST).clamp(LEAST, MOST));
        // No row is of a later record, unless all of the log is to be read again; a row alone may have
        // rotted, and one too early would be forgotten too early.
        part.last.store(unsigned(number("SELECT through FROM state")?), Ordering::Relaxed);
        // The index by hash is all that a key is found by.
        let mut all = connection.prepare("SELECT hash, place FROM keys INDEXED BY keys_by_hash")?;
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            part.add(row.get(0)?, Sequence(unsigned(row.get(1)?)));
        }
        self.parts.write().push_back(part);
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
        filter.add(numbers.map(|number| (hash(number), Sequence(number))));
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
        // Some are taken for others and not counted.
        let count = LEAST as u64 + 1000;
        add(&filter, 1..count + 1);
        add(&filter, count + 1..count + 9);
        filter.forget(Sequence(count - 1));
        assert!((1..count + 9).all(|number| filter.may_have(hash(number))), "one is still there");
        filter.forget(Sequence(count));
        assert!((count + 1..count + 9).all(|number| filter.may_have(hash(number))));
        assert!((1..100).any(|number| !filter.may_have(hash(number))));
        filter.forget(Sequence(count + 8));
        assert!(filter.parts.read().is_empty());
    }

    #[test]
    fn what_is_taken_in_again_takes_no_more_room() {
        let (_folder, _store, filter) = filled();
        for _ in 0..3 {
            add(&filter, 1..LEAST as u64);
        }
        assert_eq!(filter.parts.read().len(), 1);
    }

    #[test]
    fn more_than_it_is_for_costs_no_more_memory_and_misses_none() {
        let full = |room| {
            let part = Part::new(room);
            part.taken.store(room, Ordering::Relaxed);
            part
        };
        // Together for so many that no other part has room.
        let filter = KeyFilter::default();
        let rooms = [MOST - LEAST, 8].map(|room| Part { room, ..full(8) });
        *filter.parts.write() = rooms.into_iter().collect();
        filter.is_complete.store(true, Ordering::Release);
        assert_eq!(filter.room_of_next(), None);
        for from in (0..1024).step_by(8) {
            add(&filter, from..from + 8);
        }
        assert_eq!(filter.parts.read().len(), 2);
        assert!((0..1024).all(|number| filter.may_have(hash(number))));
        // A part that is for as many as may be is the only one.
        *filter.parts.write() = VecDeque::from([Part { room: MOST, ..full(8) }]);
        assert_eq!(filter.room_of_next(), None);
        *filter.parts.write() = VecDeque::from([full(LEAST)]);
        assert_eq!(filter.room_of_next(), Some(LEAST));
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
