//! The index of idempotency keys, as a broker keeps one beside its log: filled from records that
//! are on disk, whenever the driver gets to it, and lost or behind after some restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use trunkline_engine::{KeyIndex, KeyRow};
use trunkline_types::{IdempotencyKey, Sequence, TenantId};

type Rows = BTreeMap<(TenantId, IdempotencyKey), KeyRow>;

/// Idempotency keys outside the engine's memory. All clones are of one index.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    rows: Arc<Mutex<Rows>>,
    /// The place of the last record that it has taken in.
    pub(crate) through: Sequence,
}

impl Index {
    /// Takes in what a record says of a key.
    pub(crate) fn insert(&self, (tenant, key, row): (TenantId, IdempotencyKey, KeyRow)) {
        self.rows().insert((tenant, key), row);
    }

    /// Forgets everything.
    pub(crate) fn lose(&mut self) {
        self.rows().clear();
        self.through = Sequence(0);
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyIndex for Index {
    fn find(&self, tenant: &TenantId, key: &IdempotencyKey) -> Result<Option<KeyRow>, String> {
        Ok(self.rows().get(&(tenant.clone(), key.clone())).copied())
    }
}
