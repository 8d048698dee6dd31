//! Idempotency keys: within its window a key is accepted once. Those whose records the index has
//! taken in leave memory; they still count.

use crate::config::EngineConfig;
use crate::defect::Defect;
use crate::engine::Engine;
use crate::key_index::KeyRow;
use crate::map::{Map, map};
use crate::now::Now;
use crate::past::Following;
use crate::record::{Carried, Record};
use crate::room::{KEPT, give_back, give_back_map};
use crate::table::TenantKey;
use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;
use trunkline_types::{
    IdempotencyKey, Publish, Refusal, RefusalCode, Sequence, TenantId, WallTime,
};

/// Into how many parts a window is divided to count the keys that are still within it.
const PARTS: u64 = 1440;

/// The keys of one tenant.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Those in memory, with the place of the record that each stands in, if there is one.
    rows: Map<IdempotencyKey, (KeyRow, Option<Sequence>)>,
    /// Those in memory in the order in which they expire, for the window is the same for all.
    expiring: VecDeque<(WallTime, IdempotencyKey)>,
    /// Those in memory that are in a record, in the order of the records.
    recorded: VecDeque<(Sequence, IdempotencyKey)>,
    /// How many keys expire at the latest at a time, in memory or not.
    counts: BTreeMap<WallTime, u64>,
}

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rows: map(seed),
            expiring: VecDeque::new(),
            recorded: VecDeque::new(),
            counts: BTreeMap::new(),
        }
    }

    /// What was accepted under a key that is in memory, expired or not.
    fn find(&self, key: &IdempotencyKey) -> Option<KeyRow> {
        self.rows.get(key).map(|&(row, _)| row)
    }

    /// How many keys are within their window, give or take a small part of it that they may have
    /// been over it.
    pub(crate) fn live(&self, now: WallTime) -> u64 {
        let later = (std::ops::Bound::Excluded(now), std::ops::Bound::Unbounded);
        self.counts.range(later).map(|(_, count)| count).sum()
    }

    /// Counts a key that is used, and keeps it in memory if `kept` says so.
    fn insert(
        &mut self,
        key: &IdempotencyKey,
        row: KeyRow,
        sequence: Option<Sequence>,
        window: Duration,
        kept: bool,
    ) {
        let part = (u64::try_from(window.as_millis()).unwrap_or(u64::MAX) / PARTS).max(1);
        let end = WallTime(row.expires_at.0.div_ceil(part).saturating_mul(part));
        *self.counts.entry(end).or_default() += 1;
        if !kept {
            self.rows.remove(key);
            return;
        }
        self.expiring.push_back((row.expires_at, key.clone()));
        if let Some(sequence) = sequence {
            self.recorded.push_back((sequence, key.clone()));
        }
        self.rows.insert(key.clone(), (row, sequence));
    }

    /// Lets go of the keys in records up to a place.
    fn leave(&mut self, through: Sequence) {
        while let Some((sequence, key)) =
            self.recorded.pop_front_if(|(sequence, _)| *sequence <= through)
        {
            if self.rows.get(&key).is_some_and(|&(_, latest)| latest == Some(sequence)) {
                self.rows.remove(&key);
            }
        }
        // Most of those that expire have left long before; what is stale must not pile up.
        if self.expiring.len() > 2 * self.rows.len() + 1024 {
            let rows = &self.rows;
            self.expiring
                .retain(|(at, key)| rows.get(key).is_some_and(|(row, _)| row.expires_at == *at));
        }
        self.give_back();
    }

    fn give_back(&mut self) {
        give_back(&mut self.expiring, KEPT);
        give_back(&mut self.recorded, KEPT);
        give_back_map(&mut self.rows);
    }

    /// Takes out the first key in memory of which only records before a place tell, with what was
    /// accepted under it, unless that is over. It is to be put back when it is said again.
    pub(crate) fn take_older(
        &mut self,
        before: Sequence,
        now: WallTime,
    ) -> Option<(IdempotencyKey, KeyRow)> {
        while let Some((sequence, key)) = self.recorded.pop_front_if(|(at, _)| *at < before) {
            let Some(&(row, latest)) = self.rows.get(&key) else { continue };
            if latest != Some(sequence) {
                continue;
            }
            if row.expires_at > now {
                return Some((key, row));
            }
            self.rows.remove(&key);
        }
        None
    }

    /// A key is said again at a place, which counts for nothing.
    pub(crate) fn put_back(&mut self, at: Sequence, key: &IdempotencyKey, row: KeyRow) {
        if self.rows.insert(key.clone(), (row, Some(at))).is_none() {
            self.expiring.push_back((row.expires_at, key.clone()));
        }
        self.recorded.push_back((at, key.clone()));
    }

    /// How many keys expire by the latest at which times.
    pub(crate) fn counts(&self) -> Vec<(WallTime, u64)> {
        self.counts.iter().map(|(&at, &count)| (at, count)).collect()
    }

    /// Counts as many keys as were counted before.
    pub(crate) fn recount(&mut self, counts: Vec<(WallTime, u64)>) {
        self.counts = counts.into_iter().collect();
    }

    /// What was replayed may have come in another order than it expires in.
    pub(crate) fn order_replayed(&mut self) {
        self.expiring.make_contiguous().sort_by_key(|&(at, _)| at);
    }

    /// All rows of recorded keys in memory in the order of their keys, for checks.
    pub(crate) fn sorted(&self) -> Vec<(&IdempotencyKey, &KeyRow)> {
        let recorded = self.rows.iter().filter(|(_, (_, sequence))| sequence.is_some());
        let mut rows: Vec<_> = recorded.map(|(key, (row, _))| (key, row)).collect();
        rows.sort_unstable_by_key(|&(key, _)| key);
        rows
    }

    fn expire(&mut self, now: WallTime) {
        while let Some((at, key)) = self.expiring.pop_front_if(|(at, _)| *at <= now) {
            if self.rows.get(&key).is_some_and(|(row, _)| row.expires_at == at) {
                self.rows.remove(&key);
            }
        }
        if self.recorded.len() > 2 * self.rows.len() + 1024 {
            let rows = &self.rows;
            self.recorded
                .retain(|(at, key)| rows.get(key).is_some_and(|(_, held)| *held == Some(*at)));
        }
        self.give_back();
        while self.counts.first_key_value().is_some_and(|(&at, _)| at <= now) {
            self.counts.pop_first();
        }
    }
}

impl Engine {
    /// Notes that the index has the keys of all records up to a place, the tasks that they ended
    /// and the dead letters that they made. May be told before records are replayed, so that these
    /// never come into memory. Without an index nothing changes.
    pub fn indexed(&mut self, through: Sequence) {
        if through <= self.indexed {
            return;
        }
        let EngineConfig { key_index, task_index, letter_index, .. } = &self.config;
        let has_keys = key_index.is_some();
        if !has_keys && task_index.is_none() && letter_index.is_none() {
            return;
        }
        self.indexed = through;
        self.forget_ended_tasks(0);
        self.letters_indexed(through);
        if !has_keys {
            return;
        }
        let tenants: Vec<_> = self.tenants.iter().map(|(key, _)| key).collect();
        for tenant in tenants {
            self.tenants[tenant].keys.leave(through);
        }
    }

    /// Notes that the index takes in nothing more.
    pub(crate) fn index_stopped(&mut self) {
        self.following = Following::Stopped;
        self.forget_ended_tasks(0);
        self.forget_letters();
    }

    /// How many keys of a tenant are within their window and no longer in memory.
    pub(crate) fn indexed_keys(&self, tenant: TenantKey, now: WallTime) -> u64 {
        if self.config.key_index.is_none() {
            return 0;
        }
        let keys = &self.tenants[tenant].keys;
        let in_memory = keys.rows.values().filter(|(row, _)| row.expires_at > now).count() as u64;
        keys.live(now).saturating_sub(in_memory)
    }

    /// Up to which place the index has what it is to have, as far as the engine was told.
    pub fn indexed_through(&self) -> Sequence {
        self.indexed
    }

    /// What was accepted under a key within its window.
    ///
    /// # Errors
    /// A refusal if the index would have to be asked and cannot be read.
    pub(super) fn key_row(
        &mut self,
        now: Now,
        tenant: TenantKey,
        key: &IdempotencyKey,
    ) -> Result<Option<KeyRow>, Refusal> {
        self.tenants[tenant].keys.expire(now.wall);
        let row = self.any_key_row(tenant, key).map_err(|problem| {
            let message = format!(
                "whether idempotency key '{key}' was used before cannot be told ({problem}); \
                 start the broker again, or send it without the key"
            );
            Refusal::new(RefusalCode::StoreFailed, message)
        })?;
        Ok(row.filter(|row| row.expires_at > now.wall))
    }

    fn any_key_row(
        &self,
        tenant: TenantKey,
        key: &IdempotencyKey,
    ) -> Result<Option<KeyRow>, String> {
        let row = &self.tenants[tenant];
        let index = self.config.key_index.as_ref();
        let index = index.filter(|_| !self.planted(Defect::IndexedKeyForgotten));
        match (row.keys.find(key), index) {
            (None, Some(index)) => index.find(&row.id, key),
            (known, _) => Ok(known),
        }
    }

    /// The state after a key was used; shared by live commands and replay.
    pub(crate) fn apply_key(
        &mut self,
        tenant: TenantKey,
        publish: &Publish,
        at: WallTime,
        recorded: bool,
    ) {
        let Some(key) = &publish.envelope.idempotency_key else { return };
        let window = self.config.key_window;
        let row = key_row(publish, at, window);
        let sequence = recorded.then_some(self.sequence);
        let has_index = self.config.key_index.is_some();
        let kept = sequence.is_none_or(|sequence| sequence > self.indexed || !has_index);
        self.tenants[tenant].keys.insert(key, row, sequence, window, kept);
    }
}

impl Record {
    /// What the index is to remember of an idempotency key, if the record tells of one: `window` is
    /// the engine's own, see [`EngineConfig::key_window`](crate::EngineConfig).
    pub fn key_row(&self, window: Duration) -> Option<(TenantId, IdempotencyKey, KeyRow)> {
        let accepted = match self {
            Self::Accepted(accepted)
            | Self::Fired { accepted, .. }
            | Self::Redriven { accepted, .. } => accepted,
            Self::Carried(carried) => {
                let Carried::Key { tenant, key, row } = &**carried else { return None };
                return Some((tenant.clone(), key.clone(), *row));
            }
            _ => return None,
        };
        let envelope = &accepted.publish.envelope;
        let key = envelope.idempotency_key.clone()?;
        Some((envelope.tenant.clone(), key, key_row(&accepted.publish, accepted.at, window)))
    }
}

/// What is remembered of a publish that was accepted under a key at a time.
fn key_row(publish: &Publish, at: WallTime, window: Duration) -> KeyRow {
    KeyRow {
        id: publish.envelope.id,
        fingerprint: fingerprint(publish),
        expires_at: at.after(window),
    }
}

/// Tells one envelope from another under the same key: what it is, where it goes, what it says.
/// The same in every run, for it is compared with what an earlier run accepted.
pub(super) fn fingerprint(publish: &Publish) -> u64 {
    let envelope = &publish.envelope;
    let mut hasher = foldhash::quality::FixedState::with_seed(0).build_hasher();
    hasher.write_u8(envelope.kind.number());
    hasher.write(envelope.destination.to_string().as_bytes());
    hasher.write_u8(0);
    hasher.write(envelope.payload.content_type.as_bytes());
    hasher.write_u8(0);
    hasher.write_u8(envelope.payload.encoding.number());
    hasher.write(&envelope.payload.data);
    hasher.finish()
}
