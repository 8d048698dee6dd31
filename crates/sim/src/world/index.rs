//! The index, as a broker keeps one beside its log: filled with what records tell that are on disk,
//! whenever the driver gets to it, and lost or behind after some restarts.

use super::{World, principal};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trunkline_engine::{
    ClearedLetter, DeadPlace, DiedLetter, EndedTask, InMemory, KeyIndex, KeyRow, LetterIndex,
    LetterList, Past, TaskIndex, merge_letters,
};
use trunkline_types::{
    Answer, DeadLetterFilter, IdempotencyKey, InboxAddress, MessageId, Query, Refusal, Sequence,
    TenantId, WallTime,
};

/// How many letters of the index are looked at for a page.
const LOOKED_AT: usize = 12;

/// Idempotency keys, ended tasks and dead letters outside the engine's memory. All clones are of
/// one index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    rows: Arc<Mutex<Rows>>,
    /// The place of the last record that it has taken in.
    pub(crate) through: Sequence,
}

#[derive(Debug, Default)]
struct Rows {
    keys: BTreeMap<(TenantId, IdempotencyKey), KeyRow>,
    tasks: BTreeMap<(TenantId, MessageId), Box<EndedTask>>,
    letters: BTreeMap<Sequence, Box<DiedLetter>>,
}

impl Index {
    /// Takes in what a record says of a key.
    pub(crate) fn insert(&self, (tenant, key, row): (TenantId, IdempotencyKey, KeyRow)) {
        self.rows().keys.insert((tenant, key), row);
    }

    /// Takes in what is over.
    pub(crate) fn insert_past(&self, past: Past) {
        let mut rows = self.rows();
        match past {
            Past::Ended(task) => {
                rows.tasks.insert((task.tenant.clone(), task.task.id), task);
            }
            Past::Died(letter) => {
                rows.letters.insert(letter.place, letter);
            }
            Past::Cleared(cleared) => rows.clear(&cleared),
        }
    }

    /// Forgets everything.
    pub(crate) fn lose(&mut self) {
        *self.rows() = Rows::default();
        self.through = Sequence(0);
    }

    /// A page of a tenant's letters that had left memory. It looks at a few of them only.
    fn letters(
        &self,
        tenant: &TenantId,
        filter: &DeadLetterFilter,
        known: &InMemory,
    ) -> LetterList {
        let rows = self.rows();
        let mut page = LetterList::default();
        let limit = if filter.limit == 0 { 100 } else { filter.limit as usize };
        let past = rows.letters.values().rev().filter(|died| {
            died.tenant == *tenant
                && died.place < known.letters_from
                && filter.before.is_none_or(|before| died.number() < before)
        });
        for (looked_at, died) in past.enumerate() {
            if looked_at == LOOKED_AT || page.letters.len() >= limit {
                break;
            }
            page.next = Some(died.number());
            if died.is_wanted(filter) {
                page.letters.push((**died).clone());
            }
        }
        let older = |next: &u64| {
            rows.letters.values().any(|died| died.tenant == *tenant && died.number() < *next)
        };
        page.next = page.next.filter(older);
        page
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn clear(&mut self, cleared: &ClearedLetter) {
        let meant = self.letters.values().find(|died| {
            let id = died.letter.publish.envelope.id;
            died.tenant == cleared.tenant && cleared.is(id, &died.letter.inbox, died.place)
        });
        if let Some(place) = meant.map(|died| died.place) {
            self.letters.remove(&place);
        }
    }
}

impl World {
    /// The engine's answer, completed with what the index has of the dead letters that had left
    /// memory.
    pub(super) fn completed(
        &self,
        tenant: usize,
        query: &Query,
        known: &InMemory,
        answer: Result<Answer, Refusal>,
    ) -> Result<Answer, Refusal> {
        match (query, answer) {
            (Query::DeadLetters(filter), Ok(Answer::DeadLetters(page))) if self.plan.indexed => {
                let tenant = principal(tenant).tenant;
                let past = self.broker.index.letters(&tenant, filter, known);
                Ok(Answer::DeadLetters(merge_letters(filter, page, known, past)))
            }
            (_, answer) => answer,
        }
    }
}

impl KeyIndex for Index {
    fn find(&self, tenant: &TenantId, key: &IdempotencyKey) -> Result<Option<KeyRow>, String> {
        Ok(self.rows().keys.get(&(tenant.clone(), key.clone())).copied())
    }
}

impl TaskIndex for Index {
    fn find(&self, tenant: &TenantId, id: MessageId) -> Result<Option<Box<EndedTask>>, String> {
        Ok(self.rows().tasks.get(&(tenant.clone(), id)).cloned())
    }

    fn count(&self, tenant: &TenantId, before: Sequence) -> Result<u64, String> {
        let rows = self.rows();
        let tasks = rows.tasks.values();
        Ok(tasks.filter(|task| task.tenant == *tenant && task.place < before).count() as u64)
    }

    fn since(&self) -> Result<Option<WallTime>, String> {
        let rows = self.rows();
        let first = rows.tasks.values().min_by_key(|task| task.place);
        Ok(first.map(|task| task.task.updated_at))
    }
}

impl LetterIndex for Index {
    fn find(
        &self,
        tenant: &TenantId,
        id: MessageId,
        inbox: Option<&InboxAddress>,
    ) -> Result<Vec<DeadPlace>, String> {
        let rows = self.rows();
        let wanted = rows.letters.values().filter(|died| {
            died.tenant == *tenant
                && died.letter.publish.envelope.id == id
                && inbox.is_none_or(|inbox| *inbox == died.letter.inbox)
        });
        let places = wanted.map(|died| {
            let (inbox, at) = (died.letter.inbox.clone(), died.letter.at);
            DeadPlace { place: died.place, inbox, at }
        });
        Ok(places.collect())
    }

    fn read(&self, place: Sequence) -> Result<Option<Box<DiedLetter>>, String> {
        Ok(self.rows().letters.get(&place).cloned())
    }

    fn count(
        &self,
        tenant: &TenantId,
        before: Sequence,
        without: &[Sequence],
    ) -> Result<u64, String> {
        let rows = self.rows();
        let letters = rows.letters.range(..before);
        let counted =
            letters.filter(|(place, died)| died.tenant == *tenant && !without.contains(place));
        Ok(counted.count() as u64)
    }
}
