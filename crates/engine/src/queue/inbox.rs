//! An inbox: four priority lanes, ordering keys, and who serves it.

use super::droppable::Droppable;
use super::entry::{Entry, Place};
use super::list::List;
use super::missed::Missed;
use super::returned::Returned;
use crate::admission::Crowd;
use crate::map::Map;
use crate::spill::{Ahead, stalled};
use crate::table::{AgentKey, EntryKey, SessionKey, Table, TenantKey};
use std::collections::VecDeque;
use trunkline_types::{
    Counters, Gauges, InboxSettings, OrderingKey, Priority, Sequence, SkillName, WallTime,
};

/// How many lanes an inbox has: one for each priority.
pub(crate) const LANES: usize = Priority::ALL.len();

/// Every lane, as a mask.
pub(crate) const ALL_LANES: u8 = (1 << LANES) - 1;

/// What an inbox is run by when nothing was set about it.
static DEFAULTS: InboxSettings = InboxSettings {
    when_full: None,
    wait: None,
    limit: None,
    ttl: None,
    routing: None,
    bindings: Vec::new(),
};

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
    /// The same for choices among some of the lanes only, by their mask: each such choice has a
    /// round of its own, or those who may take one lane only would end the rounds of the others.
    /// Boxed because only bindings need it.
    quotas: Option<Box<[[u8; LANES]; ALL_LANES as usize]>>,
    /// How it is run, as far as that was set. Boxed because most inboxes have nothing set.
    pub(crate) settings: Option<Box<InboxSettings>>,
    /// How many circuit breakers between it and agents are not closed.
    pub(crate) shut: u32,
    /// Entries in each place.
    pub(crate) places: [u32; Place::COUNT],
    /// What records tell of what happened in it, which a replay rebuilds.
    pub(crate) counters: Counters,
    /// What no record tells of.
    pub(crate) fleeting: Counters,
    /// The oldest record that a replay needs to rebuild its settings and counters.
    pub(crate) base: Sequence,
    /// What the counters came to when they were last written in full.
    pub(crate) figured: u64,
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
    /// How many envelopes it has taken in since the broker started.
    pub(crate) arrived: u64,
    /// Which of them were dropped to make room, as far as nobody was told yet.
    pub(crate) missed: Missed,
    /// What may be dropped to make room, once something had to be.
    pub(crate) droppable: Option<Box<Droppable>>,
    /// What is known of its spilled entries, if there are any.
    pub(crate) ahead: Option<Box<Ahead>>,
    /// Who waits for room and who was told to slow down, if anybody does or was.
    pub(crate) crowd: Option<Box<Crowd>>,
}

/// Whose inbox it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Agent(AgentKey),
    Skill(SkillName),
    /// All bare subscriptions of the tenant together: holds no entries, only figures.
    Bare,
    /// Events of the tenant that wait for their time or for their first subscriber.
    Pending,
}

/// One priority's queue.
#[derive(Debug, Default)]
struct Lane {
    /// Entries that were delivered before and came back, in order of acceptance. They go first:
    /// whatever was delivered is older than what was not.
    returned: Returned,
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
            quota: [0; LANES],
            quotas: None,
            settings: None,
            shut: 0,
            places: [0; Place::COUNT],
            counters: Counters::default(),
            fleeting: Counters::default(),
            base: Sequence(0),
            figured: 0,
            ephemeral: 0,
            ephemeral_bytes: 0,
            keys: None,
            servers: Vec::new(),
            available: 0,
            cursor: 0,
            arrived: 0,
            missed: Missed::default(),
            droppable: None,
            ahead: None,
            crowd: None,
        }
    }

    pub(crate) fn ready(&self) -> u32 {
        self.places[Place::Ready as usize]
    }

    pub(crate) fn logged(&self) -> u64 {
        let total: u32 = self.places.iter().sum();
        u64::from(total - self.ephemeral.min(total))
    }

    /// The counters of what records tell of, or of the rest.
    pub(crate) fn counters_of(&mut self, logged: bool) -> &mut Counters {
        if logged { &mut self.counters } else { &mut self.fleeting }
    }

    /// Everything that happened in it.
    pub(crate) fn totals(&self) -> Counters {
        let mut totals = self.counters;
        totals.add(&self.fleeting);
        totals
    }

    pub(crate) fn gauges(&self) -> Gauges {
        let [staged, delayed, blocked, ready, paused, leased] = self.places.map(u64::from);
        let waiting = blocked + ready;
        let served = !self.servers.is_empty() || self.owner == Owner::Bare;
        let (waiting, parked) = if served { (waiting, 0) } else { (0, waiting) };
        Gauges { staged, delayed, waiting, parked, paused, leased }
    }

    /// Counts one of its entries, which is in another place now, there.
    #[inline]
    pub(crate) fn put(&mut self, entry: &mut Entry, place: Place) {
        self.places[entry.place as usize] -= 1;
        self.places[place as usize] += 1;
        entry.place = place;
        entry.staging = entry.staging.wrapping_add(u8::from(place == Place::Staged));
    }

    #[inline]
    pub(crate) fn push(&mut self, entries: &mut Table<EntryKey, Entry>, key: EntryKey) {
        let entry = &entries[key];
        let (number, id) = (lane_of(entry), entry.id);
        let lane = &mut self.lanes[number];
        if entry.is_back() {
            lane.returned.insert(id, key);
        } else {
            lane.fresh.push_back(entries, key);
        }
        self.filled |= 1 << number;
        if let Some(droppable) = &mut self.droppable {
            droppable.push(&entries[key], key);
        }
        if let Some(ahead) = &mut self.ahead
            && entries[key].is_away()
        {
            ahead.list(number, key, id);
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, entries: &mut Table<EntryKey, Entry>, key: EntryKey) {
        let entry = &entries[key];
        let (number, id) = (lane_of(entry), entry.id);
        let lane = &mut self.lanes[number];
        if entry.is_back() {
            lane.returned.remove(id);
        } else {
            lane.fresh.remove(entries, key);
        }
        if lane.is_empty() {
            self.filled &= !(1 << number);
        }
        if self.filled == 0 {
            self.droppable = None;
        } else if let Some(droppable) = &mut self.droppable {
            droppable.remove(&entries[key]);
        }
        if self.ahead.is_some() && std::mem::take(&mut entries[key].back) {
            self.ahead.as_mut().expect("it is there").left();
            self.trim_ahead();
        }
    }

    /// Forgets about spilled entries when there are none.
    pub(crate) fn trim_ahead(&mut self) {
        self.ahead.take_if(|ahead| ahead.is_over());
    }

    /// Lists its spilled entries anew, in the order of the lanes.
    pub(crate) fn list_again(&mut self, entries: &Table<EntryKey, Entry>) {
        let Some(ahead) = &mut self.ahead else { return };
        for (number, lane) in self.lanes.iter().enumerate() {
            let returned = lane.returned.iter();
            let keys = returned.chain(lane.fresh.iter(entries));
            let spilled = keys.filter(|&key| entries[key].is_away());
            ahead.list_all(number, spilled.map(|key| (key, entries[key].id)));
        }
    }

    /// Notes none of its spilled entries, for the defect that never asks for those of a replay.
    pub(crate) fn unlist(&mut self) {
        if let Some(ahead) = &mut self.ahead {
            (0..LANES).for_each(|lane| ahead.list_all(lane, std::iter::empty()));
        }
    }

    /// The first entry of a lane.
    pub(crate) fn first(&self, lane: usize) -> Option<EntryKey> {
        let lane = &self.lanes[lane];
        lane.returned.first().or(lane.fresh.front())
    }

    /// Whether an entry that comes back goes before all that is in its lane.
    pub(crate) fn goes_first(&self, entries: &Table<EntryKey, Entry>, entry: &Entry) -> bool {
        let first = self.lanes[lane_of(entry)].returned.first();
        first.is_none_or(|first| entry.id < entries[first].id)
    }

    /// What may be dropped to make room. Looked for once, then kept up to date until the lanes
    /// are empty, so that inboxes from which nothing is dropped pay nothing for it.
    pub(crate) fn droppable(&mut self, entries: &Table<EntryKey, Entry>) -> &Droppable {
        if self.droppable.is_none() {
            let mut droppable = Box::<Droppable>::default();
            for lane in &self.lanes {
                let returned = lane.returned.iter();
                for key in returned.chain(lane.fresh.iter(entries)) {
                    droppable.push(&entries[key], key);
                }
            }
            self.droppable = Some(droppable);
        }
        self.droppable.as_deref().expect("it was made if it was not there")
    }

    /// How it is run.
    pub(crate) fn settings(&self) -> &InboxSettings {
        self.settings.as_deref().unwrap_or(&DEFAULTS)
    }

    /// A bit for each lane that has something.
    pub(crate) fn filled(&self) -> u8 {
        self.filled
    }

    /// A bit for each lane whose first entry can be delivered: its payload is in memory.
    pub(crate) fn deliverable(&self, entries: &Table<EntryKey, Entry>) -> u8 {
        if self.ahead.is_none() {
            return self.filled;
        }
        let is_out = |key: EntryKey| entries[key].is_away();
        let firsts = (0..LANES).map(|lane| (lane, self.first(lane).is_some_and(is_out)));
        self.filled & !stalled(self.ahead.as_deref(), firsts)
    }

    /// When the oldest entry that is ready was accepted. Each lane is in order, so only the first
    /// of each are looked at, and those will be wanted next.
    pub(crate) fn oldest(&self, entries: &Table<EntryKey, Entry>) -> Option<WallTime> {
        if self.filled == 0 {
            return None;
        }
        let filled = self.lanes.iter().filter(|lane| !lane.is_empty());
        let first = filled.flat_map(|lane| {
            let returned = lane.returned.first();
            [returned, lane.fresh.front()]
        });
        first.flatten().map(|key| entries[key].accepted_at).min()
    }

    /// The entry to deliver next out of the lanes in `mask`; it stays where it is. While several
    /// of them have something, each gets as many deliveries a round as its priority weighs, so
    /// that none starves. Lanes that wait for a payload are passed over.
    pub(crate) fn next(
        &mut self,
        entries: &Table<EntryKey, Entry>,
        mask: u8,
        weights: [u8; LANES],
    ) -> Option<EntryKey> {
        let number = self.next_lane(entries, mask, weights)?;
        self.first(number)
    }

    /// The wrong entry to deliver next, for the defect that serves a lane from its end.
    #[cfg(feature = "defects")]
    pub(crate) fn last(
        &mut self,
        entries: &Table<EntryKey, Entry>,
        mask: u8,
        weights: [u8; LANES],
    ) -> Option<EntryKey> {
        let number = self.next_lane(entries, mask, weights)?;
        self.lanes[number].fresh.back().filter(|&key| !entries[key].is_away())
    }

    /// The wrong entry to deliver next, for the defect that does not wait for payloads: the first
    /// of a lane that has one.
    #[cfg(feature = "defects")]
    pub(crate) fn first_there(
        &self,
        entries: &Table<EntryKey, Entry>,
        mask: u8,
    ) -> Option<EntryKey> {
        let lanes = (0..LANES).rev().filter(|lane| mask & (1 << lane) != 0);
        let mut keys = lanes.flat_map(|lane| {
            let lane = &self.lanes[lane];
            lane.returned.iter().chain(lane.fresh.iter(entries))
        });
        keys.find(|&key| !entries[key].is_away())
    }

    /// Chooses a lane and takes one delivery off its share of the round.
    fn next_lane(
        &mut self,
        entries: &Table<EntryKey, Entry>,
        mask: u8,
        weights: [u8; LANES],
    ) -> Option<usize> {
        let wanted = self.deliverable(entries) & mask;
        if wanted == 0 {
            return None;
        }
        let quota = match mask {
            ALL_LANES => &mut self.quota,
            _ => &mut self.quotas.get_or_insert_default()[usize::from(mask)],
        };
        let highest = |quota: &[u8; LANES]| {
            (0..LANES).rev().find(|&n| wanted & (1 << n) != 0 && quota[n] > 0)
        };
        let number = highest(quota).or_else(|| {
            *quota = weights.map(|weight| weight.max(1));
            highest(quota)
        })?;
        quota[number] -= 1;
        Some(number)
    }
}

/// The number of the lane that an entry belongs to.
pub(crate) fn lane_of(entry: &Entry) -> usize {
    usize::from(entry.priority.number())
}
