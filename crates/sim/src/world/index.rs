//! The index of idempotency keys and ended tasks, as a broker keeps one beside its log: filled with
//! what records tell that are on disk, whenever the driver gets to it, and lost or behind after some restarts.

use super::{DriverDefect, World, tenant};
use crate::check::Check;
use crate::laws::handing::{self, Handed};
use crate::totals::Count;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trunkline_engine::{EndedTask, KeyIndex, KeyRow, TaskIndex, merge_tasks};
use trunkline_types::{
    Answer, IdempotencyKey, MessageId, Query, Refusal, Sequence, TaskFilter, TaskPage, TenantId,
};

/// How many tasks of the index are looked at for a page.
const LOOKED_AT: usize = 12;

type Rows = BTreeMap<(TenantId, IdempotencyKey), KeyRow>;
type Tasks = BTreeMap<(TenantId, MessageId), Box<EndedTask>>;

/// Idempotency keys and ended tasks outside the engine's memory. All clones are of one index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    rows: Arc<Mutex<Rows>>,
    tasks: Arc<Mutex<Tasks>>,
    /// The place of the last record that it has taken in.
    pub(crate) through: Sequence,
}

impl Index {
    /// Takes in what a record says of a key.
    pub(crate) fn insert(&self, (tenant, key, row): (TenantId, IdempotencyKey, KeyRow)) {
        self.rows().insert((tenant, key), row);
    }

    /// Takes in an ended task.
    pub(crate) fn insert_task(&self, task: Box<EndedTask>) {
        self.tasks().insert((task.tenant.clone(), task.task.id), task);
    }

    /// Forgets everything.
    pub(crate) fn lose(&mut self) {
        self.rows().clear();
        self.tasks().clear();
        self.through = Sequence(0);
    }

    /// A page of a tenant's tasks that were ended by records before a place. It looks at a few of
    /// them only.
    fn page(&self, tenant: &TenantId, filter: &TaskFilter, before: Sequence) -> TaskPage {
        let tasks = self.tasks();
        let mut page = TaskPage::default();
        let limit = if filter.limit == 0 { LOOKED_AT } else { filter.limit as usize };
        let (mut last, mut looked_at) = (None, 0);
        for ((owner, id), task) in tasks.iter().rev() {
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

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// A task is handed over that has ended.
    pub(super) fn handed(&mut self, ended: &EndedTask) -> Check {
        let EndedTask { place, tenant, task, payload, .. } = ended;
        let model = &mut self.models[Self::number_of(tenant)];
        let (id, state, result) = (task.id, task.state, task.result.as_ref());
        handing::handed(model, Handed { place: *place, id, state, result, payload })
    }

    /// So are those that the index has not taken in, when the broker starts.
    pub(super) fn handed_again(&mut self) -> Check {
        let tasks = std::mem::take(&mut self.broker.ended);
        let check = tasks.iter().try_for_each(|task| self.handed(task));
        self.broker.ended = tasks;
        check
    }

    /// The engine's answer, completed with what the index has of the tasks that had left memory.
    pub(super) fn completed(
        &mut self,
        number: usize,
        query: &Query,
        ended_from: Sequence,
        result: Result<Answer, Refusal>,
    ) -> Result<Answer, Refusal> {
        let (Query::Tasks(filter), Ok(Answer::Tasks(page))) = (query, &result) else {
            return result;
        };
        let mut page = page.clone();
        let is_full = self.broker.defect == Some(DriverDefect::FullPageUnmerged);
        if self.plan.indexed && !(is_full && page.next.is_some()) {
            let past = self.broker.index.page(&tenant(number), filter, ended_from);
            self.totals.add(Count::Merged);
            page = merge_tasks(filter, page, past);
        }
        self.cursor = page.next.map(|next| (number, next));
        Ok(Answer::Tasks(page))
    }
}

impl KeyIndex for Index {
    fn find(&self, tenant: &TenantId, key: &IdempotencyKey) -> Result<Option<KeyRow>, String> {
        Ok(self.rows().get(&(tenant.clone(), key.clone())).copied())
    }
}

impl TaskIndex for Index {
    fn find(&self, tenant: &TenantId, id: MessageId) -> Result<Option<Box<EndedTask>>, String> {
        Ok(self.tasks().get(&(tenant.clone(), id)).cloned())
    }

    fn count(&self, tenant: &TenantId, before: Sequence) -> Result<u64, String> {
        let tasks = self.tasks();
        let earlier = tasks.values().filter(|task| task.tenant == *tenant && task.place < before);
        Ok(earlier.count() as u64)
    }
}
