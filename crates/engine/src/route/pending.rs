//! Events that wait: for their time, or for somebody to be there. Each is one entry in a queue
//! that nobody can address; when it is routed it leaves that queue as settled, and the copies
//! that its recipients get are taken in anew.

use super::targets::Targets;
use crate::defect::Defect;
use crate::dispatch::EventCopy;
use crate::effect::Output;
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::queue::{AT_ONCE, Inbox, Moment, Owner, Place};
use crate::record::{End, EntryId, Record};
use crate::table::{EntryKey, InboxKey, TenantKey};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use trunkline_types::{
    Absent, Destination, Durability, Publish, Refusal, RefusalCode, SessionId, Topic, TopicPattern,
    WallTime,
};

/// The events of one tenant that wait.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The queue they are in, made when the first one comes.
    inbox: Option<InboxKey>,
    /// Those that wait for a subscriber, by their topic.
    topics: BTreeMap<Topic, BTreeMap<EntryId, EntryKey>>,
    /// Those that wait for an agent, whichever registers first.
    all: BTreeMap<EntryId, EntryKey>,
    /// Bytes of the payloads of those that are logged.
    pub(crate) logged_bytes: u64,
}

impl Pending {
    /// Notes an event that waits for somebody.
    fn park(&mut self, destination: &Destination, id: EntryId, key: EntryKey) {
        match destination {
            Destination::Topic(topic) => {
                self.topics.entry(topic.clone()).or_default().insert(id, key);
            }
            _ => {
                self.all.insert(id, key);
            }
        }
    }

    fn unpark(&mut self, destination: &Destination, id: EntryId) {
        let Destination::Topic(topic) = destination else {
            self.all.remove(&id);
            return;
        };
        if let Some(events) = self.topics.get_mut(topic) {
            events.remove(&id);
            if events.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    /// Those that a pattern matches, in order of acceptance.
    fn matching(&self, pattern: &TopicPattern) -> Vec<(EntryId, EntryKey)> {
        let text = pattern.as_str();
        // Only topics that begin as the pattern does up to its first wildcard are looked at.
        let fixed = text.find(['*', '>']).map_or(text, |at| &text[..at]);
        let fixed = fixed.trim_end_matches('.');
        let from = Topic::new(fixed).map_or(Bound::Unbounded, Bound::Included);
        let mut found: Vec<_> = self
            .topics
            .range((from, Bound::Unbounded))
            .take_while(|(topic, _)| topic.as_str().starts_with(fixed))
            .filter(|(topic, _)| pattern.matches(topic))
            .flat_map(|(_, events)| events.iter().map(|(&id, &key)| (id, key)))
            .collect();
        found.sort_unstable();
        found
    }

    /// How many wait for somebody, for checks.
    pub(crate) fn parked(&self) -> usize {
        self.all.len() + self.topics.values().map(BTreeMap::len).sum::<usize>()
    }
}

impl Engine {
    /// The queue of a tenant's events that wait.
    pub(crate) fn pending_inbox(&mut self, tenant: TenantKey) -> InboxKey {
        if let Some(inbox) = self.tenants[tenant].pending.inbox {
            return inbox;
        }
        let inbox = self.inboxes.insert(Inbox::new(tenant, Owner::Pending));
        self.tenants[tenant].pending.inbox = Some(inbox);
        inbox
    }

    /// Whether one more event may wait.
    pub(crate) fn check_room_for_pending(
        &mut self,
        tenant: TenantKey,
        publish: &Publish,
        level: Durability,
    ) -> Result<(), Refusal> {
        let inbox = self.pending_inbox(tenant);
        let row = &self.inboxes[inbox];
        let (count, limit) = (row.gauges().total(), self.config.pending_events);
        let bytes = row.ephemeral_bytes + publish.envelope.payload.data.len() as u64;
        let most_bytes = self.config.inbox_ephemeral_bytes;
        let logged_bytes =
            self.tenants[tenant].pending.logged_bytes + publish.envelope.payload.data.len() as u64;
        let most_logged = self.config.pending_event_bytes;
        let message = if count >= limit as u64 {
            format!(
                "{count} events of the tenant wait for their time or for a first subscriber, the \
                 limit is {limit}"
            )
        } else if !level.is_logged() && bytes > most_bytes {
            format!(
                "the events of the tenant that wait for their time or for a first subscriber \
                 would have {bytes} bytes, the limit is {most_bytes} unless they are logged"
            )
        } else if level.is_logged() && logged_bytes > most_logged {
            format!(
                "the logged events of the tenant that wait for their time or for a first \
                 subscriber would have {logged_bytes} bytes, the limit is {most_logged}"
            )
        } else {
            return Ok(());
        };
        let refusal = Refusal::new(RefusalCode::InboxFull, message);
        Err(refusal.retry_after(self.config.full_hint))
    }

    /// Whether an entry is an event that waits.
    pub(crate) fn is_pending(&self, key: EntryKey) -> bool {
        self.inboxes[self.entries[key].inbox].owner == Owner::Pending
    }

    /// The time of an event has come: it goes to whoever is there, or waits for somebody.
    pub(crate) fn pending_due(&mut self, now: Now, key: EntryKey, out: &mut Output) {
        let entry = &self.entries[key];
        let (publish, tenant) = (entry.whole().clone(), self.inboxes[entry.inbox].tenant);
        let source = publish.envelope.source.clone();
        // What may not be routed at all was refused when it came.
        let targets = self.targets(tenant, &publish, source.as_ref()).unwrap_or_default();
        if !targets.is_empty() {
            self.route_pending(now, key, targets, out);
        } else if publish.absent() == Absent::Park {
            let id = self.entries[key].id;
            self.tenants[tenant].pending.park(&publish.envelope.destination, id, key);
            self.put(key, Place::Ready);
            self.set_timer(key);
        } else {
            self.tenants[tenant].tally.unrouted += 1;
            self.end_entry(now, key, End::Dropped, out);
        }
    }

    /// An event waits for nobody any longer.
    pub(crate) fn unpark(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        let tenant = self.inboxes[entry.inbox].tenant;
        let destination = entry.body.destination();
        self.tenants[tenant].pending.unpark(destination, entry.id);
    }

    /// Somebody has subscribed: what waited for that is routed, in order of acceptance.
    pub(crate) fn route_waiting(
        &mut self,
        now: Now,
        tenant: TenantKey,
        pattern: &TopicPattern,
        out: &mut Output,
    ) {
        if !self.tenants[tenant].pending.topics.is_empty() {
            let waiting = self.tenants[tenant].pending.matching(pattern);
            self.route_again(now, waiting, out);
        }
    }

    /// An agent has registered: what waited for one is routed.
    pub(crate) fn route_waiting_for_all(&mut self, now: Now, tenant: TenantKey, out: &mut Output) {
        let waiting = self.tenants[tenant].pending.all.iter();
        let waiting = waiting.map(|(&id, &key)| (id, key)).collect();
        self.route_again(now, waiting, out);
    }

    fn route_again(&mut self, now: Now, waiting: Vec<(EntryId, EntryKey)>, out: &mut Output) {
        for (id, key) in waiting {
            let waits = self.entries.get(key).is_some_and(|entry| entry.id == id);
            if waits && self.entries[key].place == Place::Ready {
                self.unqueue(key);
                self.make_ready(now, key, out);
            }
        }
    }

    fn route_pending(
        &mut self,
        now: Now,
        key: EntryKey,
        mut targets: Box<Targets>,
        out: &mut Output,
    ) {
        let entry = &self.entries[key];
        let (id, level, publish) = (entry.id, entry.durability, entry.whole().clone());
        let came = entry.accepted_at;
        // One record names them all; who came to be too many misses it as well.
        if level.is_logged() && targets.inboxes.len() > self.config.logged_copies {
            for inbox in targets.inboxes.split_off(self.config.logged_copies) {
                targets.dropped += 1;
                if !self.planted(Defect::UntoldCut) {
                    self.leave_out(inbox);
                }
            }
        }
        // Nobody is asked to come back: who is full misses it, and is told so.
        self.leave_out_full(now, &publish, level, &mut targets, out);
        let first_entry = self.next_entry;
        if level.is_logged() {
            self.say_before_routing(key, out);
            let addresses = targets.inboxes.iter().filter_map(|&inbox| self.address(inbox));
            let (inboxes, at) = (addresses.collect(), now.wall);
            self.emit(Record::Routed { entry: id, first_entry, inboxes, at }, out);
        }
        for (copy, id) in self.apply_routed(key, &targets.inboxes) {
            self.hold_ready(now, level, (copy, id), out);
        }
        for (session, when_full) in targets.sessions {
            let serial = self.sessions[session].serial;
            let event = EventCopy::new(&publish, came, when_full);
            self.hold(now, level, Held::Event(session, serial, event), out);
        }
    }

    /// The state after an event that waited went to inboxes; shared by live commands and replay.
    pub(crate) fn apply_routed(
        &mut self,
        key: EntryKey,
        inboxes: &[InboxKey],
    ) -> Vec<(EntryKey, EntryId)> {
        self.unqueue(key);
        self.clear_timer(key);
        let entry = self.entries.remove(key);
        self.unlist_copy(key, &entry);
        let row = &mut self.inboxes[entry.inbox];
        row.places[Place::Staged as usize] -= 1;
        if entry.is_logged() {
            self.tenants[row.tenant].pending.logged_bytes -= entry.size();
        } else {
            row.ephemeral -= 1;
            row.ephemeral_bytes -= entry.size();
        }
        row.counters_of(entry.is_logged()).settled += 1;
        let (publish, sender): (Arc<Publish>, SessionId) = (entry.whole().clone(), entry.sender);
        let (at, level): (WallTime, Durability) = (entry.accepted_at, entry.durability);
        let mut copies = Vec::with_capacity(inboxes.len());
        for &to in inboxes {
            let copy = self.apply_accepted(to, &publish, sender, at, level);
            // Only the record of its acceptance says what was sent.
            self.entries[copy.0].base = entry.base;
            // Its time has come, whatever the wall shows from now on.
            self.entries[copy.0].set_due(AT_ONCE);
            self.entries[copy.0].set_delay_over(Moment::NONE);
            copies.push(copy);
        }
        copies
    }
}
