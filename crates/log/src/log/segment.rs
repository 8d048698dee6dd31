//! One segment that is written to: a file, and where its next batch goes.
//!
//! It owns the file's handle. It neither judges whether there is room nor reacts to errors.

use std::io;

use super::table::SegmentInfo;
use crate::{
    error::OpenError,
    layout::{
        self, BATCH_HEADER, BatchHeader, FrameHeader, Kind, SEGMENT_HEADER, SegmentHeader,
        TAIL_RESERVE,
    },
    recovery::Tail,
    storage::{Storage, StorageFile},
};

#[derive(Debug)]
pub(crate) struct Segment {
    file: Box<dyn StorageFile>,
    tail: Tail,
}

impl Segment {
    /// Opens a segment that was read back, to go on at its tail.
    pub(crate) fn open(storage: &dyn Storage, tail: Tail) -> Result<Self, OpenError> {
        let name = layout::segment_name(tail.header.number);
        let file = storage
            .open(&name)
            .map_err(|error| OpenError::io("open", &storage.path(&name), error))?;
        Ok(Self { file, tail })
    }

    /// Turns a file into an empty segment: its header is written and flushed.
    pub(crate) fn begin(file: Box<dyn StorageFile>, header: SegmentHeader) -> io::Result<Self> {
        let (bytes, chain) = header.encode();
        file.write_at(&bytes, 0)?;
        file.sync()?;
        let start = SEGMENT_HEADER as u64;
        Ok(Self { file, tail: Tail { header, offset: start, synced: start, chain } })
    }

    pub(crate) fn header(&self) -> SegmentHeader {
        self.tail.header
    }

    pub(crate) fn number(&self) -> u64 {
        self.tail.header.number
    }

    pub(crate) fn offset(&self) -> u64 {
        self.tail.offset
    }

    /// How many bytes of frames fit into an empty segment of a length.
    pub(crate) fn room_of(bytes: u64) -> usize {
        let used = SEGMENT_HEADER as u64 + BATCH_HEADER as u64 + TAIL_RESERVE;
        usize::try_from(bytes.saturating_sub(used)).unwrap_or(usize::MAX)
    }

    /// How many bytes of frames fit into one more batch.
    pub(crate) fn room(&self) -> usize {
        let used = self.tail.offset + BATCH_HEADER as u64 + TAIL_RESERVE;
        let room = self.tail.header.bytes.saturating_sub(used);
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Whether a batch without records fits, and a seal after it.
    pub(crate) fn has_control_room(&self) -> bool {
        self.tail.offset + 2 * BATCH_HEADER as u64 <= self.tail.header.bytes
    }

    /// Writes frames that have room for a batch header before them, notes them in `info`, and
    /// returns how many there are.
    pub(crate) fn write_records(
        &mut self,
        batch: &mut [u8],
        epoch: u32,
        oldest: u64,
        info: &mut SegmentInfo,
    ) -> io::Result<u32> {
        let mut records = 0;
        let mut at = BATCH_HEADER;
        while let Some((frame, bytes)) = FrameHeader::peek(&batch[at..]) {
            info.note(&frame, bytes);
            records += 1;
            at += bytes;
        }
        self.write(batch, records, Kind::Records, epoch, oldest)?;
        Ok(records)
    }

    /// Writes a batch without records.
    pub(crate) fn write_empty(&mut self, kind: Kind, epoch: u32, oldest: u64) -> io::Result<()> {
        self.write(&mut [0; BATCH_HEADER], 0, kind, epoch, oldest)
    }

    /// Returns once everything written survives a crash.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        if self.tail.synced < self.tail.offset {
            self.file.sync()?;
            self.tail.synced = self.tail.offset;
        }
        Ok(())
    }

    fn write(
        &mut self,
        batch: &mut [u8],
        records: u32,
        kind: Kind,
        epoch: u32,
        oldest: u64,
    ) -> io::Result<()> {
        let frame_bytes = u32::try_from(batch.len() - BATCH_HEADER).map_err(io::Error::other)?;
        let header = BatchHeader {
            salt: self.tail.header.salt,
            chain: self.tail.chain,
            offset: self.tail.offset,
            synced: self.tail.synced,
            oldest,
            frame_bytes,
            records,
            epoch,
            kind: Some(kind),
            plain: true,
        };
        let sum = header.seal(batch);
        self.file.write_at(batch, self.tail.offset)?;
        self.tail.offset += batch.len() as u64;
        self.tail.chain = sum;
        Ok(())
    }
}
