//! What came back to a lane.

use crate::record::EntryId;
use crate::table::EntryKey;
use std::collections::BTreeMap;

/// Entries that were delivered before and came back, in order of acceptance. Boxed because most
/// lanes have none.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "every lane is as large as the largest")]
pub(super) struct Returned(Option<Box<BTreeMap<EntryId, EntryKey>>>);

impl Returned {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn insert(&mut self, id: EntryId, key: EntryKey) {
        self.0.get_or_insert_default().insert(id, key);
    }

    pub(super) fn remove(&mut self, id: EntryId) {
        if let Some(entries) = &mut self.0 {
            entries.remove(&id);
        }
        self.0.take_if(|entries| entries.is_empty());
    }

    pub(super) fn first(&self) -> Option<EntryKey> {
        self.0.as_ref()?.first_key_value().map(|(_, &key)| key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = EntryKey> {
        self.0.iter().flat_map(|entries| entries.values().copied())
    }
}
