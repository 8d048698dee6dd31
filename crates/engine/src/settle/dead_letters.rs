//! Dead letters in memory: kept with every attempt's reason, up to a bound.

use super::died::ClearedLetter;
use crate::spill::bytes_as_sent;
use crate::table::TenantKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use trunkline_types::{AttemptNote, DeadLetter, InboxAddress, MessageId, Publish, Sequence};

/// By how many bits the number of a logged letter is longer than its place, so that ephemeral ones
/// have numbers between those of the logged ones before and after them.
const SHIFT: u32 = 16;

/// The dead letters of all tenants, oldest first. Logged and ephemeral ones are bounded apart, so
/// that what is not in the log never decides what of it is forgotten.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: BTreeMap<u64, Kept>,
    /// The numbers of those that copies of one message became.
    ids: BTreeMap<(TenantKey, MessageId), Vec<u64>>,
    logged: Class,
    ephemeral: Class,
    /// Logged ones that are gone, in the order in which they were cleared, until the index has
    /// deleted them.
    cleared: VecDeque<(TenantKey, ClearedLetter)>,
    /// Up to which place logged ones may be forgotten that the index does not have.
    pub(crate) forgotten_through: Sequence,
}

/// A dead letter that is kept.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) tenant: TenantKey,
    pub(crate) letter: DeadLetter,
    /// The oldest record that a replay needs to rebuild it; none if it is ephemeral.
    pub(crate) base: Sequence,
    /// The place of the record by which it died.
    pub(crate) place: Sequence,
}

/// The dead letters of one class.
#[derive(Debug, Default)]
struct Class {
    numbers: BTreeSet<u64>,
    bytes: u64,
}

/// How many dead letters of a class there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) letters: usize,
    pub(crate) bytes: u64,
}

impl DeadLetters {
    /// Keeps one, which died at a place or behind it. With one that is in the log comes its base;
    /// its place is that of the record by which it died. Returns its number.
    pub(crate) fn push(
        &mut self,
        tenant: TenantKey,
        letter: DeadLetter,
        base: Option<Sequence>,
        place: Sequence,
    ) -> u64 {
        let (id, size) = (letter.publish.envelope.id, size(&letter));
        let number = if base.is_some() {
            number(place)
        } else {
            let last = self.ephemeral.numbers.last().copied().unwrap_or(0);
            let next = last.max(number(place)) + 1;
            // Those of logged letters end in zeros.
            next + u64::from(next.trailing_zeros() >= SHIFT)
        };
        // What is said again takes the place of what is known of it.
        self.remove(number);
        let class = if base.is_some() { &mut self.logged } else { &mut self.ephemeral };
        class.numbers.insert(number);
        class.bytes += size;
        let (base, place) = base.map(|base| (base, place)).unwrap_or_default();
        self.letters.insert(number, Kept { tenant, letter, base, place });
        self.ids.entry((tenant, id)).or_default().push(number);
        number
    }

    /// Forgets the oldest of a class for as long as there are more than there may be; the latest is
    /// always kept. Returns whose were forgotten.
    pub(crate) fn forget_beyond(&mut self, is_logged: bool, most: Most) -> Vec<TenantKey> {
        let mut forgotten = Vec::new();
        loop {
            let class = if is_logged { &self.logged } else { &self.ephemeral };
            let over = class.numbers.len() > most.letters || class.bytes > most.bytes;
            let oldest = class.numbers.first().copied();
            let Some(oldest) = oldest.filter(|_| over && class.numbers.len() > 1) else {
                return forgotten;
            };
            forgotten.extend(self.forget_one(oldest));
        }
    }

    /// Lets go of logged ones that died by records up to a place, and no longer remembers those
    /// that were cleared by such records. Returns whose were let go of.
    pub(crate) fn leave(&mut self, through: Sequence) -> Vec<TenantKey> {
        let mut gone = Vec::new();
        while let Some(&oldest) = self.logged.numbers.first().filter(|&&it| it <= number(through)) {
            gone.extend(self.letters.get(&oldest).map(|kept| kept.tenant));
            self.remove(oldest);
        }
        while self.cleared.pop_front_if(|(_, cleared)| cleared.place <= through).is_some() {}
        gone
    }

    /// Remembers that one was cleared.
    pub(crate) fn clear(&mut self, tenant: TenantKey, cleared: ClearedLetter) {
        self.cleared.push_back((tenant, cleared));
    }

    /// A tenant's that were cleared and that the index may have still.
    pub(crate) fn cleared_of(&self, tenant: TenantKey) -> impl Iterator<Item = &ClearedLetter> {
        self.cleared.iter().filter(move |(owner, _)| *owner == tenant).map(|(_, cleared)| cleared)
    }

    /// Whether the letter of a message in an inbox that died by the record at a place was cleared,
    /// and the index may have it still.
    pub(crate) fn is_cleared(
        &self,
        tenant: TenantKey,
        id: MessageId,
        inbox: &InboxAddress,
        died: Sequence,
    ) -> bool {
        self.cleared_of(tenant).any(|cleared| cleared.is(id, inbox, died))
    }

    /// While records are replayed: adds what became of an attempt to the letter with a place. With
    /// too many of them it may have been forgotten at once.
    pub(crate) fn add_attempt(&mut self, place: Sequence, note: AttemptNote) {
        if let Some(kept) = self.letters.get_mut(&number(place)) {
            self.logged.bytes += note.reason.len() as u64;
            kept.letter.attempts.push(note);
        }
    }

    /// Those that were published in a way that is asked for: their numbers, their bases and what
    /// was published.
    pub(crate) fn published(
        &self,
        is_wanted: impl Fn(&Publish) -> bool,
    ) -> Vec<(u64, Sequence, Arc<Publish>)> {
        let wanted = self.letters.iter().filter(|(_, kept)| is_wanted(&kept.letter.publish));
        wanted.map(|(&number, kept)| (number, kept.base, kept.letter.publish.clone())).collect()
    }

    /// Replaces what was published of one that is in the log, by its number.
    pub(crate) fn replace(&mut self, number: u64, publish: Arc<Publish>) {
        if let Some(kept) = self.letters.get_mut(&number) {
            self.logged.bytes -= size(&kept.letter);
            kept.letter.publish = publish;
            self.logged.bytes += size(&kept.letter);
        }
    }

    /// The first in the log from a number on, with its number.
    pub(crate) fn logged_from(&self, number: u64) -> Option<(u64, &Kept)> {
        let number = *self.logged.numbers.range(number..).next()?;
        self.letters.get(&number).map(|kept| (number, kept))
    }

    /// Notes that a letter, by its number, can be rebuilt from a record on.
    pub(crate) fn rebase(&mut self, number: u64, base: Sequence) {
        if let Some(kept) = self.letters.get_mut(&number) {
            kept.base = base;
        }
    }

    /// A letter by its number.
    pub(crate) fn get(&self, number: u64) -> Option<&Kept> {
        self.letters.get(&number)
    }

    /// How many that are in the log are kept, by whose they are.
    pub(crate) fn logged_of_tenants(&self) -> BTreeMap<TenantKey, u64> {
        let mut counts = BTreeMap::new();
        for kept in self.logged.numbers.iter().filter_map(|number| self.letters.get(number)) {
            *counts.entry(kept.tenant).or_default() += 1;
        }
        counts
    }

    /// While records are replayed: those that died before a place were forgotten. Those before
    /// another place too go.
    pub(crate) fn forget_before(&mut self, place: Sequence, through: Sequence) {
        let end = number(place.min(through));
        while let Some(&oldest) = self.logged.numbers.first().filter(|&&it| it < end) {
            self.remove(oldest);
        }
        let forgotten = Sequence(place.0.saturating_sub(1));
        self.forgotten_through = self.forgotten_through.max(forgotten);
    }

    /// Forgets the oldest of each class for as long as they are to be forgotten. Returns whose
    /// were.
    pub(crate) fn forget(&mut self, is_past: impl Fn(&DeadLetter) -> bool) -> Vec<TenantKey> {
        let mut forgotten = Vec::new();
        for is_logged in [true, false] {
            loop {
                let class = if is_logged { &self.logged } else { &self.ephemeral };
                let Some(&oldest) = class.numbers.first() else { break };
                if !self.letters.get(&oldest).is_some_and(|kept| is_past(&kept.letter)) {
                    break;
                }
                forgotten.extend(self.forget_one(oldest));
            }
        }
        forgotten
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// The oldest of each class.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = &DeadLetter> {
        let classes = [&self.logged, &self.ephemeral].into_iter();
        let oldest = classes.filter_map(|class| self.letters.get(class.numbers.first()?));
        oldest.map(|kept| &kept.letter)
    }

    /// A tenant's, newest first.
    pub(crate) fn of(&self, tenant: TenantKey) -> impl Iterator<Item = &DeadLetter> {
        self.older(tenant, u64::MAX).map(|(_, letter)| letter)
    }

    /// Those of them whose numbers are below `before`, with their numbers. A logged letter has the
    /// same number for good.
    pub(crate) fn older(
        &self,
        tenant: TenantKey,
        before: u64,
    ) -> impl Iterator<Item = (u64, &DeadLetter)> {
        let of_tenant = move |(_, kept): &(&u64, &Kept)| kept.tenant == tenant;
        let older = self.letters.range(..before).rev().filter(of_tenant);
        older.map(|(number, kept)| (*number, &kept.letter))
    }

    /// The inboxes in which copies of a message died.
    pub(crate) fn inboxes(
        &self,
        tenant: TenantKey,
        id: MessageId,
    ) -> impl Iterator<Item = &InboxAddress> {
        let numbers = self.ids.get(&(tenant, id)).into_iter().flatten();
        numbers.filter_map(|number| self.letters.get(number).map(|kept| &kept.letter.inbox))
    }

    /// Takes out a letter by its number.
    pub(crate) fn take(&mut self, number: u64) {
        let Some(kept) = self.letters.get(&number) else { return };
        let ids = (kept.tenant, kept.letter.publish.envelope.id);
        self.remove(number);
        // A replay that begins behind the older of two would take the younger for it, which must
        // therefore be said again.
        for number in self.ids.get(&ids).into_iter().flatten() {
            if let Some(kept) = self.letters.get_mut(number) {
                kept.base = Sequence(0);
            }
        }
    }

    /// Whether letters, index and classes name the same letters, for checks.
    pub(crate) fn is_consistent(&self) -> bool {
        let indexed: BTreeSet<_> = self.ids.values().flatten().copied().collect();
        let (logged, ephemeral) = (&self.logged, &self.ephemeral);
        let classed: BTreeSet<_> = logged.numbers.union(&ephemeral.numbers).copied().collect();
        let kept: BTreeSet<_> = self.letters.keys().copied().collect();
        let sizes: u64 = self.letters.values().map(|kept| size(&kept.letter)).sum();
        indexed == kept && classed == kept && sizes == logged.bytes + ephemeral.bytes
    }

    /// The number of the oldest that a message became in an inbox: of those in the log, if there is
    /// one, for these are what a replay finds. Also whether it is in the log.
    pub(crate) fn number(
        &self,
        tenant: TenantKey,
        id: MessageId,
        inbox: &InboxAddress,
    ) -> Option<(u64, bool)> {
        let numbers = self.ids.get(&(tenant, id))?.iter().copied();
        let meant = numbers.filter(|number| {
            self.letters.get(number).is_some_and(|kept| kept.letter.inbox == *inbox)
        });
        let meant = meant.map(|number| (number, self.logged.numbers.contains(&number)));
        meant.min_by_key(|&(number, is_logged)| (!is_logged, number))
    }

    /// Forgets one for good. Returns whose it was.
    fn forget_one(&mut self, number: u64) -> Option<TenantKey> {
        let kept = self.letters.get(&number)?;
        let (tenant, place) = (kept.tenant, kept.place);
        self.forgotten_through = self.forgotten_through.max(place);
        self.remove(number);
        Some(tenant)
    }

    fn remove(&mut self, number: u64) {
        let Some(Kept { tenant, letter, .. }) = self.letters.remove(&number) else { return };
        for class in [&mut self.logged, &mut self.ephemeral] {
            if class.numbers.remove(&number) {
                class.bytes -= size(&letter);
            }
        }
        let place = (tenant, letter.publish.envelope.id);
        if let Some(copies) = self.ids.get_mut(&place) {
            copies.retain(|&other| other != number);
            if copies.is_empty() {
                self.ids.remove(&place);
            }
        }
    }
}

/// The number of the logged letter that died by the record at a place.
pub(crate) fn number(place: Sequence) -> u64 {
    place.0 << SHIFT
}

/// Bytes of what others said that counts for a dead letter: all that was sent, even if it cannot be
/// read any more.
pub(crate) fn size(letter: &DeadLetter) -> u64 {
    let reasons = letter.attempts.iter().map(|note| note.reason.len());
    let texts = reasons.sum::<usize>() + letter.reason.len();
    bytes_as_sent(&letter.publish) + texts as u64
}
