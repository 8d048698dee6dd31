//! What may be dropped from a full inbox to make room: events and the like that wait, oldest
//! first. Work, answers and errors are never dropped.

use super::entry::Entry;
use crate::record::EntryId;
use crate::table::EntryKey;
use std::collections::BTreeMap;
use trunkline_types::Kind;

/// The ready entries of an inbox that may be dropped. Logged and ephemeral ones apart, for they
/// are bounded apart.
#[derive(Debug, Default)]
pub(crate) struct Droppable {
    classes: [BTreeMap<EntryId, EntryKey>; 2],
}

/// Whether an envelope of this kind may be dropped for a newer one, and may have an older one
/// dropped for it.
pub(crate) fn is_event_like(kind: Kind) -> bool {
    match kind {
        Kind::Event | Kind::Broadcast | Kind::ContextShare | Kind::Status => true,
        Kind::Request | Kind::Response | Kind::Error => false,
    }
}

impl Droppable {
    /// Notes an entry that is ready, if it may be dropped.
    pub(crate) fn push(&mut self, entry: &Entry, key: EntryKey) {
        if entry.task.is_none() && is_event_like(entry.body.kind()) {
            self.classes[usize::from(entry.is_logged())].insert(entry.id, key);
        }
    }

    /// An entry is ready no longer.
    pub(crate) fn remove(&mut self, entry: &Entry) {
        self.classes[usize::from(entry.is_logged())].remove(&entry.id);
    }

    /// Those of one class, oldest first.
    pub(crate) fn oldest(&self, is_logged: bool) -> impl Iterator<Item = EntryKey> {
        self.classes[usize::from(is_logged)].values().copied()
    }

    /// How many there are, for checks.
    pub(crate) fn len(&self) -> usize {
        self.classes.iter().map(BTreeMap::len).sum()
    }
}
