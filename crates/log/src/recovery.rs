//! Reading a log back: replay, and telling a torn tail from damage.
//!
//! It writes nothing but copies of what is damaged. It refuses to hand out a record of a damaged
//! batch. The rules are in `docs/log-format.md`, section Recovery: [`scanner`] carries them out,
//! [`search`] looks for what stands behind a bad place, [`damage`] names what is lost.

mod damage;
mod scanner;
mod search;
mod survey;

use std::sync::Arc;

pub use damage::{Damage, Missing};
pub(crate) use search::Batches;
pub use survey::Survey;

use self::scanner::Scanner;
use crate::{
    error::{OpenError, VisitError},
    layout::{self, SegmentHeader},
    log::SegmentInfo,
    storage::Storage,
};

/// Where a record or batch stands.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Location {
    /// Number of the segment.
    pub segment: u64,
    /// Offset in bytes in the segment.
    pub offset: u64,
}

/// One record as it is read back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// The partition it belongs to.
    pub partition: u16,
    /// Its sequence in the partition; higher than that of every earlier one.
    pub sequence: u64,
    /// What kind of record the writer said it is.
    pub tag: u8,
    /// Whether cleaning wrote it; see [`Batch::push_carried`](crate::Batch::push_carried).
    pub carried: bool,
    /// Whether damage was met since the record of its partition before this one, so that records
    /// may be missing in between.
    pub after_damage: bool,
    /// What the writer wrote.
    pub body: &'a [u8],
    /// Where its frame starts.
    pub location: Location,
}

/// What somebody is told who follows how a log is opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step<'a> {
    /// The next record.
    Record(Record<'a>),
    /// That was all. Nothing is written yet.
    End,
}

/// What was found when a log was read back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recovery {
    /// Records replayed.
    pub records: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Segments replayed.
    pub segments: u64,
    /// How many times the log has been opened, this time included. No other opening that wrote
    /// records has this number, and it is on disk before the log is handed out.
    pub epoch: u32,
    /// Where the last record or mark ends. The log goes on there, or in the next segment if damage
    /// follows.
    pub end: Location,
    /// The unfinished writes behind the end, if there are any.
    pub torn: Option<TornTail>,
    /// Whether the log was closed in order.
    pub closed: bool,
    /// Every damaged place, in order. Nothing of them was replayed.
    pub damage: Vec<Damage>,
    /// How many records there may have been at most in damaged places that no record follows. The
    /// next sequence of a partition must leave out as many, lest it is given twice.
    pub missing_at_end: u64,
}

/// Bytes that were written but never flushed when the last owner stopped. They are given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TornTail {
    /// Where they begin.
    pub location: Location,
    /// How many there are, as far as that can be told.
    pub bytes: u64,
}

/// Reads a whole log through `visit` without changing anything, up to the first damage.
///
/// The epoch reported is that of the last opening.
///
/// # Errors
/// Those of [`Log::open`](crate::Log::open) that reading can meet, and [`OpenError::Corrupt`] for
/// any damage.
pub fn verify(
    storage: &Arc<dyn Storage>,
    visit: impl FnMut(Record<'_>) -> Result<(), VisitError>,
) -> Result<Recovery, OpenError> {
    Ok(scan(storage.as_ref(), Policy::Refuse, visit)?.recovery)
}

/// As [`verify`], but goes on behind damage as [`Log::open`](crate::Log::open) does. Nothing is
/// written: what is damaged is named and not copied, and the copy of an earlier opening is named if
/// there is one.
///
/// # Errors
/// Those of [`Log::open`](crate::Log::open) that reading can meet.
pub fn inspect(
    storage: &Arc<dyn Storage>,
    visit: impl FnMut(Record<'_>) -> Result<(), VisitError>,
) -> Result<Recovery, OpenError> {
    Ok(scan(storage.as_ref(), Policy::Name, visit)?.recovery)
}

/// As [`inspect`], but copies what is damaged as [`Log::open`](crate::Log::open) does. Nothing else
/// is written.
///
/// # Errors
/// Those of [`Log::open`](crate::Log::open) that reading and copying can meet.
pub fn quarantine(
    storage: &Arc<dyn Storage>,
    visit: impl FnMut(Record<'_>) -> Result<(), VisitError>,
) -> Result<Recovery, OpenError> {
    Ok(scan(storage.as_ref(), Policy::Quarantine, visit)?.recovery)
}

/// What to do about damage.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Policy {
    /// It is an error.
    Refuse,
    /// It is named and left out.
    Name,
    /// It is copied, named and left out.
    Quarantine,
}

/// A segment that can be written: its header's facts and where its next batch goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tail {
    pub(crate) header: SegmentHeader,
    pub(crate) offset: u64,
    pub(crate) synced: u64,
    pub(crate) chain: u64,
}

/// Everything the log needs to go on writing.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) recovery: Recovery,
    /// The segment to write to; `None` if there is none that can be.
    pub(crate) current: Option<Tail>,
    /// Prepared segments behind it.
    pub(crate) spares: Vec<Tail>,
    /// Files behind the last segment that are named like segments and cannot be written to.
    pub(crate) broken_spares: Vec<u64>,
    pub(crate) first_segment: u64,
    /// The highest number in use; 0 if there is none.
    pub(crate) last_segment: u64,
    pub(crate) oldest: u64,
    pub(crate) sequences: Sequences,
    /// What each segment holds, in order.
    pub(crate) segments: Vec<SegmentInfo>,
    /// Names and lengths of free files.
    pub(crate) free: Vec<(u64, u64)>,
}

/// The lowest sequence each partition may use next.
#[derive(Debug, Default)]
pub(crate) struct Sequences(Vec<u64>);

impl Sequences {
    /// Takes note of a sequence; `false` if it does not increase.
    pub(crate) fn advance(&mut self, partition: u16, sequence: u64) -> bool {
        let index = usize::from(partition);
        if index >= self.0.len() {
            self.0.resize(index + 1, 0);
        }
        // The highest number can never be used, so that the one after it always exists.
        let Some(next) = sequence.checked_add(1) else { return false };
        let increases = sequence >= self.0[index];
        if increases {
            self.0[index] = next;
        }
        increases
    }

    /// The lowest sequence a partition may use next; 0 if it was never seen.
    pub(crate) fn next(&self, partition: u16) -> u64 {
        self.0.get(usize::from(partition)).copied().unwrap_or(0)
    }
}

pub(crate) fn scan(
    storage: &dyn Storage,
    policy: Policy,
    visit: impl FnMut(Record<'_>) -> Result<(), VisitError>,
) -> Result<Scan, OpenError> {
    let files = storage.list().map_err(|error| OpenError::io("list", &storage.path(""), error))?;
    let mut segments: Vec<u64> =
        files.iter().filter_map(|file| layout::segment_number(&file.name)).collect();
    segments.sort_unstable();
    let free = files
        .iter()
        .filter_map(|file| layout::free_id(&file.name).map(|id| (id, file.bytes)))
        .collect();
    let mut scan = Scanner::new(storage, policy, visit).run(&segments)?;
    scan.first_segment = segments.first().copied().unwrap_or(1);
    scan.free = free;
    Ok(scan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_increase_in_each_partition_apart() {
        let mut sequences = Sequences::default();
        assert!(sequences.advance(0, 0));
        assert!(!sequences.advance(0, 0));
        assert!(sequences.advance(u16::MAX, 10));
        assert!(sequences.advance(0, 100));
        assert!(!sequences.advance(0, 99));
        assert!(sequences.advance(7, 1));
        assert!(!sequences.advance(u16::MAX, 10));
        assert!(sequences.advance(u16::MAX, u64::MAX - 1));
        assert!(!sequences.advance(u16::MAX, u64::MAX));
    }
}
