//! What the index takes from a record.

use std::time::Duration;
use trunkline_engine::{Carried, KeyRow, Record};
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
    let (tenant, key, accepted) = match record {
        Record::Accepted(record) => record.key_row(window)?,
        Record::Carried(carried) => {
            let Carried::Key { tenant, key, row } = &**carried else { return None };
            (tenant.clone(), key.clone(), *row)
        }
        _ => return None,
    };
    Some(Row { place, tenant, key, accepted })
}
