//! An inbox: four priority lanes, ordering keys, and who serves it.

use super::entry::{Entry, Place};
use super::list::List;
use crate::map::Map;
use crate::record::EntryId;
use crate::table::{AgentKey, EntryKey, SessionKey, Table, TenantKey};
use std::collections::{BTreeMap, VecDeque};
use trunkline_types::{Counters, Gauges, OrderingKey, Priority, SkillName};

const LANES: usize = Priority::ALL.len();

/// The queue of one agent, of one skill, or (for counting only) of bare subscriptions.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) tenant: TenantKey,
    pub(crate) owner: Owner,
    lanes: [Lane; LANES],
    /// A bit for each lane that has something.
    filled: u8,
    /// Deliveries that each lane may still have in this round.
    quota: [u8; LANES],
    /// Entries in each place.
    pub(crate) places: [u32; Place::COUNT],
    pub(crate) counters: Counters,
    pub(crate) ephemeral: u32,
    pub(crate) ephemeral_bytes: u64,
    /// Entries with an ordering key, in order of acceptance. Boxed because most inboxes have none.
    pub(crate) keys: Option<Box<Map<OrderingKey, VecDeque<EntryKey>>>>,
    /// The sessions that take work from it.
    pub(crate) servers: Vec<SessionKey>,
    /// How many of them would take a delivery now.
    pub(crate) available: u32,
    /// Where the search for a session goes on.
    pub(crate) cursor: u32,
}

/// Whose inbox it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Agent(AgentKey),
    Skill(SkillName),
    /// All bare subscriptions of the tenant together: holds no entries, only figures.
    Bare,
}

/// One priority's queue.
#[derive(Debug, Default)]
struct Lane {
    /// Entries that were delivered before and came back, in order of acceptance. They go first:
    /// whatever was delivered is older than what was not.
    returned: BTreeMap<EntryId, EntryKey>,
    fresh: List,
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.returned.is_empty()
    }
}

impl Inbox {
    pub(crate) fn new(tenant: TenantKey, owner: Owner) -> Self {
        Self {
            tenant,
            owner,
            lanes: Default::default(),
            filled: 0,
            quota: weights(),
            places: [0; Place::COUNT],
            counters: Counters::default(),
            ephemeral: 0,
            ephemeral_bytes: 0,
            keys: None,
            servers: Vec::new(),
            available: 0,
            cursor: 0,
        }
    }

    pub(crate) fn ready(&self) -> u32 {
        self.places[Place::Ready as usize]
    }

    pub(crate) fn logged(&self) -> u64 {
        let total: u32 = self.places.iter().sum();
        u64::from(total - self.ephemeral.min(total))
    }

    pub(crate) fn gauges(&self) -> Gauges {
        let [staged, delayed, blocked, ready, paused, leased] = self.places.map(u64::from);
        let waiting = blocked + ready;
        let served = !self.servers.is_empty() || self.owner == Owner::Bare;
        let (waiting, parked) = if served { (waiting, 0) } else { (0, waiting) };
        Gauges { staged, delayed, waiting, parked, paused, leased }
    }

    pub(crate) fn push(&mut self, entries: &mut Table<EntryKey, Entry>, key: EntryKey) {
        let entry = &entries[key];
        let (number, id) = (lane_of(entry), entry.id);
        let lane = &mut self.lanes[number];
        if entry.returned {
            lane.returned.insert(id, key);
        } else {
            lane.fresh.push_back(entries, key);
        }
        self.filled |= 1 << number;
    }

    pub(crate) fn remove(&mut self, entries: &mut Table<EntryKey, Entry>, key: EntryKey) {
        let entry = &entries[key];
        let (number, id) = (lane_of(entry), entry.id);
        let lane = &mut self.lanes[number];
        if entry.returned {
            lane.returned.remove(&id);
        } else {
            lane.fresh.remove(entries, key);
        }
        if lane.is_empty() {
            self.filled &= !(1 << number);
        }
    }

    /// The entry to deliver next; it stays where it is. While several lanes have something, each
    /// gets as many deliveries a round as its priority weighs, so that none starves.
    pub(crate) fn next(&mut self) -> Option<EntryKey> {
        let number = self.next_lane()?;
        self.quota[number] -= 1;
        let lane = &self.lanes[number];
        let returned = lane.returned.first_key_value();
        returned.map(|(_, &key)| key).or(lane.fresh.front())
    }

    /// The wrong entry to deliver next, for the defect that serves a lane from its end.
    #[cfg(feature = "defects")]
    pub(crate) fn last(&mut self) -> Option<EntryKey> {
        let number = self.next_lane()?;
        self.lanes[number].fresh.back()
    }

    fn next_lane(&mut self) -> Option<usize> {
        if self.filled == 0 {
            return None;
        }
        loop {
            let willing =
                (0..LANES).rev().find(|&n| self.filled & (1 << n) != 0 && self.quota[n] > 0);
            match willing {
                Some(number) => return Some(number),
                None => self.quota = weights(),
            }
        }
    }
}

fn lane_of(entry: &Entry) -> usize {
    usize::from(entry.publish.envelope.priority.number())
}

fn weights() -> [u8; LANES] {
    let mut weights = [0; LANES];
    for &priority in Priority::ALL {
        #[allow(clippy::cast_possible_truncation, reason = "weights are 1 to 8")]
        {
            weights[usize::from(priority.number())] = priority.weight() as u8;
        }
    }
    weights
}
