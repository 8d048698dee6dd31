//! Where the copies of each message are, and how the latest that ended did.

use crate::map::{Map, map};
use crate::room::give_back_map;
use crate::table::{AgentKey, EntryKey, InboxKey, TenantKey};
use std::collections::{BTreeSet, VecDeque};
use std::hash::BuildHasher;
use trunkline_types::{CopyState, Destination, Kind, MessageId, WallTime};

/// Open copies by the id of their message, and the ends of others up to a bound. An id is the
/// sender's word: several tenants may use the same.
#[derive(Debug)]
pub(crate) struct Messages {
    open: Map<MessageId, Copies>,
    ended: VecDeque<Link>,
    /// How many have ended in all: the number of the next.
    count: u64,
    /// The number after that of the latest one in each bucket; 0 for none. Found from there
    /// along the links, which costs each end one write and no removal.
    buckets: Vec<u64>,
}

/// The open copies of a message. Nearly every one has only one.
#[allow(clippy::box_collection, reason = "every row of the map is as large as the largest")]
#[derive(Debug)]
enum Copies {
    One(EntryKey),
    Many(Box<BTreeSet<EntryKey>>),
}

/// How a copy ended.
#[derive(Clone, Debug)]
pub(crate) struct EndedCopy {
    pub(crate) id: MessageId,
    pub(crate) tenant: TenantKey,
    pub(crate) kind: Kind,
    pub(crate) accepted_at: WallTime,
    /// Where an event was sent that waited to be routed until its end; of others the inbox says
    /// enough. Boxed because few need it.
    pub(crate) destination: Option<Box<Destination>>,
    pub(crate) inbox: InboxKey,
    pub(crate) state: CopyState,
    pub(crate) attempts: u32,
    /// Who held it last.
    pub(crate) agent: Option<AgentKey>,
}

/// The end of a copy and, as in `buckets`, the one before it in its bucket.
#[derive(Debug)]
struct Link {
    copy: EndedCopy,
    before: u64,
}

impl Messages {
    pub(crate) fn new(seed: u64) -> Self {
        Self { open: map(seed), ended: VecDeque::new(), count: 0, buckets: Vec::new() }
    }

    /// Notes a copy that was made.
    pub(crate) fn add(&mut self, id: MessageId, key: EntryKey) {
        match self.open.entry(id) {
            hashbrown::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(Copies::One(key));
            }
            hashbrown::hash_map::Entry::Occupied(mut copies) => match copies.get_mut() {
                Copies::Many(many) => {
                    many.insert(key);
                }
                Copies::One(first) => {
                    let both = Box::new(BTreeSet::from([*first, key]));
                    copies.insert(Copies::Many(both));
                }
            },
        }
    }

    /// A copy is gone.
    pub(crate) fn remove(&mut self, id: MessageId, key: EntryKey) {
        // Taken out first, for nearly always that is all: one search instead of two.
        if let Some(Copies::Many(mut many)) = self.open.remove(&id) {
            many.remove(&key);
            if !many.is_empty() {
                self.open.insert(id, Copies::Many(many));
            }
        }
        give_back_map(&mut self.open);
    }

    /// Whether any tenant has an open copy of a message with this id.
    pub(crate) fn has(&self, id: MessageId) -> bool {
        self.open.contains_key(&id)
    }

    /// The open copies of a message.
    pub(crate) fn open(&self, id: MessageId) -> Vec<EntryKey> {
        match self.open.get(&id) {
            None => Vec::new(),
            Some(Copies::One(key)) => vec![*key],
            Some(Copies::Many(many)) => many.iter().copied().collect(),
        }
    }

    /// Whether an open copy is known, for checks.
    pub(crate) fn is_open(&self, id: MessageId, key: EntryKey) -> bool {
        match self.open.get(&id) {
            None => false,
            Some(Copies::One(only)) => *only == key,
            Some(Copies::Many(many)) => many.contains(&key),
        }
    }

    /// How many copies are open, for checks.
    pub(crate) fn open_count(&self) -> usize {
        let count = |copies: &Copies| match copies {
            Copies::One(_) => 1,
            Copies::Many(many) => many.len(),
        };
        self.open.values().map(count).sum()
    }

    /// Remembers how a copy ended; forgets the oldest beyond the bound.
    pub(crate) fn remember(&mut self, copy: EndedCopy, bound: usize) {
        if self.buckets.is_empty() && bound > 0 {
            self.buckets = vec![0; bound.min(1 << 20).next_power_of_two()];
        }
        if !self.buckets.is_empty() {
            let bucket = self.bucket(copy.id);
            self.count += 1;
            let before = std::mem::replace(&mut self.buckets[bucket], self.count);
            self.ended.push_back(Link { copy, before });
        }
        while self.ended.len() > bound {
            self.ended.pop_front();
        }
    }

    /// How the copies of a tenant's message ended that are still remembered, oldest first.
    pub(crate) fn ended(&self, tenant: TenantKey, id: MessageId) -> Vec<EndedCopy> {
        let mut found = Vec::new();
        let Some(&latest) = self.buckets.get(self.bucket(id)) else { return found };
        let oldest = self.count - self.ended.len() as u64;
        let mut next = latest;
        while next > oldest {
            let at = usize::try_from(next - oldest - 1).expect("it is one of those remembered");
            let Link { copy, before } = &self.ended[at];
            if copy.id == id && copy.tenant == tenant {
                found.push(copy.clone());
            }
            next = *before;
        }
        found.reverse();
        found
    }

    #[allow(clippy::cast_possible_truncation, reason = "the mask leaves the low bits only")]
    fn bucket(&self, id: MessageId) -> usize {
        let mask = self.buckets.len().wrapping_sub(1);
        self.open.hasher().hash_one(id) as usize & mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Key;
    use trunkline_types::Partition;

    #[test]
    fn the_latest_ends_are_found_by_id_and_the_oldest_are_forgotten() {
        let id = |number: u64| MessageId::from_parts(1, Partition(0), number);
        let copy = |number, tenant| EndedCopy {
            id: id(number),
            tenant: TenantKey::from_slot(tenant),
            kind: Kind::Event,
            accepted_at: WallTime(number),
            destination: None,
            inbox: InboxKey::from_slot(0),
            state: CopyState::Completed,
            attempts: 1,
            agent: None,
        };
        let (ours, theirs) = (TenantKey::from_slot(0), TenantKey::from_slot(1));
        let mut messages = Messages::new(1);
        assert!(messages.ended(ours, id(1)).is_empty());
        for number in 0..100 {
            messages.remember(copy(number, 0), 10);
            messages.remember(copy(number, 1), 10);
        }
        assert!(messages.ended(ours, id(94)).is_empty());
        for number in 95..100 {
            assert_eq!(messages.ended(ours, id(number)).len(), 1);
            assert_eq!(messages.ended(theirs, id(number)).len(), 1);
        }
        messages.remember(copy(100, 0), 0);
        assert!(messages.ended(ours, id(100)).is_empty());
    }

    #[test]
    fn a_message_has_as_many_open_copies_as_were_made_and_not_removed() {
        let id = MessageId::from_parts(1, Partition(0), 1);
        let keys: Vec<_> = (0..3).map(EntryKey::from_slot).collect();
        let mut messages = Messages::new(1);
        for &key in &keys {
            messages.add(id, key);
        }
        assert_eq!(messages.open(id), keys);
        messages.remove(id, keys[1]);
        assert_eq!(messages.open(id), [keys[0], keys[2]]);
        messages.remove(id, keys[0]);
        messages.remove(id, keys[2]);
        assert_eq!((messages.open(id).len(), messages.open_count()), (0, 0));
    }
}
