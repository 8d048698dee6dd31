//! A batch of framed records, built in place.
//!
//! It owns one buffer: room for a batch header, then frames. Checksums are left for whoever writes
//! the batch, so that a caller who pushes under a lock does not pay for them.

use std::fmt;

use crate::{
    error::RecordTooLarge,
    layout::{self, BATCH_HEADER, FRAME_HEADER, FrameHeader},
};

/// Records waiting to be written together. Clear it and use it again: it keeps its buffer.
#[derive(Clone)]
pub struct Batch {
    /// A batch header's room, then whole frames whose checksums are not yet filled in.
    buffer: Vec<u8>,
    records: u64,
    max_body_bytes: usize,
}

impl Batch {
    /// An empty batch for bodies of up to `max_body_bytes`; see
    /// [`LogConfig::batch`](crate::LogConfig::batch).
    pub fn with_limit(max_body_bytes: usize) -> Self {
        // A frame's length field is 32 bits.
        let max_body_bytes = max_body_bytes.min(u32::MAX as usize - layout::FRAME_ALIGN);
        Self { buffer: vec![0; BATCH_HEADER], records: 0, max_body_bytes }
    }

    /// Appends a record whose body is what `body` appends to the buffer it is given.
    ///
    /// The sequence must be higher than that of any earlier record of the partition.
    ///
    /// # Errors
    /// [`RecordTooLarge`]; the batch is then as it was.
    ///
    /// # Panics
    /// If `body` makes the buffer shorter than it was.
    pub fn push(
        &mut self,
        partition: u16,
        sequence: u64,
        tag: u8,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), RecordTooLarge> {
        self.push_frame(partition, sequence, tag, false, body)
    }

    /// As [`Batch::push`], of a record that cleaning writes to say again what an older one said.
    /// The mark is for the figures: what is read back says so in
    /// [`Record::carried`](crate::Record::carried).
    ///
    /// # Errors
    /// [`RecordTooLarge`]; the batch is then as it was.
    ///
    /// # Panics
    /// If `body` makes the buffer shorter than it was.
    pub fn push_carried(
        &mut self,
        partition: u16,
        sequence: u64,
        tag: u8,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), RecordTooLarge> {
        self.push_frame(partition, sequence, tag, true, body)
    }

    fn push_frame(
        &mut self,
        partition: u16,
        sequence: u64,
        tag: u8,
        carried: bool,
        body: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), RecordTooLarge> {
        let start = self.buffer.len();
        let body_start = start + FRAME_HEADER;
        self.buffer.resize(body_start, 0);
        body(&mut self.buffer);
        let bytes = self
            .buffer
            .len()
            .checked_sub(body_start)
            .expect("a record's body only appends to the buffer");
        match u32::try_from(bytes) {
            Ok(body_bytes) if bytes <= self.max_body_bytes => {
                let header = FrameHeader { body_bytes, sequence, partition, tag, carried };
                header.write(&mut self.buffer[start..body_start]);
            }
            _ => {
                self.buffer.truncate(start);
                return Err(RecordTooLarge { bytes, limit: self.max_body_bytes });
            }
        }
        let padded = self.buffer.len().next_multiple_of(layout::FRAME_ALIGN);
        self.buffer.resize(padded, 0);
        self.records += 1;
        Ok(())
    }

    /// Removes all records and keeps the buffer.
    pub fn clear(&mut self) {
        self.buffer.truncate(BATCH_HEADER);
        self.records = 0;
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Number of records.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes of all frames.
    pub fn bytes(&self) -> usize {
        self.buffer.len() - BATCH_HEADER
    }

    /// The limit on a record's body in bytes.
    pub fn max_body_bytes(&self) -> usize {
        self.max_body_bytes
    }

    /// Moves all records of `other` behind these: a swap if there are none, else a copy. Only the
    /// records move, both keep their limits.
    pub(crate) fn take(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(&mut self.buffer, &mut other.buffer);
        } else {
            self.buffer.extend_from_slice(&other.buffer[BATCH_HEADER..]);
        }
        self.records += other.records;
        other.clear();
    }

    /// The header's room and the frames.
    pub(crate) fn buffer_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Lets go of a buffer that one large batch left behind.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.buffer.shrink_to(bytes);
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Batch")
            .field("records", &self.records)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(batch: &mut Batch, sequence: u64, bytes: usize) {
        batch.push(1, sequence, 2, |body| body.resize(body.len() + bytes, 3)).unwrap();
    }

    #[test]
    fn frames_are_padded_and_counted() {
        let mut batch = Batch::with_limit(100);
        assert!(batch.is_empty());
        for (sequence, bytes) in [0, 1, 7, 8, 9].into_iter().enumerate() {
            push(&mut batch, sequence as u64, bytes);
        }
        assert_eq!(batch.records(), 5);
        assert_eq!(batch.bytes(), 5 * 24 + 8 + 8 + 8 + 16);
        batch.clear();
        assert!(batch.is_empty());
        assert_eq!(batch.bytes(), 0);
    }

    #[test]
    fn a_record_beyond_the_limit_leaves_no_trace() {
        let mut batch = Batch::with_limit(10);
        push(&mut batch, 0, 10);
        let before = batch.buffer.clone();
        let error = batch.push(0, 1, 0, |body| body.extend([0; 11])).unwrap_err();
        assert_eq!(error, RecordTooLarge { bytes: 11, limit: 10 });
        assert_eq!((batch.records(), &batch.buffer), (1, &before));
    }

    #[test]
    fn taking_keeps_the_order_whether_it_swaps_or_copies() {
        let mut gathered = Batch::with_limit(100);
        let mut expected = Batch::with_limit(100);
        let mut batch = Batch::with_limit(50);
        for round in 0..3 {
            for sequence in round * 2..round * 2 + 2 {
                push(&mut batch, sequence, 20);
                push(&mut expected, sequence, 20);
            }
            gathered.take(&mut batch);
            assert!(batch.is_empty());
        }
        assert_eq!(gathered.buffer, expected.buffer);
        assert_eq!(gathered.records(), 6);
        assert_eq!((gathered.max_body_bytes(), batch.max_body_bytes()), (100, 50));
    }
}
