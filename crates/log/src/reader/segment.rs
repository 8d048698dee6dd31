//! Finding a record in one segment.

use super::window::{Place, Window};
use crate::{
    error::ReadError,
    layout::{self, BATCH_HEADER, BatchHeader, FRAME_HEADER, FrameHeader, Kind, SEGMENT_HEADER},
    recovery::Batches,
    storage::{Storage, StorageFile},
};
use std::path::PathBuf;

/// How many bytes lie at least between two records of which it is remembered where they stand.
const APART: u64 = 16 << 10;

/// A segment, and where some of its records stand.
#[derive(Debug)]
pub(super) struct Indexed {
    number: u64,
    file: Box<dyn StorageFile>,
    path: PathBuf,
    length: u64,
    salt: u64,
    /// The first sequence in it, once that is known.
    first: Option<u64>,
    /// Some places, in order.
    points: Vec<(u64, Step)>,
}

/// Where a frame or the header of a batch stands.
#[derive(Clone, Copy, Debug)]
struct Step {
    offset: u64,
    /// Where the batch ends that it is in.
    batch_end: u64,
}

/// Where the first batch stands.
const START: Step = Step { offset: SEGMENT_HEADER as u64, batch_end: SEGMENT_HEADER as u64 };

/// What stands at a step.
enum Found {
    /// A record: its partition, its sequence, the length of its frame.
    Record(u16, u64, usize),
    /// The header of a batch.
    Batch,
    /// The end of what there is.
    End,
    /// Nothing that can be read.
    Bad,
}

impl Indexed {
    /// Opens a segment.
    pub(super) fn open(storage: &dyn Storage, number: u64) -> Result<Self, ReadError> {
        let name = layout::segment_name(number);
        let path = storage.path(&name);
        let io = |error| ReadError::io("open", path.clone(), error);
        let file = storage.open(&name).map_err(io)?;
        let length = file.size().map_err(io)?;
        let mut head = vec![0; SEGMENT_HEADER + BATCH_HEADER];
        file.read_at(&mut head, 0).map_err(io)?;
        // The first batch tells what a damaged header cannot.
        let batch = BatchHeader::peek(&head[SEGMENT_HEADER..]).map(|batch| batch.salt);
        let header = layout::SegmentHeader::decode(&head[..SEGMENT_HEADER]);
        let salt = header.ok().map(|(header, _)| header.salt).or(batch).unwrap_or_default();
        Ok(Self { number, file, path, length, salt, first: None, points: Vec::new() })
    }

    /// Where it is, for messages.
    pub(super) fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// The first sequence in it, if that is known.
    pub(super) fn first(&self) -> Option<u64> {
        self.first
    }

    /// Its number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Whether it is remembered where records stand.
    pub(super) fn is_indexed(&self) -> bool {
        !self.points.is_empty()
    }

    /// Forgets where records stand.
    pub(super) fn forget(&mut self) {
        self.points = Vec::new();
    }

    /// Finds out its first sequence, if there is a record in it. Damage before that is passed over
    /// only if it is known that the segment is in use: of one that is not, all looks damaged.
    pub(super) fn find_first(&mut self, window: &mut Window, partition: u16, in_use: bool) {
        let mut step = START;
        while let Ok(found) = self.look(window, &mut step) {
            match found {
                Found::Record(of, sequence, _) if of == partition => {
                    self.first = Some(sequence);
                    return;
                }
                Found::Record(_, _, bytes) => step.offset += bytes as u64,
                Found::Batch => {}
                Found::End => return,
                Found::Bad => {
                    if !in_use || !self.pass_damage(&mut step) {
                        return;
                    }
                }
            }
        }
    }

    /// Where a record stands that is not before the first. `None` if it is not in the segment.
    pub(super) fn find(
        &mut self,
        window: &mut Window,
        partition: u16,
        sequence: u64,
    ) -> Result<Option<Place>, ReadError> {
        let before = self.points.partition_point(|&(other, _)| other <= sequence);
        let mut step = before.checked_sub(1).map_or(START, |at| self.points[at].1);
        loop {
            match self.look(window, &mut step)? {
                Found::Record(of, found, bytes) => {
                    if of == partition && found > sequence {
                        return Ok(None);
                    }
                    if of == partition {
                        self.note(found, step);
                    }
                    if of == partition && found == sequence {
                        let file = (&*self.file, &self.path);
                        window.get((self.number, self.length), file, step.offset, bytes)?;
                        let offset = step.offset;
                        return Ok(Some(Place { segment: self.number, offset, bytes }));
                    }
                    step.offset += bytes as u64;
                }
                Found::Batch => {}
                Found::End => return Ok(None),
                Found::Bad => {
                    let offset = step.offset;
                    if !self.pass_damage(&mut step) {
                        return Err(ReadError::Damaged { path: self.path.clone(), offset });
                    }
                }
            }
        }
    }

    /// Remembers where a record stands, if the last one remembered is far enough away.
    fn note(&mut self, sequence: u64, step: Step) {
        let apart = self.points.last().is_none_or(|&(last, at)| {
            sequence > last && step.offset >= at.offset.saturating_add(APART)
        });
        if apart {
            self.points.push((sequence, step));
        }
    }

    /// What stands at a step, which moves behind the header of a batch.
    fn look(&self, window: &mut Window, step: &mut Step) -> Result<Found, ReadError> {
        let place = (self.number, self.length);
        let file = (&*self.file, &self.path);
        let left = self.length.saturating_sub(step.offset);
        if step.offset >= step.batch_end {
            if left < BATCH_HEADER as u64 {
                return Ok(Found::End);
            }
            let bytes = window.get(place, file, step.offset, BATCH_HEADER)?;
            let Some(batch) = BatchHeader::peek(bytes) else { return Ok(Found::End) };
            let whole = batch.bytes() as u64;
            if batch.salt != self.salt || batch.offset != step.offset || whole > left {
                return Ok(Found::Bad);
            }
            if batch.kind == Some(Kind::Seal) {
                return Ok(Found::End);
            }
            step.batch_end = step.offset + whole;
            step.offset += BATCH_HEADER as u64;
            return Ok(Found::Batch);
        }
        let left = step.batch_end - step.offset;
        if left < FRAME_HEADER as u64 {
            return Ok(Found::Bad);
        }
        let head = window.get(place, file, step.offset, FRAME_HEADER)?;
        match FrameHeader::length(head) {
            Some((frame, bytes)) if bytes as u64 <= left => {
                Ok(Found::Record(frame.partition, frame.sequence, bytes))
            }
            _ => Ok(Found::Bad),
        }
    }

    /// Goes on at the next batch that is whole. `false` if there is none.
    fn pass_damage(&self, step: &mut Step) -> bool {
        let Ok(length) = usize::try_from(self.length.min(layout::MAX_SEGMENT_BYTES)) else {
            return false;
        };
        let mut bytes = vec![0; length];
        if self.file.read_at(&mut bytes, 0).is_err() {
            return false;
        }
        let at = usize::try_from(step.offset).unwrap_or(usize::MAX).saturating_add(8);
        let at = at.next_multiple_of(layout::FRAME_ALIGN);
        let Some(next) = Batches::from(&bytes, at, self.salt).next() else { return false };
        *step = Step { offset: next.offset, batch_end: next.offset };
        true
    }
}
