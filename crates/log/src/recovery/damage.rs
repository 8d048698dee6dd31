//! What is damaged, what is missing for it, and where its copy is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Location, Sequences};
use crate::layout::{self, BATCH_HEADER, BatchHeader, FrameHeader};

/// A place of the log whose bytes are not what was written. Nothing in it was replayed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Damage {
    /// Where it begins.
    pub location: Location,
    /// How many bytes it has, up to where replay went on, or as far as that can be told.
    pub bytes: u64,
    /// What is wrong there.
    pub what: &'static str,
    /// Sequences that were not found and may have been there. Where no record follows in a partition
    /// that is not told, see [`Recovery::missing_at_end`](super::Recovery).
    pub missing: Vec<Missing>,
    /// Where a copy of the bytes is; `None` if the log was only looked at and no earlier opening
    /// made one.
    pub copy: Option<PathBuf>,
}

impl Damage {
    /// How many records are missing at most, as far as records behind the damage tell.
    pub fn records(&self) -> u64 {
        self.missing.iter().map(|missing| missing.last - missing.first + 1).sum()
    }
}

/// Sequences of a partition that were not found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Missing {
    /// The partition.
    pub partition: u16,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
}

/// Which partitions have had a record since the latest damage.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// For each partition, how many damaged places there were before its latest record.
    seen: Vec<Option<usize>>,
}

impl Marks {
    /// Takes note of a record of a partition; whether damage was met since the one before.
    pub(super) fn pass(&mut self, partition: u16, damages: usize) -> bool {
        let index = usize::from(partition);
        if index >= self.seen.len() {
            self.seen.resize(index + 1, None);
        }
        self.seen[index].replace(damages).unwrap_or(0) < damages
    }

    /// How many damaged places every partition has had a record behind.
    pub(super) fn settled(&self) -> usize {
        self.seen.iter().flatten().copied().min().unwrap_or(0)
    }
}

/// What the headers of records in damaged places tell, for partitions of which no record stands
/// before: nobody else knows where those began.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The lowest sequence of each partition.
    lowest: BTreeMap<u16, u64>,
    /// How far before that there may have been more.
    untold: u64,
}

impl Told {
    /// Takes note of damaged bytes behind a segment's header.
    pub(super) fn take(&mut self, bytes: &[u8], salt: Option<u64>) {
        let Some(salt) = salt else {
            self.untold += (bytes.len() / layout::FRAME_HEADER) as u64;
            return;
        };
        let (frames, rest) = frames(bytes, salt);
        self.untold += (rest / layout::FRAME_HEADER) as u64;
        let reach = frames.len() as u64;
        let mut is_doubtful = false;
        for (at, &(FrameHeader { partition, sequence, .. }, is_sound)) in frames.iter().enumerate()
        {
            // A damaged header is believed if it fits to one that is whole.
            let fits = |(other, &(header, is_sound)): (usize, &(FrameHeader, bool))| {
                let (low, high) = if at < other {
                    (sequence, header.sequence)
                } else {
                    (header.sequence, sequence)
                };
                let ahead = high.checked_sub(low);
                is_sound && header.partition == partition && ahead.is_some_and(|by| by <= reach)
            };
            if is_sound || frames.iter().enumerate().any(fits) {
                let lowest = self.lowest.entry(partition).or_insert(sequence);
                *lowest = sequence.min(*lowest);
            } else {
                is_doubtful = true;
            }
        }
        if is_doubtful {
            self.untold += reach;
        }
    }

    /// The first sequence of a partition that may have been there, where the first that is left
    /// is this one.
    fn first(&self, partition: u16, left: u64) -> u64 {
        let lowest = self.lowest.get(&partition).copied().unwrap_or(left);
        lowest.min(left).saturating_sub(self.untold)
    }
}

/// The headers of records in damaged batches as far as their lengths can be followed, whether each
/// record is whole, and how many bytes are left then.
fn frames(bytes: &[u8], salt: u64) -> (Vec<(FrameHeader, bool)>, usize) {
    let (mut found, mut at) = (Vec::new(), BATCH_HEADER);
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if BatchHeader::peek(rest).is_some_and(|batch| batch.salt == salt) {
            at += BATCH_HEADER;
            continue;
        }
        let Some((frame, length)) = FrameHeader::peek(rest) else { return (found, rest.len()) };
        found.push((frame, layout::frame_is_sound(&rest[..length])));
        at += length;
    }
    (found, 0)
}

/// Notes the sequences that a record shows to be missing when it is the first behind damage.
pub(super) fn note_missing(
    damage: &mut [Damage],
    told: &Told,
    sequences: &Sequences,
    frame: &FrameHeader,
) {
    let FrameHeader { partition, sequence, .. } = *frame;
    let first = match sequences.next(partition) {
        0 => told.first(partition, sequence),
        next => next,
    };
    if let (Some(last), Some(damage)) = (sequence.checked_sub(1), damage.last_mut())
        && first <= last
    {
        damage.missing.push(Missing { partition, first, last });
    }
}

/// The most records that can have been in damaged places.
pub(super) fn most_records<'a>(damage: impl Iterator<Item = &'a Damage>) -> u64 {
    damage.map(|place| place.bytes / layout::FRAME_HEADER as u64).sum()
}

/// The name of the copy of damaged bytes: where they were, and what they are.
pub(super) fn copy_name(location: Location, bytes: &[u8]) -> String {
    let Location { segment, offset } = location;
    format!("{segment:020}-{offset:010}-{:016x}", layout::checksum(bytes))
}

/// What is wrong at a bad place: the first damaged record of the batch if its lengths can be
/// followed, else the batch. Returns where that is.
pub(super) fn diagnose(segment: &[u8], at: usize, salt: u64) -> (usize, &'static str) {
    let whole = (at, "batch is damaged although it was flushed");
    let rest = segment.get(at..).unwrap_or_default();
    let Some(batch) = BatchHeader::peek(rest).filter(|batch| batch.salt == salt) else {
        return whole;
    };
    let Some(frames) = rest.get(BATCH_HEADER..batch.bytes()) else { return whole };
    let mut place = 0;
    while let Some((_, bytes)) = FrameHeader::peek(&frames[place..]) {
        if !layout::frame_is_sound(&frames[place..place + bytes]) {
            return (at + BATCH_HEADER + place, "record's checksum does not match");
        }
        place += bytes;
    }
    whole
}
