//! Where the log begins, and what a replay that begins there cannot know yet.

use crate::engine::Engine;
use crate::past::Past;
use crate::queue::Place;
use crate::record::{Carried, EntryId, Part};
use crate::table::{AgentKey, EntryKey, TaskKey};
use std::collections::{BTreeMap, BTreeSet};
use trunkline_types::{Epoch, MessageId, Sequence, Token, WallTime};

/// What is known of the log's beginning.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// The place of the first record that was replayed.
    pub(crate) first: Option<Sequence>,
    /// When the broker was first started on the log.
    pub(crate) born: Option<WallTime>,
    /// The first entry that was accepted in what was kept.
    first_entry: Option<EntryId>,
    /// Later entries that are not known yet.
    pub(crate) missing: BTreeSet<EntryId>,
    /// Ended tasks that were said again, by the places of the records that ended them, until they
    /// are put among the others.
    pub(crate) ended: BTreeMap<Sequence, (TaskKey, MessageId)>,
    /// What was said again last, as long as not all has come that belongs to it.
    pub(crate) saying: Option<Saying>,
    /// Whether records are missing in the middle of what was kept.
    has_gap: bool,
    /// The latest token that a record granted.
    pub(crate) last_token: Token,
    /// A law that what was replayed breaks, though it can be replayed.
    pub(crate) broken_law: Option<&'static str>,
}

/// Something that is said again by several records.
#[derive(Debug)]
pub(crate) enum Saying {
    /// A thing with parts. It counts as said when it has all of them.
    Thing {
        /// Its place.
        at: Sequence,
        thing: Box<Carried>,
        parts: Vec<Part>,
        /// How many more are to come.
        left: u32,
    },
    /// An agent, whose subscriptions are known until they come.
    Agent {
        /// Its place.
        at: Sequence,
        agent: AgentKey,
        /// How many more are to come.
        left: u32,
    },
}

impl Origins {
    /// Entries from this one on were accepted in what was kept.
    pub(crate) fn accepted(&mut self, first: EntryId) {
        self.first_entry.get_or_insert(first);
    }

    /// Notes that records are missing.
    pub(crate) fn gap(&mut self) {
        self.saying = None;
        self.has_gap = true;
    }

    /// Whether parts may come without their thing: it was before what was kept, or is missing.
    pub(super) fn may_lack_things(&self) -> bool {
        self.has_gap || self.first.is_some_and(|first| first.0 > 1)
    }

    /// Whether an entry may have been accepted before what was kept.
    pub(crate) fn precedes(&self, entry: EntryId) -> bool {
        self.first_entry.is_none_or(|first| entry < first) || self.missing.contains(&entry)
    }
}

impl Engine {
    /// Whether the beginning of the log that is replayed has been given up.
    pub(crate) fn is_cleaned(&self) -> bool {
        self.origins.first.is_some_and(|first| first.0 > 1)
    }

    /// When the broker was started for the first time on its log, which tells this log from
    /// others. Known once the engine has been started.
    pub fn born(&self) -> WallTime {
        self.origins.born.unwrap_or_default()
    }

    /// Says when the broker was started for the first time on its log, unless that is known: the
    /// record that tells of it may be missing.
    pub fn mend_born(&mut self, at: WallTime) {
        if self.born() == WallTime::default() {
            self.origins.born = Some(at);
        }
    }

    /// Takes out which law a record broke that was replayed since this was asked last: a token came
    /// twice or out of order, two entries with one ordering key were leased at a time or a later one
    /// before an earlier, a task went from a state to one that does not follow, or its events are
    /// said again with a gap. Only a check asks; a broker goes on with what
    /// there is. Behind a gap it says nothing, for the records may be missing that make it right.
    pub fn take_broken_law(&mut self) -> Option<&'static str> {
        self.origins.broken_law.take()
    }

    /// Looks at a lease that is replayed before it is taken in.
    pub(crate) fn judge_lease(&mut self, key: EntryKey, token: Token) {
        let taken_up = self.lease(key).is_some_and(|lease| lease.token == token);
        let last = self.origins.last_token;
        self.origins.last_token = last.max(token);
        if !taken_up && token <= last {
            self.origins.broken_law = Some("a token was granted that is not later than all before");
        }
        let first = self.key_queue(key).and_then(|queue| queue.front().copied());
        let Some(first) = first.filter(|&first| first != key) else { return };
        let (first, entry) = (&self.entries[first], &self.entries[key]);
        if first.place == Place::Leased {
            let law = "two entries with one ordering key were leased at a time";
            self.origins.broken_law = Some(law);
        } else if first.id < entry.id {
            let law = "an entry was leased before an earlier one with its ordering key";
            self.origins.broken_law = Some(law);
        }
    }

    /// Looks at the events of a task that is said again.
    pub(super) fn judge_events(&mut self, thing: &Carried, parts: &[Part]) {
        let task = match thing {
            Carried::Entry(entry) => entry.task.as_ref(),
            Carried::Ended(ended) => Some(&ended.task),
            _ => None,
        };
        let numbers = parts.iter().filter_map(|part| match part {
            Part::Event(event) => Some(event.number),
            _ => None,
        });
        let numbers: Vec<_> = numbers.collect();
        // The oldest may have been forgotten.
        let (Some(task), Some(&first)) = (task, numbers.first()) else { return };
        if !numbers.iter().copied().eq(first.max(1)..=task.last_event) {
            self.origins.broken_law = Some("a task's events are not numbered without gaps");
        }
    }

    /// Notes a start of the broker.
    pub(crate) fn replay_boot(&mut self, epoch: Epoch, at: WallTime) {
        if epoch.0 <= 1 {
            self.origins.born.get_or_insert(at);
        }
        if self.replaying {
            self.date_events(Epoch(epoch.0.saturating_sub(1)));
        }
    }

    /// Events that were replayed before any record told the epoch are of this one.
    pub(super) fn date_events(&mut self, epoch: Epoch) {
        if self.epoch != Epoch(0) || !self.is_cleaned() {
            return;
        }
        self.epoch = epoch;
        for task in self.tasks.rows.iter_mut() {
            task.date_events(epoch);
        }
        for handed in &mut self.handed {
            let Past::Ended(ended) = &mut handed.past else { continue };
            let undated = ended.events.iter_mut().filter(|event| event.epoch == Epoch(0));
            undated.for_each(|event| event.epoch = epoch);
        }
    }
}
