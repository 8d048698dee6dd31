//! The index, as a broker keeps one beside its log: filled with what records tell that are on disk,
//! whenever the driver gets to it, and lost or behind after some restarts.

use super::{DriverDefect, World, tenant};
use crate::check::Check;
use crate::laws::handing::{self, Handed};
use crate::totals::Count;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trunkline_engine::{
    ClearedLetter, DeadPlace, DiedLetter, EndedTask, InMemory, KeyIndex, KeyRow, LetterIndex,
    LetterList, Past, TaskIndex, merge_letters, merge_tasks,
};
use trunkline_types::{
    Answer, DeadLetterFilter, IdempotencyKey, InboxAddress, MessageId, Query, Refusal, Sequence,
    TaskFilter, TaskPage, TenantId, WallTime,
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

    /// A page of a tenant's tasks that were ended by records before a place. It looks at a few of
    /// them only.
    fn page(&self, tenant: &TenantId, filter: &TaskFilter, before: Sequence) -> TaskPage {
        let rows = self.rows();
        let mut page = TaskPage::default();
        let limit = if filter.limit == 0 { LOOKED_AT } else { filter.limit as usize };
        let (mut last, mut looked_at) = (None, 0);
        for ((owner, id), task) in rows.tasks.iter().rev() {
            if owner != tenant || filter.before.is_some_and(|before| *id >= before) {
                continue;
            }
            if looked_at == LOOKED_AT || page.tasks.len() >= limit {
                page.next = last;
                break;
            }
            if task.place < before && task.is_wanted(tenant, filter) {
                page.tasks.push(task.task.clone());
            }
            (last, looked_at) = (Some(*id), looked_at + 1);
        }
        page
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
    /// Something is handed over for the index.
    pub(super) fn handed(&mut self, past: &Past) -> Check {
        let Past::Ended(ended) = past else { return Ok(()) };
        let EndedTask { place, tenant, task, payload, .. } = &**ended;
        let model = &mut self.models[Self::number_of(tenant)];
        let (id, state, result) = (task.id, task.state, task.result.as_ref());
        handing::handed(model, Handed { place: *place, id, state, result, payload })
    }

    /// So is what the index has not taken in, when the broker starts.
    pub(super) fn handed_again(&mut self) -> Check {
        let past = std::mem::take(&mut self.broker.past);
        let check = past.iter().try_for_each(|past| self.handed(past));
        self.broker.past = past;
        check
    }

    /// The engine's answer, completed with what the index has of what had left memory.
    pub(super) fn completed(
        &mut self,
        number: usize,
        query: &Query,
        known: &InMemory,
        answer: Result<Answer, Refusal>,
    ) -> Result<Answer, Refusal> {
        match (query, answer) {
            (Query::DeadLetters(filter), Ok(Answer::DeadLetters(page))) if self.plan.indexed => {
                let past = self.broker.index.letters(&tenant(number), filter, known);
                Ok(Answer::DeadLetters(merge_letters(filter, page, known, past)))
            }
            (Query::Tasks(filter), Ok(Answer::Tasks(mut page))) => {
                let is_full = self.broker.defect == Some(DriverDefect::FullPageUnmerged);
                if self.plan.indexed && !(is_full && page.next.is_some()) {
                    let past = self.broker.index.page(&tenant(number), filter, known.tasks_from);
                    self.totals.add(Count::Merged);
                    page = merge_tasks(filter, page, past);
                }
                self.cursor = page.next.map(|next| (number, next));
                Ok(Answer::Tasks(page))
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
