//! Idempotency keys: within its window a key is accepted once.

use crate::map::{Map, map};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use trunkline_types::{IdempotencyKey, MessageId, Publish, WallTime};

/// The keys of one tenant.
#[derive(Debug)]
pub(crate) struct Keys {
    rows: Map<IdempotencyKey, KeyRow>,
    /// In the order in which they expire, for the window is the same for all.
    expiring: VecDeque<(WallTime, IdempotencyKey)>,
}

/// What was accepted under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyRow {
    pub(crate) id: MessageId,
    pub(crate) fingerprint: u64,
    pub(crate) expires_at: WallTime,
}

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rows: map(seed), expiring: VecDeque::new() }
    }

    /// What was accepted under a key within its window.
    pub(crate) fn get(&mut self, key: &IdempotencyKey, now: WallTime) -> Option<KeyRow> {
        self.expire(now);
        self.rows.get(key).copied()
    }

    /// The envelope that came first under a key, whether its window is over or not yet swept.
    pub(crate) fn first(&self, key: &IdempotencyKey) -> Option<MessageId> {
        self.rows.get(key).map(|row| row.id)
    }

    pub(crate) fn insert(&mut self, key: IdempotencyKey, row: KeyRow) {
        self.expiring.push_back((row.expires_at, key.clone()));
        self.rows.insert(key, row);
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// All rows in the order of their keys, for checks.
    pub(crate) fn sorted(&self) -> Vec<(&IdempotencyKey, &KeyRow)> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable_by_key(|&(key, _)| key);
        rows
    }

    fn expire(&mut self, now: WallTime) {
        while let Some((at, key)) = self.expiring.front() {
            if *at > now {
                return;
            }
            if self.rows.get(key).is_some_and(|row| row.expires_at == *at) {
                self.rows.remove(key);
            }
            self.expiring.pop_front();
        }
    }
}

/// Tells one envelope from another under the same key: what it is, where it goes, what it says.
/// The same in every run, for it is compared with what an earlier run accepted.
pub(crate) fn fingerprint(publish: &Publish) -> u64 {
    let envelope = &publish.envelope;
    let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
    hasher.write_u8(envelope.kind.number());
    hasher.write(envelope.destination.to_string().as_bytes());
    hasher.write_u8(0);
    hasher.write(envelope.payload.content_type.as_bytes());
    hasher.write_u8(0);
    hasher.write(&envelope.payload.data);
    hasher.finish()
}
