//! The part of a segment that was read last.

use crate::{
    error::ReadError,
    layout::{self, FRAME_HEADER, FrameHeader},
    storage::StorageFile,
};
use std::{io, path::PathBuf};

/// How many bytes are read at least, as far as there are that many.
const LEAST: u64 = 32 << 10;
/// How many are read at most ahead, when one read follows the other.
const MOST: u64 = 512 << 10;
/// A buffer that grew beyond this for one record is given back.
const KEEP: usize = 2 << 20;

/// Where a record stands in the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Number of its segment.
    pub(super) segment: u64,
    /// Offset of its frame.
    pub(super) offset: u64,
    /// Length of its frame.
    pub(super) bytes: usize,
}

/// Some bytes of one segment.
#[derive(Debug, Default)]
pub(super) struct Window {
    segment: u64,
    start: u64,
    bytes: Vec<u8>,
    /// How many bytes the next read takes.
    next: u64,
    path: PathBuf,
}

impl Window {
    /// Forgets what it has.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
        (self.segment, self.start, self.next) = (0, 0, 0);
    }

    /// So many bytes of a segment from an offset on.
    pub(super) fn get(
        &mut self,
        (segment, length): (u64, u64),
        (file, path): (&dyn StorageFile, &PathBuf),
        offset: u64,
        bytes: usize,
    ) -> Result<&[u8], ReadError> {
        let end = offset.checked_add(bytes as u64).filter(|&end| end <= length);
        let io = |error| ReadError::io("read", path.clone(), error);
        let end = end.ok_or_else(|| io(io::ErrorKind::UnexpectedEof.into()))?;
        let has = self.start + self.bytes.len() as u64;
        if self.segment != segment || offset < self.start || end > has {
            let follows = self.segment == segment && offset >= self.start && offset <= has;
            self.next = if follows { (self.next * 2).min(MOST) } else { LEAST };
            let wanted = (bytes as u64).max(self.next).min(length - offset);
            self.bytes.clear();
            self.bytes.resize(index(wanted), 0);
            (self.segment, self.start) = (segment, offset);
            if let Err(error) = file.read_at(&mut self.bytes, offset) {
                self.clear();
                return Err(io(error));
            }
            self.path.clone_from(path);
        }
        let at = index(offset - self.start);
        Ok(&self.bytes[at..at + bytes])
    }

    /// The tag and the body of a record that it has, if they are what was written.
    pub(super) fn record(&self, place: Place) -> Result<(u8, &[u8]), ReadError> {
        let Place { segment, offset, bytes } = place;
        let damaged = || ReadError::Damaged { path: self.path.clone(), offset };
        let at = offset.checked_sub(self.start).filter(|_| segment == self.segment).map(index);
        let frame = at.and_then(|at| self.bytes.get(at..at.checked_add(bytes)?));
        let frame = frame.ok_or_else(damaged)?;
        let (header, whole) = FrameHeader::peek(frame).ok_or_else(damaged)?;
        if whole != bytes || !layout::frame_is_plain(frame) || !layout::frame_is_sound(frame) {
            return Err(damaged());
        }
        let body = &frame[FRAME_HEADER..FRAME_HEADER + header.body_bytes as usize];
        Ok((header.tag, body))
    }
}

/// Offsets within what is in memory fit.
fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
