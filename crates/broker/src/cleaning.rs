//! When the log is cleaned, and how far at a time.
//!
//! The engine says things again (see its module `carry`); here it is decided from which segments
//! on records are to stay. The oldest go first. Normally about a quarter of the log is cleaned at a
//! time, so that most of what is in it has ended by itself. On a full disk it is one segment at a
//! time, for whatever is carried forward needs room itself.

use crate::core::Core;
use std::time::Duration;
use trunkline_engine::{Command, Mono, Now};
use trunkline_log::SegmentInfo;
use trunkline_types::Sequence;

/// How many steps of a sweep one turn takes at most.
const STEPS: usize = 4;

/// Out of how many segments one is cleaned at a time.
const SHARE: usize = 4;

/// Out of how many parts of a segment one must be written, on a full disk on which cleaning gains
/// nothing, before it is tried again.
const AGAIN: u64 = 8;

/// How often a full disk is looked at while nothing else happens, for files come free without a
/// word.
const LOOK: Duration = Duration::from_millis(50);

/// How often at most a full disk is cleaned on which it seems to be worth it, but was not last time.
const WORTH: Duration = Duration::from_secs(1);

/// What is known of cleaning.
#[derive(Debug, Default)]
pub(crate) struct Cleaning {
    /// Whether the log got further since it was looked at last.
    pub(crate) news: bool,
    /// Whether what is to be written does not fit into the log, what a sweep says again with it.
    pub(crate) is_stuck: bool,
    /// The segment that is to be the first one.
    keep: u64,
    /// The place before which records may be given up, once the index is on disk up to there.
    pub(crate) cleaned: Option<Sequence>,
    /// Up to where the index must be on disk for that.
    pub(crate) needed: Sequence,
    /// Up to where the index is on disk.
    pub(crate) indexed: Sequence,
    /// Bytes in the segments that the latest sweep is to free.
    freed: u64,
    /// Bytes carried forward, and bytes of other records, when the latest sweep began.
    begun: (u64, u64),
    /// When it began.
    begun_at: Mono,
}

impl Core {
    /// Begins a sweep, goes on with one, or gives up what one has made dispensable. Whether there
    /// is more to do at once.
    pub(crate) fn clean(&mut self, now: Now) -> bool {
        if !self.log.disk_full
            && let Some(index) = &self.threads.index
        {
            index.feed().set_short(false);
        }
        if self.threads.committer.is_none() || self.congested || self.is_index_damaged() {
            return false;
        }
        self.remove_cleaned();
        self.cleaning.news |= self.log.disk_full;
        if self.cleaning.is_stuck {
            // Until it is written, no sweep comes to its end and nothing is given up.
            self.look_for_room();
        }
        if self.engine.cleaning().is_none()
            && std::mem::take(&mut self.cleaning.news)
            && let Some(before) = self.cleaning_due(now)
        {
            self.engine.handle(now, Command::Clean { before }, &mut self.out);
            self.perform();
        }
        let records = self.out.records.len();
        for _ in 0..STEPS {
            let Some(before) = self.engine.cleaning() else { return false };
            if self.out.records.len() > records {
                // It goes on when these are written.
                return false;
            }
            self.engine.handle(now, Command::Clean { before }, &mut self.out);
            self.perform();
        }
        self.engine.cleaning().is_some() && self.out.records.len() == records
    }

    /// Whether the index was found damaged. Nothing is given up on its word then: what the log still
    /// has is what the next start makes another one of.
    fn is_index_damaged(&self) -> bool {
        self.threads.index.as_ref().is_some_and(|index| index.feed().is_damaged())
    }

    /// The place of the first record that is to stay, if cleaning is due.
    fn cleaning_due(&mut self, now: Now) -> Option<Sequence> {
        let committer = self.threads.committer.as_ref()?;
        if self.cleaning.cleaned.is_some() {
            return None;
        }
        if committer.figures().segments < 2 {
            self.look_for_room();
            return None;
        }
        let segments = committer.segments();
        if segments.first().is_none_or(|first| first.number < self.cleaning.keep) {
            // What was freed last is not gone yet.
            return None;
        }
        let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
        let (carried, fresh) = (self.log.carried_bytes, self.log.bytes - self.log.carried_bytes);
        let full = self.log.disk_full;
        let gained = carried - self.cleaning.begun.0 < self.cleaning.freed / 4 * 3;
        let moved = fresh - self.cleaning.begun.1 >= segments[0].bytes / AGAIN;
        let dead = bytes.saturating_sub(self.engine.live_bytes());
        let worth = dead >= segments[0].bytes && now.mono >= self.cleaning.begun_at.after(WORTH);
        let useful = gained || moved || worth || self.cleaning.keep == 0;
        let due = if full { useful } else { self.engine.wants_cleaning(bytes) };
        if !due {
            self.look_for_room();
            return None;
        }
        let many = if full { 1 } else { (segments.len() / SHARE).max(2) };
        let (keep, before) = first_kept(&segments, many, self.partition)?;
        self.cleaning.keep = keep;
        self.cleaning.begun = (carried, fresh);
        self.cleaning.begun_at = now.mono;
        let freed = segments.iter().take_while(|segment| segment.number < keep);
        self.cleaning.freed = freed.map(|segment| segment.bytes).sum();
        Some(before)
    }

    /// On a full disk on which cleaning gains nothing, history is to give way to work.
    fn look_for_room(&self) {
        if self.log.disk_full
            && let Some(index) = &self.threads.index
        {
            index.feed().set_short(true);
        }
    }

    /// When a full disk is to be looked at again.
    pub(crate) fn look_again(&self, now: Now) -> Option<Mono> {
        (self.log.disk_full && self.threads.committer.is_some()).then(|| now.mono.after(LOOK))
    }

    /// Gives up the segments that nothing needs any longer.
    fn remove_cleaned(&mut self) {
        if self.cleaning.cleaned.is_none() {
            return;
        }
        if let Some(index) = &self.threads.index
            && self.cleaning.indexed < self.cleaning.needed
        {
            // Keys and ended tasks of the records before are in the index only, which must not lose
            // them either.
            index.feed().keep(self.cleaning.needed);
            return;
        }
        self.cleaning.cleaned = None;
        if let Some(committer) = &self.threads.committer {
            committer.remove_before(self.cleaning.keep);
        }
    }

    /// Brings the log's figures up to date.
    pub(crate) fn look_at_log(&mut self) {
        let Some(committer) = &self.threads.committer else { return };
        let figures = committer.figures();
        self.log.segments = figures.segments;
        self.log.disk_bytes = figures.disk_bytes;
        self.log.removed_segments = figures.removed;
        self.log.live_bytes = self.engine.live_bytes();
        let payloads = self.engine.payloads();
        self.log.payload_memory_bytes = payloads.memory_bytes;
        self.log.payload_disk_bytes = payloads.disk_bytes;
        self.log.payloads_on_disk = payloads.on_disk;
        self.log.payload_loads = payloads.loads;
        self.log.payload_load_batches = payloads.load_batches;
        if let Some(index) = &self.threads.index {
            self.log.index_rows_damaged = index.feed().lost();
        }
    }
}

/// The number of the segment that is first when so many have gone, and the place of its first
/// record. The one being written to always stays.
fn first_kept(segments: &[SegmentInfo], many: usize, partition: u16) -> Option<(u64, Sequence)> {
    let most = segments.len().checked_sub(1)?;
    (1..=many.min(most)).rev().find_map(|at| {
        let first = segments[at].first_of(partition)?;
        Some((segments[at].number, Sequence(first)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, first: Option<u64>) -> SegmentInfo {
        let first = first.map(|first| (0, first)).into_iter().collect();
        SegmentInfo { number, bytes: 100, first, ..SegmentInfo::default() }
    }

    #[test]
    fn the_oldest_segments_go_and_the_one_being_written_to_stays() {
        let segments = [segment(3, Some(10)), segment(4, Some(20)), segment(5, Some(30))];
        assert_eq!(first_kept(&segments, 1, 0), Some((4, Sequence(20))));
        assert_eq!(first_kept(&segments, 9, 0), Some((5, Sequence(30))));
        assert_eq!(first_kept(&segments[..1], 9, 0), None);
        let empty = [segment(3, Some(10)), segment(4, Some(20)), segment(5, None)];
        assert_eq!(first_kept(&empty, 2, 0), Some((4, Sequence(20))), "it has no record yet");
    }
}
