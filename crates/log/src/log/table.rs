//! The table of segments: what each holds, for those who decide what to clean.
//!
//! It owns numbers only. A log keeps it as it writes, and recovery fills it, so that asking costs
//! no disk.

use crate::layout::{FrameHeader, SegmentHeader};

/// What one segment of a log holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SegmentInfo {
    /// Its number.
    pub number: u64,
    /// Length of its file in bytes.
    pub bytes: u64,
    /// Bytes of the frames of new records in it.
    pub fresh_bytes: u64,
    /// Bytes of the frames of records in it that cleaning carried forward.
    pub carried_bytes: u64,
    /// The first sequence of each partition that has a record in it, as (partition, sequence).
    pub first: Vec<(u16, u64)>,
}

impl SegmentInfo {
    /// The first sequence of a partition in it, if it holds a record of that partition.
    pub fn first_of(&self, partition: u16) -> Option<u64> {
        self.first.iter().find(|(other, _)| *other == partition).map(|(_, sequence)| *sequence)
    }

    pub(crate) fn new(header: SegmentHeader) -> Self {
        Self { number: header.number, bytes: header.bytes, ..Self::default() }
    }

    /// Takes note of a frame that was written to it.
    pub(crate) fn note(&mut self, frame: &FrameHeader, bytes: usize) {
        let sum = if frame.carried { &mut self.carried_bytes } else { &mut self.fresh_bytes };
        *sum += bytes as u64;
        if self.first_of(frame.partition).is_none() {
            self.first.push((frame.partition, frame.sequence));
        }
    }
}

/// The figures of a log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LogFigures {
    /// Segments that hold records still needed, the one being written to included.
    pub segments: u64,
    /// Bytes of all files: segments, prepared ones, and those that wait to be recycled.
    pub disk_bytes: u64,
    /// Bytes of frames written since opening, carried ones included.
    pub written_bytes: u64,
    /// Bytes of frames of carried records written since opening. Write amplification is
    /// `written_bytes` over `written_bytes - carried_bytes`.
    pub carried_bytes: u64,
    /// Segments given up since opening.
    pub removed: u64,
    /// Segments made of the file of an older one since opening.
    pub recycled: u64,
    /// Damaged places that were met when the log was opened.
    pub damaged: u64,
}

/// The segments of a log in order, the one being written to last.
#[derive(Debug)]
pub(crate) struct SegmentTable {
    segments: Vec<SegmentInfo>,
    /// Goes up when a segment comes or goes, not when the last one grows.
    version: u64,
}

impl SegmentTable {
    /// With the segment being written to last.
    pub(crate) fn new(segments: Vec<SegmentInfo>) -> Self {
        Self { segments, version: 1 }
    }

    pub(crate) fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// The segment being written to.
    pub(crate) fn last_mut(&mut self) -> &mut SegmentInfo {
        self.segments.last_mut().expect("a log always has a segment that it writes to")
    }

    pub(crate) fn push(&mut self, segment: SegmentInfo) {
        self.segments.push(segment);
        self.version += 1;
    }

    /// Forgets segments below a number.
    pub(crate) fn remove_before(&mut self, number: u64) {
        self.segments.retain(|segment| segment.number >= number);
        self.version += 1;
    }

    /// Brings a copy up to date that was last so at version `seen`. Cheap unless a segment came
    /// or went.
    pub(crate) fn copy_to(&self, copy: &mut Vec<SegmentInfo>, seen: &mut u64) {
        match (copy.last_mut(), self.segments.last()) {
            (Some(copy), Some(last)) if *seen == self.version => copy.clone_from(last),
            _ => copy.clone_from(&self.segments),
        }
        *seen = self.version;
    }
}
