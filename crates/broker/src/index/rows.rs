//! What the index takes in.

use std::time::Duration;
use trunkline_engine::{KeyRow, Past, Record};
use trunkline_types::{IdempotencyKey, Sequence, TenantId};

/// Something for the index.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A key.
    Key(Row),
    /// Something that is over.
    Past(Past),
}

impl Entry {
    /// The place of the record that tells of it.
    pub(crate) fn place(&self) -> Sequence {
        match self {
            Self::Key(row) => row.place,
            Self::Past(past) => past.place(),
        }
    }

    /// About how many bytes it holds that somebody sent.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Key(_) => 0,
            Self::Past(past) => past.bytes(),
        }
    }
}

/// A key, what was accepted under it, and the place of the record that says so.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) place: Sequence,
    pub(crate) tenant: TenantId,
    pub(crate) key: IdempotencyKey,
    pub(crate) accepted: KeyRow,
}

/// The row of a record that tells of a key.
pub(crate) fn row_of(place: Sequence, record: &Record, window: Duration) -> Option<Row> {
    let (tenant, key, accepted) = record.key_row(window)?;
    Some(Row { place, tenant, key, accepted })
}
