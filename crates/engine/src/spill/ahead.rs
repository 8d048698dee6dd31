//! What an inbox has to know of its spilled entries.

use crate::queue::LANES;
use crate::record::EntryId;
use crate::table::EntryKey;
use std::collections::VecDeque;

/// The spilled entries of an inbox, and how many were asked for ahead of their delivery.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// Those in lanes, in the order of their lanes. Some may be spilled no longer, or gone.
    pub(super) listed: [VecDeque<(EntryKey, EntryId)>; LANES],
    /// Spilled entries in any place.
    pub(super) count: u32,
    /// How many were asked for and have not come.
    pub(super) loading: u32,
    /// How many came back and are in a lane still.
    pub(super) back: u32,
    /// Whether it is among those that are to be looked at.
    pub(super) noted: bool,
}

impl Ahead {
    /// Whether there is nothing left to know.
    pub(crate) fn is_over(&self) -> bool {
        self.count == 0 && self.loading == 0 && self.back == 0
    }

    /// Notes a spilled entry in a lane.
    pub(crate) fn list(&mut self, lane: usize, key: EntryKey, id: EntryId) {
        self.listed[lane].push_back((key, id));
    }

    /// Notes a spilled entry before all others of its lane.
    pub(super) fn list_first(&mut self, lane: usize, key: EntryKey, id: EntryId) {
        self.listed[lane].push_front((key, id));
    }

    /// Whether most of what is listed of a lane must be spilled no longer, gone or listed twice.
    pub(super) fn is_long(&self, lane: usize) -> bool {
        self.listed[lane].len() > 2 * self.count as usize + 64
    }

    /// Notes the spilled entries of a lane, instead of those noted before.
    pub(crate) fn list_all(
        &mut self,
        lane: usize,
        spilled: impl Iterator<Item = (EntryKey, EntryId)>,
    ) {
        self.listed[lane].clear();
        self.listed[lane].extend(spilled);
    }

    /// An entry that came back has left its lane.
    pub(crate) fn left(&mut self) {
        self.back -= 1;
    }
}
