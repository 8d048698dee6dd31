//! The index of idempotency keys and ended tasks, as a broker keeps one beside its log: filled with
//! what records tell that are on disk, whenever the driver gets to it, and lost or behind after some restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trunkline_engine::{EndedTask, KeyIndex, KeyRow, TaskIndex};
use trunkline_types::{IdempotencyKey, MessageId, Sequence, TenantId};

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

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
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
