//! Dead letters that leave memory for the index on disk: each logged one is handed to the driver
//! when it dies and when it is cleared, and is let go of here as soon as the index has it.
//!
//! In memory are the latest that died: no logged letter leaves before one that died earlier. So one
//! place says what is there, as with ended tasks. A letter that is cleared is gone for everybody at
//! once: until the index has deleted it, the engine remembers that.

use super::dead_letters::number;
use crate::engine::Engine;
use crate::past::{Handed, Past};
use crate::spill::is_stub;
use crate::stats::is_past;
use crate::table::TenantKey;
use std::fmt;
use std::sync::Arc;
use trunkline_types::{
    AttemptNote, DeadLetter, DeadLetterFilter, InboxAddress, MessageId, Publish, Sequence,
    TenantId, WallTime,
};

/// A logged dead letter.
#[derive(Clone, PartialEq, Debug)]
pub struct DiedLetter {
    /// The place of the record by which it died. It may be read from the index once that record is
    /// on disk.
    pub place: Sequence,
    /// Whose it is.
    pub tenant: TenantId,
    /// The letter.
    pub letter: DeadLetter,
}

/// A dead letter without what was sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LetterHead {
    /// The place of the record by which it died.
    pub place: Sequence,
    /// Whose it is.
    pub tenant: TenantId,
    /// The id of what was sent.
    pub id: MessageId,
    /// The inbox it was in.
    pub inbox: InboxAddress,
    /// Why it is here.
    pub reason: String,
    /// When it came here.
    pub at: WallTime,
    /// When it was accepted.
    pub accepted_at: WallTime,
    /// What became of every attempt.
    pub attempts: Vec<AttemptNote>,
}

/// A logged dead letter that was sent again or deleted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClearedLetter {
    /// The place of the record that says so.
    pub place: Sequence,
    /// Whose it was.
    pub tenant: TenantId,
    /// The id of what was sent.
    pub id: MessageId,
    /// The inbox it was in.
    pub inbox: InboxAddress,
    /// The place of the record by which it died. If that is not known, it is the oldest of those
    /// with its id in its inbox that died before it was cleared.
    pub died: Option<Sequence>,
}

/// Where a dead letter lies in the index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadPlace {
    /// The place of the record by which it died.
    pub place: Sequence,
    /// The inbox it was in.
    pub inbox: InboxAddress,
    /// When it came here.
    pub at: WallTime,
}

/// Dead letters on disk. The driver fills it from [`Effect::Past`](crate::Effect::Past) and says
/// with [`Command::Indexed`](crate::Command::Indexed) how far it has come; from then on the engine
/// asks here for them. What is found must depend on what was handed over alone.
pub trait LetterIndex: Send + Sync + fmt::Debug {
    /// The letters that copies of a tenant's message became, those of one inbox if one is named,
    /// oldest first; of very many only some.
    ///
    /// # Errors
    /// That the index cannot be read.
    fn find(
        &self,
        tenant: &TenantId,
        id: MessageId,
        inbox: Option<&InboxAddress>,
    ) -> Result<Vec<DeadPlace>, String>;

    /// The letter that died by the record at a place; `None` if there is none.
    ///
    /// # Errors
    /// That the index cannot be read.
    fn read(&self, place: Sequence) -> Result<Option<Box<DiedLetter>>, String>;

    /// How many letters of a tenant it has that died by records before a place, without those at
    /// some places.
    ///
    /// # Errors
    /// That the index cannot be read.
    fn count(
        &self,
        tenant: &TenantId,
        before: Sequence,
        without: &[Sequence],
    ) -> Result<u64, String>;
}

impl DiedLetter {
    /// Its number, by which lists are ordered and go on.
    pub fn number(&self) -> u64 {
        number(self.place)
    }

    /// Whether a list that is narrowed so has it; the cursor is left out of account.
    pub fn is_wanted(&self, filter: &DeadLetterFilter) -> bool {
        let DeadLetter { publish, inbox, reason, at, accepted_at: _, attempts } = &self.letter;
        is_wanted(filter, publish.envelope.id, (inbox, *at), reason, attempts)
    }

    /// About how many bytes it needs.
    pub fn bytes(&self) -> u64 {
        super::dead_letters::size(&self.letter) + 400
    }
}

impl LetterHead {
    /// The number of the letter that died by the record at a place, by which lists are ordered and
    /// go on.
    pub fn number_at(place: Sequence) -> u64 {
        number(place)
    }

    /// With what was sent.
    pub fn with(self, publish: Arc<Publish>) -> DiedLetter {
        let Self { place, tenant, id: _, inbox, reason, at, accepted_at, attempts } = self;
        let letter = DeadLetter { publish, inbox, reason, at, accepted_at, attempts };
        DiedLetter { place, tenant, letter }
    }

    /// Whether it is a tenant's and a list that is narrowed so has it; the cursor is left out of
    /// account.
    pub fn is_wanted(&self, tenant: &TenantId, filter: &DeadLetterFilter) -> bool {
        let Self { id, inbox, reason, at, attempts, .. } = self;
        self.tenant == *tenant && is_wanted(filter, *id, (inbox, *at), reason, attempts)
    }
}

impl ClearedLetter {
    /// Whether it is the letter of an id in an inbox that died by the record at a place, as far as
    /// that can be told.
    pub fn is(&self, id: MessageId, inbox: &InboxAddress, died: Sequence) -> bool {
        self.id == id
            && self.inbox == *inbox
            && self.died.map_or(died < self.place, |known| known == died)
    }
}

/// Whether a list that is narrowed so has a letter.
pub(crate) fn is_wanted(
    filter: &DeadLetterFilter,
    own: MessageId,
    (place, at): (&InboxAddress, WallTime),
    why: &str,
    attempts: &[AttemptNote],
) -> bool {
    let DeadLetterFilter { id, inbox, agent, reason, since, until, before: _, limit: _ } = filter;
    id.is_none_or(|id| id == own)
        && inbox.as_ref().is_none_or(|inbox| inbox == place)
        && reason.as_ref().is_none_or(|text| why.contains(text.as_str()))
        && since.is_none_or(|since| at >= since)
        && until.is_none_or(|until| at < until)
        && agent
            .as_ref()
            .is_none_or(|agent| attempts.iter().any(|note| note.agent.as_ref() == Some(agent)))
}

impl Engine {
    /// Whether letters that died by a record are in the index.
    pub(crate) fn has_letters(&self, place: Sequence) -> bool {
        self.config.letter_index.is_some() && place <= self.indexed
    }

    /// The place up from which logged dead letters are in memory.
    pub(crate) fn letters_from(&self) -> Sequence {
        let first = self.dead_letters.logged_from(0);
        first.map_or(self.sequence.next(), |(_, kept)| kept.place)
    }

    /// Hands a logged letter over to the index, by its number, unless that has it.
    pub(crate) fn hand_over_letter(&mut self, number: u64) {
        let Some(kept) = self.dead_letters.get(number) else { return };
        if self.config.letter_index.is_none() || kept.place <= self.indexed {
            return;
        }
        let tenant = self.tenants[kept.tenant].id.clone();
        let (place, letter) = (kept.place, kept.letter.clone());
        let unread = is_stub(&letter.publish).then(|| (kept.base, letter.publish.clone()));
        let past = Past::Died(Box::new(DiedLetter { place, tenant, letter }));
        self.handed.push(Handed { past, unread });
    }

    /// Lets go of the letters that the index has, and of what it was to forget and has forgotten.
    pub(crate) fn letters_indexed(&mut self, through: Sequence) {
        if self.config.letter_index.is_some() {
            for owner in self.dead_letters.leave(through) {
                self.tenants[owner].tally.letters_forgotten += 1;
            }
        }
    }

    /// Where the letters of a message lie that are in the index and no longer in memory, are not
    /// cleared and died by an earlier record.
    pub(crate) fn past_letters(
        &self,
        at: WallTime,
        tenant: TenantKey,
        id: MessageId,
        inbox: Option<&InboxAddress>,
    ) -> Result<Vec<DeadPlace>, String> {
        let Some(index) = &self.config.letter_index else { return Ok(Vec::new()) };
        let mut found = index.find(&self.tenants[tenant].id, id, inbox)?;
        let (letters, keep) = (&self.dead_letters, self.dead_letter_keep());
        found.retain(|DeadPlace { place, inbox, at: died_at }| {
            *place < self.sequence.next()
                && letters.get(number(*place)).is_none()
                && !letters.is_cleared(tenant, id, inbox, *place)
                && !is_past(*died_at, keep, at)
        });
        Ok(found)
    }

    /// How many letters of a tenant are in the index and no longer in memory. An index that cannot
    /// be read has none that anybody could read.
    pub(crate) fn indexed_letters(&self, tenant: TenantKey) -> u64 {
        let Some(index) = &self.config.letter_index else { return 0 };
        let cleared = self.dead_letters.cleared_of(tenant);
        let without: Vec<_> = cleared.filter_map(|cleared| cleared.died).collect();
        let count = index.count(&self.tenants[tenant].id, self.letters_from(), &without);
        count.unwrap_or(0)
    }
}
