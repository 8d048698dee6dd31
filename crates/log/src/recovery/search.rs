//! What stands behind a bad place: batches that are whole in themselves, and what they tell.
//!
//! Pure functions over the bytes of one segment. Batches are found by the segment's salt, which
//! nobody who chooses a record's body knows.

use super::Sequences;
use crate::layout::{BatchHeader, FrameHeader, Kind};

/// The batches behind a place that are valid but for their chain and epoch, in order.
#[derive(Debug)]
pub(crate) struct Batches<'a> {
    segment: &'a [u8],
    at: usize,
    salt: u64,
}

/// A batch that is whole in itself.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    pub(crate) offset: u64,
    pub(super) header: BatchHeader,
    frames: &'a [u8],
}

impl<'a> Batches<'a> {
    pub(crate) fn from(segment: &'a [u8], at: usize, salt: u64) -> Self {
        Self { segment, at, salt }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        let word = self.salt.to_le_bytes();
        loop {
            let (words, _) = self.segment.get(self.at..)?.as_chunks::<8>();
            self.at += words.iter().position(|other| *other == word)? * 8;
            if let Some((header, _, frames)) = BatchHeader::read(self.segment, self.at, self.salt) {
                let offset = self.at as u64;
                self.at += header.bytes();
                return Some(Found { offset, header, frames });
            }
            self.at += 8;
        }
    }
}

impl Found<'_> {
    /// Whether replay may go on with it behind a hole: it was written no earlier than what was
    /// read before the hole.
    pub(super) fn may_follow(&self, epoch: Option<u32>, sequences: &Sequences) -> bool {
        let newer = epoch.is_none_or(|epoch| self.header.epoch >= epoch);
        let first = FrameHeader::peek(self.frames);
        newer && first.is_none_or(|(frame, _)| frame.sequence >= sequences.next(frame.partition))
    }
}

/// What the batches behind a place say of the segment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    /// Every byte below was flushed once.
    pub(super) synced: u64,
    /// Where a seal stands. It says that everything before it was flushed if the next segment is
    /// in use, and nothing otherwise.
    pub(super) seal: Option<u64>,
    /// Where the last of them ends.
    pub(super) end: u64,
}

impl Evidence {
    pub(super) fn gather(segment: &[u8], at: usize, salt: u64) -> Self {
        let mut evidence = Self::default();
        let mut seal: Option<(u32, u64)> = None;
        for Found { offset, header, .. } in Batches::from(segment, at, salt) {
            evidence.synced = evidence.synced.max(header.synced);
            evidence.end = offset + header.bytes() as u64;
            if header.kind == Some(Kind::Seal)
                && seal.is_none_or(|(epoch, _)| header.epoch >= epoch)
            {
                seal = Some((header.epoch, offset));
            }
        }
        // Should an unfinished life have left a seal of its own, the later one is the true one.
        evidence.seal = seal.map(|(_, offset)| offset);
        evidence
    }
}

/// Whether something of a batch stands at a place: one of the fields that say so is right.
pub(super) fn looks_begun(segment: &[u8], at: usize, salt: u64, chain: u64) -> bool {
    let header = segment.get(at..).and_then(BatchHeader::peek);
    header.is_some_and(|header| {
        header.salt == salt || header.offset == at as u64 || header.chain == chain
    })
}
