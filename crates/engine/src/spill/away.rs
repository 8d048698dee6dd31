//! Payloads leave memory, are asked for, and come back.

use super::ahead::Ahead;
use super::body::{Body, Shapes};
use super::over::Over;
use super::stub::NOTHING;
use crate::defect::Defect;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::{Entry, LANES, Owner, Place, lane_of};
use crate::record::EntryId;
use crate::table::{EntryKey, InboxKey};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use trunkline_types::{Destination, Publish, Sequence};

/// How many entries of an inbox are asked for ahead of their delivery.
const AHEAD: usize = 256;
/// How many bytes of payloads are asked for at a time; what is first in a lane may exceed it.
const BATCH: u64 = 1 << 20;
/// How many are asked for ahead while far more bytes are held than may be.
const FEW: usize = 16;

/// Where the payloads of logged work for one agent or skill are that has not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PayloadFigures {
    /// Bytes of those that are in memory.
    pub memory_bytes: u64,
    /// Bytes of those that are only on disk.
    pub disk_bytes: u64,
    /// How many are only on disk.
    pub on_disk: u64,
    /// How many came back since the start.
    pub loads: u64,
    /// In how many batches they were asked for.
    pub load_batches: u64,
}

/// What is known of spilled payloads in all.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    pub(super) figures: PayloadFigures,
    /// What is known of those whose payloads are out.
    pub(super) shapes: Shapes,
    /// What was asked for and has not come, by the places of the records.
    loading: BTreeMap<Sequence, (EntryKey, InboxKey)>,
    /// Inboxes that may have to ask for something, to be looked at before the call returns.
    noted: VecDeque<InboxKey>,
    /// Entries that were read to be said again, and where that was written.
    said: VecDeque<(Sequence, EntryKey)>,
    /// What is left to do since less may be held than is.
    pub(super) over: Option<Over>,
}

impl Engine {
    /// Where payloads are.
    pub fn payloads(&self) -> PayloadFigures {
        self.spill.figures
    }

    /// Whether payloads have to leave memory, or have left it. All that is asked on the path of
    /// what is not logged.
    fn is_tight(&self) -> bool {
        let figures = &self.spill.figures;
        figures.memory_bytes > self.config.payload_memory || figures.on_disk > 0
    }

    /// An entry that came to wait is spilled if there is no room for it.
    pub(crate) fn spill_if_tight(&mut self, key: EntryKey) {
        if self.is_tight() {
            self.spill_waiting(key);
        }
    }

    #[cold]
    fn spill_waiting(&mut self, key: EntryKey) {
        let Some(entry) = self.entries.get(key) else { return };
        if self.is_next(key) || !self.may_spill(entry) {
            return;
        }
        let (inbox, lane) = (&self.inboxes[entry.inbox], lane_of(entry));
        let ahead = inbox.ahead.as_ref();
        let behind = entry.place == Place::Ready
            && ahead.is_some_and(|ahead| !ahead.listed[lane].is_empty());
        if behind || self.spill.figures.memory_bytes > self.config.payload_memory {
            let (inbox, id) = (entry.inbox, entry.id);
            let ready = entry.place == Place::Ready;
            self.spill(key);
            if ready && let Some(ahead) = &mut self.inboxes[inbox].ahead {
                ahead.list(lane, key, id);
                if ahead.is_long(lane) {
                    self.inboxes[inbox].list_again(&self.entries);
                }
            }
        }
    }

    /// Whether an entry is about to be delivered, or is with somebody.
    pub(super) fn is_next(&self, key: EntryKey) -> bool {
        let entry = &self.entries[key];
        let inbox = &self.inboxes[entry.inbox];
        match entry.place {
            Place::Staged | Place::Leased => true,
            Place::Delayed | Place::Blocked | Place::Paused => false,
            Place::Ready => {
                let served = !inbox.servers.is_empty();
                served && (entry.is_back() || inbox.first(lane_of(entry)) == Some(key))
            }
        }
    }

    /// Whether the payload of an entry is in memory and need not be.
    pub(super) fn may_spill(&self, entry: &Entry) -> bool {
        let written = self.replaying || entry.base <= self.written.max(self.synced);
        written
            && self.config.payloads.is_some()
            && may_leave(entry)
            && !entry.is_away()
            && self.inboxes[entry.inbox].owner != Owner::Pending
    }

    /// Lets go of a payload.
    pub(super) fn spill(&mut self, key: EntryKey) {
        let entry = &mut self.entries[key];
        let size = entry.size();
        let Some(whole) = entry.body.whole() else { return };
        entry.body = self.spill.shapes.body(whole);
        let ahead = self.inboxes[entry.inbox].ahead.get_or_insert_default();
        ahead.count += 1;
        if std::mem::take(&mut entry.back) {
            ahead.left();
        }
        let figures = &mut self.spill.figures;
        figures.memory_bytes -= size;
        figures.disk_bytes += size;
        figures.on_disk += 1;
    }

    /// Puts a payload back.
    pub(super) fn unspill(&mut self, key: EntryKey, whole: Arc<Publish>) {
        let entry = &mut self.entries[key];
        let size = entry.size();
        entry.body = Body::Whole(whole);
        if let Some(ahead) = &mut self.inboxes[entry.inbox].ahead {
            ahead.count -= 1;
        }
        let counted = if self.planted(Defect::UncountedReturn) { 0 } else { size };
        let figures = &mut self.spill.figures;
        figures.memory_bytes += counted;
        figures.disk_bytes -= size;
        figures.on_disk -= 1;
        figures.loads += 1;
    }

    /// Counts the payload of an entry that was made. While records are replayed it is spilled if
    /// there is no room for it.
    pub(crate) fn count_payload(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        if may_leave(entry) {
            self.spill.figures.memory_bytes += entry.size();
            let over = self.spill.figures.memory_bytes > self.config.payload_memory;
            if self.replaying && over && self.may_spill(&self.entries[key]) {
                self.spill(key);
            }
        }
    }

    /// The payload of an entry that is gone counts no longer.
    pub(crate) fn uncount_payload(&mut self, entry: &Entry) {
        if !may_leave(entry) {
            return;
        }
        let figures = &mut self.spill.figures;
        if !entry.is_away() {
            figures.memory_bytes -= entry.size();
            return;
        }
        figures.disk_bytes -= entry.size();
        figures.on_disk -= 1;
        let inbox = &mut self.inboxes[entry.inbox];
        if let Some(ahead) = &mut inbox.ahead {
            ahead.count -= 1;
        }
        inbox.trim_ahead();
    }

    /// An entry was read to be said again: it stays in memory until that is written.
    pub(super) fn keep_until_written(&mut self, key: EntryKey) {
        self.spill.said.push_back((self.sequence.next(), key));
    }

    /// Spills again what was read to be said again, as far as that is written.
    pub(crate) fn spill_written(&mut self) {
        let written = self.written.max(self.synced);
        while self.spill.said.front().is_some_and(|&(at, _)| at <= written) {
            let Some((at, key)) = self.spill.said.pop_front() else { return };
            if self.entries.get(key).is_some_and(|entry| entry.base == at) {
                self.spill_if_tight(key);
            }
        }
    }

    /// An inbox may have to ask for payloads.
    pub(crate) fn note_ahead(&mut self, key: InboxKey) {
        if let Some(ahead) = &mut self.inboxes[key].ahead
            && ahead.count > 0
            && !std::mem::replace(&mut ahead.noted, true)
        {
            self.spill.noted.push_back(key);
        }
    }

    /// Looks at an inbox that may have to ask for payloads. Whether there was one.
    pub(crate) fn load_next(&mut self, out: &mut Output) -> bool {
        let Some(key) = self.spill.noted.pop_front() else { return false };
        self.load_ahead(key, out);
        true
    }

    /// Asks for what an inbox delivers next, unless nobody serves it, or it waits for some already.
    fn load_ahead(&mut self, key: InboxKey, out: &mut Output) {
        let inbox = &mut self.inboxes[key];
        let Some(ahead) = &mut inbox.ahead else { return };
        ahead.noted = false;
        if ahead.loading > 0 || inbox.servers.is_empty() {
            return;
        }
        let mut places = Vec::new();
        let mut bytes = 0;
        let lanes = if self.planted(Defect::FirstNotAsked) { 0 } else { LANES };
        for lane in 0..lanes {
            let first = self.inboxes[key].first(lane);
            let first = first.map(|first| (first, self.entries[first].id));
            self.ask_for(key, first, &mut places, &mut bytes);
        }
        let many = self.spill.figures.memory_bytes / 2 <= self.config.payload_memory;
        let most = if many { AHEAD } else { FEW };
        let back = self.inboxes[key].ahead.as_ref().map_or(0, |ahead| ahead.back as usize);
        if !places.is_empty() || back < most / 2 {
            self.ask_for_listed(key, most.saturating_sub(back), &mut places, &mut bytes);
        }
        if places.is_empty() {
            return;
        }
        if let Some(ahead) = &mut self.inboxes[key].ahead {
            ahead.loading = u32::try_from(places.len()).unwrap_or(u32::MAX);
        }
        self.spill.figures.load_batches += 1;
        places.sort_unstable();
        out.effects.push(Effect::Load { places });
    }

    /// Asks for as many of those listed as may be, from each lane in turn.
    fn ask_for_listed(
        &mut self,
        key: InboxKey,
        most: usize,
        places: &mut Vec<Sequence>,
        bytes: &mut u64,
    ) {
        let mut empty = 0;
        for lane in (0..LANES).rev().cycle() {
            if empty == LANES || places.len() >= most || *bytes >= BATCH {
                return;
            }
            let ahead = self.inboxes[key].ahead.as_mut();
            let next = ahead.and_then(|ahead| ahead.listed[lane].pop_front());
            empty = if next.is_none() { empty + 1 } else { 0 };
            self.ask_for(key, next, places, bytes);
        }
    }

    /// Asks for an entry, if it is in a lane of the inbox still and its payload is out.
    fn ask_for(
        &mut self,
        inbox: InboxKey,
        wanted: Option<(EntryKey, EntryId)>,
        places: &mut Vec<Sequence>,
        bytes: &mut u64,
    ) {
        let Some((key, id)) = wanted else { return };
        let Some(entry) = self.entries.get(key) else { return };
        let waits = entry.id == id && entry.place == Place::Ready && entry.inbox == inbox;
        if waits && entry.is_away() && self.spill.loading.insert(entry.base, (key, inbox)).is_none()
        {
            *bytes += entry.size();
            places.push(entry.base);
        }
    }

    /// Payloads that were asked for have come, or cannot be read.
    pub(crate) fn loaded(
        &mut self,
        now: Now,
        loaded: Vec<(Sequence, Result<Arc<Publish>, String>)>,
        out: &mut Output,
    ) {
        let mut inboxes = BTreeSet::new();
        for (at, result) in loaded {
            let Some((key, inbox)) = self.spill.loading.remove(&at) else { continue };
            inboxes.insert(inbox);
            if let Some(ahead) = &mut self.inboxes[inbox].ahead {
                ahead.loading -= 1;
            }
            // It may have ended meanwhile, or was read to be said again.
            let entry = self.entries.get(key);
            let Some(entry) = entry.filter(|it| it.base == at && it.is_away()) else {
                continue;
            };
            match super::recall::checked((entry.message, entry.size as usize), result) {
                Ok(whole) => {
                    let ready = entry.place == Place::Ready;
                    self.unspill(key, whole);
                    if ready && let Some(ahead) = &mut self.inboxes[inbox].ahead {
                        ahead.back += 1;
                        self.entries[key].back = true;
                    }
                }
                Err(_) if self.planted(Defect::RetriedReading) => {}
                Err(why) => self.end_unreadable(now, key, &why, out),
            }
        }
        for inbox in inboxes {
            self.inboxes[inbox].trim_ahead();
            self.stirred.push_back(inbox);
            self.note_ahead(inbox);
        }
    }

    /// Checks what an entry says of what it carries against that, and whether what is known of
    /// something that is out is shared with others.
    fn check_body(&self, entry: &Entry) -> Result<(), String> {
        let told = (entry.message, entry.size, entry.priority, entry.ordered);
        let has = entry.body.whole().is_none_or(|whole| {
            let envelope = &whole.envelope;
            let size = super::size_of_payload(whole);
            told == (envelope.id, size, envelope.priority, envelope.ordering_key.is_some())
        });
        let ordered = entry.body.ordering_key().is_some();
        let fits = self.spill.shapes.has(&entry.body)
            && (entry.body.durability(), ordered) == (entry.durability, entry.ordered);
        if has && fits {
            return Ok(());
        }
        Err(format!("message {} is not what its entry says: {told:?}", entry.message))
    }

    /// Checks what is counted of payloads against what there is.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn check_payloads(&self) -> Result<(), String> {
        let mut found = PayloadFigures::default();
        let mut spilled: BTreeMap<InboxKey, (u32, u32)> = BTreeMap::new();
        for (_, entry) in self.entries.iter() {
            if !may_leave(entry) {
                continue;
            }
            let (count, back) = spilled.entry(entry.inbox).or_default();
            if entry.is_away() {
                (found.on_disk, *count) = (found.on_disk + 1, *count + 1);
                found.disk_bytes += entry.size();
            } else {
                found.memory_bytes += entry.size();
            }
            *back += u32::from(entry.back);
            self.check_body(entry)?;
        }
        let PayloadFigures { loads, load_batches, .. } = self.spill.figures;
        let found = PayloadFigures { loads, load_batches, ..found };
        if found != self.spill.figures {
            return Err(format!("payloads are {found:?}, counted are {:?}", self.spill.figures));
        }
        for (key, inbox) in self.inboxes.iter() {
            let there = spilled.get(&key).copied().unwrap_or_default();
            let loading = self.spill.loading.values().filter(|(_, inbox)| *inbox == key).count();
            let counted = inbox.ahead.as_ref().map(|it| (it.count, it.back, it.loading as usize));
            let (count, back, asked) = counted.unwrap_or_default();
            if there != (count, back) || asked != loading {
                let name = self.address(key);
                return Err(format!(
                    "inbox {name:?} has {there:?} spilled and back, {loading} asked for; counted \
                     are {counted:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Whether the payload of an entry may leave memory: it is in the log, and only this entry has it.
fn may_leave(entry: &Entry) -> bool {
    entry.is_logged()
        && (1..=NOTHING.len()).contains(&(entry.size as usize))
        && matches!(entry.body.destination(), Destination::Agent(_) | Destination::Skill(_))
}

/// Which lanes, as a mask, wait for the payload of their first entry.
pub(crate) fn stalled(ahead: Option<&Ahead>, firsts: impl Iterator<Item = (usize, bool)>) -> u8 {
    if ahead.is_none_or(|ahead| ahead.count == 0) {
        return 0;
    }
    firsts.filter(|&(_, out)| out).fold(0, |mask, (lane, _)| mask | 1 << lane)
}
