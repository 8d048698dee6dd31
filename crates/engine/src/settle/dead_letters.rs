//! Dead letters: kept with every attempt's reason, up to a bound.

use crate::table::TenantKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use trunkline_types::session::LetterAddress;
use trunkline_types::{
    AttemptNote, DeadLetter, InboxAddress, MessageId, Publish, Refusal, RefusalCode, Sequence,
};

/// The dead letters of all tenants, oldest first. Logged and ephemeral ones are bounded apart, so
/// that what is not in the log never decides what of it is forgotten.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: BTreeMap<u64, Kept>,
    /// The numbers of those that copies of one message became.
    ids: BTreeMap<(TenantKey, MessageId), Vec<u64>>,
    logged: Class,
    ephemeral: Class,
    /// The number of the next; while records are replayed, letters are numbered by their places,
    /// for those that are said again come late.
    next: Option<u64>,
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
    /// Keeps one, and forgets the oldest of its class for as long as there are more than there may
    /// be; the latest is always kept. With one that is in the log come its base and the place of
    /// the record by which it died. Returns whose were forgotten.
    pub(crate) fn push(
        &mut self,
        tenant: TenantKey,
        letter: DeadLetter,
        logged: Option<(Sequence, Sequence)>,
        most: Most,
    ) -> Vec<TenantKey> {
        let (id, size) = (letter.publish.envelope.id, size(&letter));
        let (base, place) = logged.unwrap_or_default();
        let number = self.next.unwrap_or(place.0);
        // What is said again takes the place of what is known of it.
        self.remove(number);
        self.letters.insert(number, Kept { tenant, letter, base, place });
        self.ids.entry((tenant, id)).or_default().push(number);
        let class = if logged.is_some() { &mut self.logged } else { &mut self.ephemeral };
        class.numbers.insert(number);
        class.bytes += size;
        self.next = self.next.map(|next| next + 1);
        let mut forgotten = Vec::new();
        loop {
            let class = if logged.is_some() { &self.logged } else { &self.ephemeral };
            let over = class.numbers.len() > most.letters || class.bytes > most.bytes;
            let oldest = class.numbers.first().copied();
            let Some(oldest) = oldest.filter(|_| over && class.numbers.len() > 1) else {
                return forgotten;
            };
            forgotten.extend(self.letters.get(&oldest).map(|kept| kept.tenant));
            self.remove(oldest);
        }
    }

    /// While records are replayed: adds what became of an attempt to the letter with a place. With
    /// too many of them it may have been forgotten at once.
    pub(crate) fn add_attempt(&mut self, place: Sequence, note: AttemptNote) {
        if let Some(kept) = self.letters.get_mut(&place.0) {
            self.logged.bytes += note.reason.len() as u64;
            kept.letter.attempts.push(note);
        }
    }

    /// Numbers what was replayed from 0 on, in the order in which it died.
    pub(crate) fn number_replayed(&mut self) {
        self.ids.clear();
        self.logged.numbers.clear();
        let letters = std::mem::take(&mut self.letters);
        for (number, kept) in (0..).zip(letters.into_values()) {
            let id = kept.letter.publish.envelope.id;
            self.ids.entry((kept.tenant, id)).or_default().push(number);
            self.logged.numbers.insert(number);
            self.letters.insert(number, kept);
        }
        self.next = Some(self.letters.len() as u64);
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

    /// While records are replayed: forgets those that died before a place.
    pub(crate) fn forget_before(&mut self, place: Sequence) {
        while let Some(&oldest) = self.logged.numbers.first().filter(|&&number| number < place.0) {
            self.remove(oldest);
        }
    }

    /// Forgets the oldest of each class for as long as they are to be forgotten. Returns whose
    /// were.
    pub(crate) fn forget(&mut self, is_past: impl Fn(&DeadLetter) -> bool) -> Vec<TenantKey> {
        let mut forgotten = Vec::new();
        for is_logged in [true, false] {
            loop {
                let class = if is_logged { &self.logged } else { &self.ephemeral };
                let Some(&oldest) = class.numbers.first() else { break };
                match self.letters.get(&oldest) {
                    Some(kept) if is_past(&kept.letter) => forgotten.push(kept.tenant),
                    _ => break,
                }
                self.remove(oldest);
            }
        }
        forgotten
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

    /// Those of them whose numbers are below `before`, with their numbers. A restart leaves out
    /// ephemeral ones and so gives a letter the same number or a lower one: who goes on from a
    /// number skips nothing.
    pub(crate) fn older(
        &self,
        tenant: TenantKey,
        before: u64,
    ) -> impl Iterator<Item = (u64, &DeadLetter)> {
        let of_tenant = move |(_, kept): &(&u64, &Kept)| kept.tenant == tenant;
        let older = self.letters.range(..before).rev().filter(of_tenant);
        older.map(|(number, kept)| (*number, &kept.letter))
    }

    /// The letter that an address names.
    ///
    /// # Errors
    /// A [`Refusal`] if there is none, or if copies of it died in several inboxes and none of
    /// these is named.
    pub(crate) fn find(
        &self,
        tenant: TenantKey,
        address: &LetterAddress,
    ) -> Result<&DeadLetter, Refusal> {
        let LetterAddress { id, inbox } = address;
        let mut inboxes: Vec<_> = self.copies(tenant, *id).map(|letter| &letter.inbox).collect();
        inboxes.sort_unstable();
        inboxes.dedup();
        let found = match (inbox, &inboxes[..]) {
            (Some(inbox), _) => self.number(tenant, *id, inbox),
            (None, [only]) => self.number(tenant, *id, only),
            (None, []) => None,
            (None, several) => {
                let several: Vec<_> = several.iter().map(ToString::to_string).collect();
                let message = format!(
                    "copies of message {id} died in several inboxes; say which is meant: {}",
                    several.join(", ")
                );
                return Err(Refusal::new(RefusalCode::Invalid, message));
            }
        };
        let letter = found.and_then(|number| self.letters.get(&number));
        letter.map(|kept| &kept.letter).ok_or_else(|| {
            let place = inbox.as_ref().map_or_else(String::new, |inbox| format!(" of '{inbox}'"));
            let message = format!(
                "dead letter {id}{place} is gone: it was redriven, purged or forgotten, or it \
                 never was; list those that there are"
            );
            Refusal::new(RefusalCode::NotFound, message)
        })
    }

    /// Takes out the letter that a message became in an inbox. Whether it was in the log, if there
    /// was one.
    pub(crate) fn take(
        &mut self,
        tenant: TenantKey,
        id: MessageId,
        inbox: &InboxAddress,
    ) -> Option<bool> {
        let number = self.number(tenant, id, inbox)?;
        let was_logged = self.logged.numbers.contains(&number);
        self.remove(number);
        // A replay that begins behind the older of two would take the younger for it, which must
        // therefore be said again.
        for number in self.ids.get(&(tenant, id)).into_iter().flatten() {
            if let Some(kept) = self.letters.get_mut(number) {
                kept.base = Sequence(0);
            }
        }
        Some(was_logged)
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

    fn copies(&self, tenant: TenantKey, id: MessageId) -> impl Iterator<Item = &DeadLetter> {
        let numbers = self.ids.get(&(tenant, id)).into_iter().flatten();
        numbers.filter_map(|number| self.letters.get(number).map(|kept| &kept.letter))
    }

    /// The oldest that a message became in an inbox: of those in the log, if there is one, for
    /// these are what a replay finds.
    fn number(&self, tenant: TenantKey, id: MessageId, inbox: &InboxAddress) -> Option<u64> {
        let numbers = self.ids.get(&(tenant, id))?.iter().copied();
        let meant = numbers.filter(|number| {
            self.letters.get(number).is_some_and(|kept| kept.letter.inbox == *inbox)
        });
        meant.min_by_key(|number| (!self.logged.numbers.contains(number), *number))
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

/// Bytes of what a dead letter keeps of what others said.
fn size(letter: &DeadLetter) -> u64 {
    let envelope = &letter.publish.envelope;
    let headers = envelope.headers.iter().map(|(name, value)| name.len() + value.len());
    let reasons = letter.attempts.iter().map(|note| note.reason.len());
    let texts = headers.chain(reasons).sum::<usize>() + letter.reason.len();
    (envelope.payload.data.len() + texts) as u64
}
