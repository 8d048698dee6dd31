//! Dead letters: kept with every attempt's reason, up to a bound.

use crate::table::TenantKey;
use std::collections::{BTreeMap, BTreeSet};
use trunkline_types::session::LetterAddress;
use trunkline_types::{DeadLetter, InboxAddress, MessageId, Refusal, RefusalCode};

/// The dead letters of all tenants, oldest first. Logged and ephemeral ones are bounded apart, so
/// that what is not in the log never decides what of it is forgotten.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    letters: BTreeMap<u64, (TenantKey, DeadLetter)>,
    /// The numbers of those that copies of one message became.
    ids: BTreeMap<(TenantKey, MessageId), Vec<u64>>,
    logged: Class,
    ephemeral: Class,
    next: u64,
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
    /// be; the latest is always kept. Returns whose were forgotten.
    pub(crate) fn push(
        &mut self,
        tenant: TenantKey,
        letter: DeadLetter,
        is_logged: bool,
        most: Most,
    ) -> Vec<TenantKey> {
        let (id, size) = (letter.publish.envelope.id, size(&letter));
        self.letters.insert(self.next, (tenant, letter));
        self.ids.entry((tenant, id)).or_default().push(self.next);
        let class = if is_logged { &mut self.logged } else { &mut self.ephemeral };
        class.numbers.insert(self.next);
        class.bytes += size;
        self.next += 1;
        let mut forgotten = Vec::new();
        loop {
            let class = if is_logged { &self.logged } else { &self.ephemeral };
            let over = class.numbers.len() > most.letters || class.bytes > most.bytes;
            let oldest = class.numbers.first().copied();
            let Some(oldest) = oldest.filter(|_| over && class.numbers.len() > 1) else {
                return forgotten;
            };
            forgotten.extend(self.letters.get(&oldest).map(|&(tenant, _)| tenant));
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
                    Some((tenant, letter)) if is_past(letter) => forgotten.push(*tenant),
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
        oldest.map(|(_, letter)| letter)
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
        let of_tenant = move |(_, (owner, _)): &(&u64, &(TenantKey, DeadLetter))| *owner == tenant;
        let older = self.letters.range(..before).rev().filter(of_tenant);
        older.map(|(number, (_, letter))| (*number, letter))
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
        letter.map(|(_, letter)| letter).ok_or_else(|| {
            let place = inbox.as_ref().map_or_else(String::new, |inbox| format!(" of '{inbox}'"));
            let message = format!(
                "dead letter {id}{place} is gone: it was redriven, purged or forgotten, or it \
                 never was"
            );
            Refusal::new(RefusalCode::NotFound, message)
        })
    }

    /// Takes out the letter that a message became in an inbox. Whether there was one.
    pub(crate) fn take(&mut self, tenant: TenantKey, id: MessageId, inbox: &InboxAddress) -> bool {
        let Some(number) = self.number(tenant, id, inbox) else { return false };
        self.remove(number);
        true
    }

    /// Whether letters, index and classes name the same letters, for checks.
    pub(crate) fn is_consistent(&self) -> bool {
        let indexed: BTreeSet<_> = self.ids.values().flatten().copied().collect();
        let (logged, ephemeral) = (&self.logged, &self.ephemeral);
        let classed: BTreeSet<_> = logged.numbers.union(&ephemeral.numbers).copied().collect();
        let kept: BTreeSet<_> = self.letters.keys().copied().collect();
        let sizes: u64 = self.letters.values().map(|(_, letter)| size(letter)).sum();
        indexed == kept && classed == kept && sizes == logged.bytes + ephemeral.bytes
    }

    fn copies(&self, tenant: TenantKey, id: MessageId) -> impl Iterator<Item = &DeadLetter> {
        let numbers = self.ids.get(&(tenant, id)).into_iter().flatten();
        numbers.filter_map(|number| self.letters.get(number).map(|(_, letter)| letter))
    }

    /// The oldest that a message became in an inbox: of those in the log, if there is one, for
    /// these are what a replay finds.
    fn number(&self, tenant: TenantKey, id: MessageId, inbox: &InboxAddress) -> Option<u64> {
        let numbers = self.ids.get(&(tenant, id))?.iter().copied();
        let meant = numbers.filter(|number| {
            self.letters.get(number).is_some_and(|(_, letter)| letter.inbox == *inbox)
        });
        meant.min_by_key(|number| (!self.logged.numbers.contains(number), *number))
    }

    fn remove(&mut self, number: u64) {
        let Some((tenant, letter)) = self.letters.remove(&number) else { return };
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
