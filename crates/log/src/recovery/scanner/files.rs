//! The files of segments: reading them, their headers, and which of them are in use.

use std::path::PathBuf;

use super::{Scanner, to_index};
use crate::{
    StorageFile,
    error::{OpenError, VisitError},
    layout::{self, BATCH_HEADER, BatchHeader, SEGMENT_HEADER, SegmentHeader},
    recovery::{
        Record, Tail,
        search::{self, Batches},
    },
};

impl<V: FnMut(Record<'_>) -> Result<(), VisitError>> Scanner<'_, V> {
    /// Whether a segment behind this one, which ends without a seal, is in use.
    pub(super) fn goes_on(
        &self,
        buffer: &[u8],
        tail: &Tail,
        rest: &[u64],
    ) -> Result<bool, OpenError> {
        // A clean end was not followed by a segment whose first batch is damaged.
        let Tail { offset, chain, header, .. } = *tail;
        let begun = search::looks_begun(buffer, to_index(offset), header.salt, chain);
        for &number in rest {
            if self.in_use(number, begun)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether something was ever written to a segment: its first batch is there, or, where
    /// something is amiss, any batch.
    fn in_use(&self, number: u64, thoroughly: bool) -> Result<bool, OpenError> {
        let (path, file) = self.open(number)?;
        let io = |error| OpenError::io("read", &path, error);
        let length = file.size().map_err(io)?;
        let read = |bytes: u64| -> Result<Vec<u8>, OpenError> {
            let bytes = usize::try_from(bytes.min(length)).unwrap_or(usize::MAX);
            let mut buffer = vec![0; bytes];
            file.read_at(&mut buffer, 0).map_err(io)?;
            Ok(buffer)
        };
        if length > layout::MAX_SEGMENT_BYTES {
            return Err(self.corrupt(number, 0, "segment is longer than any segment can be"));
        }
        let start = read((SEGMENT_HEADER + BATCH_HEADER) as u64)?;
        let first = start.get(SEGMENT_HEADER..).and_then(BatchHeader::peek);
        let Some(first) = first else { return Ok(false) };
        let mut bytes = read((SEGMENT_HEADER + first.bytes()) as u64)?;
        let decoded = SegmentHeader::decode(&bytes[..SEGMENT_HEADER]).ok();
        let Some((header, _)) = decoded else {
            return Ok(SegmentHeader::infer(&bytes, number).is_some());
        };
        if !thoroughly {
            return Ok(BatchHeader::read(&bytes, SEGMENT_HEADER, header.salt).is_some());
        }
        bytes = read(length)?;
        Ok(Batches::from(&bytes, SEGMENT_HEADER, header.salt).next().is_some())
    }

    /// Reads the headers of segments behind the last one, which nothing has been written to.
    pub(super) fn spares(&mut self, numbers: &[u64]) -> Result<(), OpenError> {
        for &number in numbers {
            let (path, file) = self.open(number)?;
            let io = |error| OpenError::io("read", &path, error);
            let length = file.size().map_err(io)?;
            let head = usize::try_from(length).unwrap_or(usize::MAX).min(SEGMENT_HEADER);
            let mut bytes = vec![0; head];
            file.read_at(&mut bytes, 0).map_err(io)?;
            let broken = !self.scan.broken_spares.is_empty();
            match self.header(number, &bytes, length) {
                // The row of numbers must not be broken.
                Ok(_) if broken => self.scan.broken_spares.push(number),
                Ok((header, chain)) => {
                    let start = SEGMENT_HEADER as u64;
                    let tail = Tail { header, offset: start, synced: start, chain };
                    self.scan.spares.push(tail);
                }
                Err(OpenError::Corrupt { what, .. }) => {
                    if !broken {
                        self.load(number)?;
                        let buffer = std::mem::take(&mut self.buffer);
                        let hole = self.hole;
                        self.damaged(&buffer, number, 0..buffer.len(), (0, what))?;
                        // Nothing was written there, so nothing is missing.
                        self.hole = hole;
                    }
                    self.scan.broken_spares.push(number);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads a whole segment into the buffer.
    pub(super) fn load(&mut self, number: u64) -> Result<(), OpenError> {
        let (path, file) = self.open(number)?;
        let io = |error| OpenError::io("read", &path, error);
        let bytes = file.size().map_err(io)?;
        if bytes > layout::MAX_SEGMENT_BYTES {
            return Err(self.corrupt(number, 0, "segment is longer than any segment can be"));
        }
        let length = usize::try_from(bytes)
            .map_err(|error| OpenError::io("read", &path, std::io::Error::other(error)))?;
        self.buffer.resize(length, 0);
        file.read_at(&mut self.buffer, 0).map_err(io)
    }

    fn open(&self, number: u64) -> Result<(PathBuf, Box<dyn StorageFile>), OpenError> {
        let name = layout::segment_name(number);
        let path = self.storage.path(&name);
        match self.storage.open(&name) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(OpenError::io("open", &path, error)),
        }
    }

    pub(super) fn header(
        &self,
        number: u64,
        bytes: &[u8],
        length: u64,
    ) -> Result<(SegmentHeader, u64), OpenError> {
        let (header, sum) = SegmentHeader::decode(bytes).map_err(|error| match error {
            layout::SegmentHeaderError::Corrupt(what) => self.corrupt(number, 0, what),
            layout::SegmentHeaderError::Newer(found) => OpenError::NewerFormat {
                path: self.storage.path(&layout::segment_name(number)),
                found,
                supported: layout::FORMAT_VERSION,
            },
        })?;
        if header.number != number {
            return Err(self.corrupt(number, 24, "segment header has another segment's number"));
        }
        if header.bytes != length {
            return Err(self.corrupt(number, 32, "file length is not the one in its header"));
        }
        Ok((header, sum))
    }

    pub(super) fn corrupt(&self, segment: u64, offset: u64, what: &'static str) -> OpenError {
        let path = self.storage.path(&layout::segment_name(segment));
        OpenError::Corrupt { path, segment, offset, what }
    }
}
