//! What the index takes from a record.

use std::time::Duration;
use trunkline_engine::{KeyRow, Record};
use trunkline_types::{IdempotencyKey, Sequence, TenantId};

/// A key, what was accepted under it, and the place of the record that says so.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) place: Sequence,
    pub(crate) tenant: TenantId,
    pub(crate) key: IdempotencyKey,
    pub(crate) accepted: KeyRow,
}

/// The row of a record that accepted something under a key.
pub(crate) fn row_of(place: Sequence, record: &Record, window: Duration) -> Option<Row> {
    let Record::Accepted(record) = record else { return None };
    let (tenant, key, accepted) = record.key_row(window)?;
    Some(Row { place, tenant, key, accepted })
}
