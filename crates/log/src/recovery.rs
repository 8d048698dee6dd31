//! Reading a log back: replay, and telling a torn tail from corruption.
//!
//! It owns nothing and writes nothing. It refuses to hand out a record of a damaged batch. The
//! rules are in `docs/log-format.md`, section Recovery.

use std::{path::PathBuf, sync::Arc};

use crate::{
    error::{OpenError, VisitError},
    layout::{self, BATCH_HEADER, BatchHeader, FrameHeader, Kind, SEGMENT_HEADER, SegmentHeader},
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
    /// What the writer wrote.
    pub body: &'a [u8],
    /// Where its frame starts.
    pub location: Location,
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
    /// Where the log ends and goes on.
    pub end: Location,
    /// The unfinished writes behind the end, if there are any.
    pub torn: Option<TornTail>,
    /// Whether the log was closed in order.
    pub closed: bool,
}

/// Bytes that were written but never flushed when the last owner stopped. They are given up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TornTail {
    /// Where they begin.
    pub location: Location,
    /// How many there are, as far as that can be told.
    pub bytes: u64,
}

/// Reads a whole log through `visit` without changing anything.
///
/// The epoch reported is that of the last opening.
///
/// # Errors
/// Those of [`Log::open`](crate::Log::open) that reading can meet.
pub fn verify(
    storage: &Arc<dyn Storage>,
    visit: impl FnMut(Record<'_>) -> Result<(), VisitError>,
) -> Result<Recovery, OpenError> {
    Ok(scan(storage.as_ref(), visit)?.recovery)
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
    /// The segment to write to; `None` if there is no segment at all.
    pub(crate) current: Option<Tail>,
    /// Prepared segments behind it.
    pub(crate) spares: Vec<Tail>,
    pub(crate) first_segment: u64,
    pub(crate) oldest: u64,
    pub(crate) sequences: Sequences,
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
}

pub(crate) fn scan(
    storage: &dyn Storage,
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
    let mut scanner = Scanner::new(storage, visit);
    scanner.run(&segments)?;
    let Scanner { recovery, current, spares, oldest, sequences, .. } = scanner;
    let first_segment = segments.first().copied().unwrap_or(1);
    Ok(Scan { recovery, current, spares, first_segment, oldest, sequences, free })
}

struct Scanner<'a, V> {
    storage: &'a dyn Storage,
    visit: V,
    /// The whole segment at hand; one buffer for all of them.
    buffer: Vec<u8>,
    recovery: Recovery,
    current: Option<Tail>,
    spares: Vec<Tail>,
    oldest: u64,
    /// `None` until the first batch of the log is read, as older segments may have been removed.
    epoch: Option<u32>,
    sequences: Sequences,
}

impl<'a, V: FnMut(Record<'_>) -> Result<(), VisitError>> Scanner<'a, V> {
    fn new(storage: &'a dyn Storage, visit: V) -> Self {
        let end = Location { segment: 1, offset: SEGMENT_HEADER as u64 };
        let recovery = Recovery {
            records: 0,
            bytes: 0,
            segments: 0,
            epoch: 0,
            end,
            torn: None,
            closed: false,
        };
        Self {
            storage,
            visit,
            buffer: Vec::new(),
            recovery,
            current: None,
            spares: Vec::new(),
            oldest: 1,
            epoch: None,
            sequences: Sequences::default(),
        }
    }

    fn run(&mut self, numbers: &[u64]) -> Result<(), OpenError> {
        if let Some(pair) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            return Err(self.corrupt(pair[0] + 1, 0, "segment is missing"));
        }
        let mut rest = numbers.iter().copied();
        while let Some(number) = rest.next() {
            self.load(number)?;
            let (tail, sealed) = self.replay(number)?;
            if sealed {
                if number == numbers[numbers.len() - 1] {
                    return Err(self.corrupt(number + 1, 0, "segment is missing"));
                }
                continue;
            }
            self.judge_tail(number, tail)?;
            self.current = Some(tail);
            for spare in rest.by_ref() {
                let spare_tail = self.peek_spare(number, tail.offset, spare)?;
                self.spares.push(spare_tail);
            }
        }
        match numbers.first() {
            Some(&first) if first > self.oldest => {
                Err(self.corrupt(self.oldest, 0, "segment is missing"))
            }
            _ => Ok(()),
        }
    }

    /// Reads a whole segment into the buffer.
    fn load(&mut self, number: u64) -> Result<(), OpenError> {
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

    fn open(&self, number: u64) -> Result<(PathBuf, Box<dyn crate::StorageFile>), OpenError> {
        let name = layout::segment_name(number);
        let path = self.storage.path(&name);
        match self.storage.open(&name) {
            Ok(file) => Ok((path, file)),
            Err(error) => Err(OpenError::io("open", &path, error)),
        }
    }

    fn header(
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

    /// Replays the segment in the buffer up to its seal or the bad place.
    fn replay(&mut self, number: u64) -> Result<(Tail, bool), OpenError> {
        let head = self.buffer.get(..SEGMENT_HEADER).unwrap_or(&self.buffer);
        let (header, sum) = self.header(number, head, self.buffer.len() as u64)?;
        self.recovery.segments += 1;
        let start = SEGMENT_HEADER as u64;
        let mut tail = Tail { header, offset: start, synced: start, chain: sum };
        // Moved out for the loop, because frames borrow it while the rest of `self` changes.
        let buffer = std::mem::take(&mut self.buffer);
        let mut sealed = false;
        while !sealed {
            let at = to_index(tail.offset);
            let Some((batch, sum, frames)) = BatchHeader::read(&buffer, at, header.salt) else {
                break;
            };
            if batch.chain != tail.chain || !self.epoch_fits(&batch) {
                break;
            }
            let Some(kind) = batch.kind.filter(|_| batch.plain) else {
                return Err(self.corrupt(number, tail.offset, "batch of an unknown kind"));
            };
            if (kind == Kind::Records) == frames.is_empty() {
                return Err(self.corrupt(number, tail.offset, "batch and its kind disagree"));
            }
            let location = Location { segment: number, offset: tail.offset };
            self.frames(location, batch.records, frames)?;
            self.epoch = Some(batch.epoch);
            self.oldest = self.oldest.max(batch.oldest);
            self.recovery.closed = kind == Kind::Closing;
            sealed = kind == Kind::Seal;
            tail.synced = tail.synced.max(batch.synced);
            tail.chain = sum;
            tail.offset += batch.bytes() as u64;
        }
        self.buffer = buffer;
        self.recovery.epoch = self.epoch.unwrap_or(0);
        self.recovery.end = Location { segment: number, offset: tail.offset };
        Ok((tail, sealed))
    }

    fn epoch_fits(&self, batch: &BatchHeader) -> bool {
        match (self.epoch, batch.kind) {
            (None, _) => true,
            (Some(epoch), Some(Kind::Opening)) => batch.epoch > epoch,
            (Some(epoch), _) => batch.epoch == epoch,
        }
    }

    fn frames(&mut self, batch: Location, records: u32, frames: &[u8]) -> Result<(), OpenError> {
        let mut at = 0;
        let mut count = 0;
        while at < frames.len() {
            let offset = batch.offset + (BATCH_HEADER + at) as u64;
            let rest = &frames[at..];
            let Some((frame, bytes)) = FrameHeader::peek(rest) else {
                return Err(self.corrupt(batch.segment, offset, "record runs past its batch"));
            };
            if !layout::frame_is_plain(rest) {
                return Err(self.corrupt(batch.segment, offset, "record's reserved bytes are set"));
            }
            if !self.sequences.advance(frame.partition, frame.sequence) {
                let what = "record's sequence does not increase in its partition";
                return Err(self.corrupt(batch.segment, offset, what));
            }
            let body_end = layout::FRAME_HEADER + frame.body_bytes as usize;
            let record = Record {
                partition: frame.partition,
                sequence: frame.sequence,
                tag: frame.tag,
                body: &rest[layout::FRAME_HEADER..body_end],
                location: Location { segment: batch.segment, offset },
            };
            (self.visit)(record).map_err(|reason| OpenError::Refused {
                segment: batch.segment,
                offset,
                reason,
            })?;
            at += bytes;
            count += 1;
        }
        if count != records {
            let what = "batch and its number of records disagree";
            return Err(self.corrupt(batch.segment, batch.offset, what));
        }
        self.recovery.records += u64::from(count);
        self.recovery.bytes += frames.len() as u64;
        Ok(())
    }

    /// Decides whether what stands behind the end of the last segment is a torn tail.
    fn judge_tail(&mut self, number: u64, tail: Tail) -> Result<(), OpenError> {
        let salt = tail.header.salt;
        let bad = to_index(tail.offset);
        let mut torn_end = tail.offset;
        let mut synced = tail.synced;
        if let Some(batch) = self.buffer.get(bad..).and_then(BatchHeader::peek)
            && batch.salt == salt
            && batch.offset == tail.offset
        {
            torn_end = tail.offset + batch.bytes() as u64;
        }
        let mut at = bad;
        let word = salt.to_le_bytes();
        while let Some(step) = self.buffer.get(at..).and_then(|rest| {
            let (words, _) = rest.as_chunks::<8>();
            words.iter().position(|other| *other == word)
        }) {
            at += step * 8;
            match BatchHeader::read(&self.buffer, at, salt) {
                Some((batch, ..)) => {
                    synced = synced.max(batch.synced);
                    at += batch.bytes();
                    torn_end = torn_end.max(at as u64);
                }
                None => at += 8,
            }
        }
        if synced > tail.offset {
            return Err(self.corrupt_batch(number, tail));
        }
        let bytes = torn_end.min(self.buffer.len() as u64) - tail.offset;
        if bytes > 0 {
            let location = Location { segment: number, offset: tail.offset };
            self.recovery.torn = Some(TornTail { location, bytes });
        }
        Ok(())
    }

    /// Reads the header of a segment behind the last one, which nothing may have been written to.
    fn peek_spare(&mut self, last: u64, end: u64, number: u64) -> Result<Tail, OpenError> {
        let (path, file) = self.open(number)?;
        let io = |error| OpenError::io("read", &path, error);
        let length = file.size().map_err(io)?;
        let mut bytes = vec![0; SEGMENT_HEADER + BATCH_HEADER];
        if length < bytes.len() as u64 {
            return Err(self.corrupt(number, 0, "file is shorter than a segment header"));
        }
        file.read_at(&mut bytes, 0).map_err(io)?;
        let (header, chain) = self.header(number, &bytes[..SEGMENT_HEADER], length)?;
        if let Some(batch) = BatchHeader::peek(&bytes[SEGMENT_HEADER..])
            && batch.salt == header.salt
            && batch.offset == SEGMENT_HEADER as u64
        {
            let all = SEGMENT_HEADER + batch.bytes();
            if all as u64 <= length {
                bytes.resize(all, 0);
                file.read_at(&mut bytes, 0).map_err(io)?;
                if BatchHeader::read(&bytes, SEGMENT_HEADER, header.salt).is_some() {
                    let what = "segment ends without a seal, although the next one is in use";
                    return Err(self.corrupt(last, end, what));
                }
            }
        }
        let start = SEGMENT_HEADER as u64;
        Ok(Tail { header, offset: start, synced: start, chain })
    }

    /// Names the first damaged record of a batch if the batch's lengths can be followed, else the
    /// batch.
    fn corrupt_batch(&self, number: u64, tail: Tail) -> OpenError {
        let whole = self.corrupt(number, tail.offset, "batch is damaged although it was flushed");
        let rest = self.buffer.get(to_index(tail.offset)..).unwrap_or_default();
        let Some(batch) = BatchHeader::peek(rest).filter(|batch| batch.salt == tail.header.salt)
        else {
            return whole;
        };
        let Some(frames) = rest.get(BATCH_HEADER..batch.bytes()) else { return whole };
        let mut at = 0;
        while let Some((_, bytes)) = FrameHeader::peek(&frames[at..]) {
            if !layout::frame_is_sound(&frames[at..at + bytes]) {
                let offset = tail.offset + (BATCH_HEADER + at) as u64;
                return self.corrupt(number, offset, "record's checksum does not match");
            }
            at += bytes;
        }
        whole
    }

    fn corrupt(&self, segment: u64, offset: u64, what: &'static str) -> OpenError {
        let path = self.storage.path(&layout::segment_name(segment));
        OpenError::Corrupt { path, segment, offset, what }
    }
}

/// Offsets in a segment fit, as the whole segment is in memory.
fn to_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
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
