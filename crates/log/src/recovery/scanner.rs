//! Reads the segments in order, replays what is sound, and leaves out what is not.
//!
//! [`files`] is how it gets at them, and tells used segments from prepared ones.

use std::ops::Range;

use super::{
    Location, Policy, Record, Recovery, Scan, Sequences, Tail, TornTail,
    damage::{self, Damage, Marks, Told},
    search::{Batches, Evidence},
};
use crate::{
    error::{OpenError, VisitError},
    layout::{self, BATCH_HEADER, BatchHeader, FrameHeader, Kind, SEGMENT_HEADER, SegmentHeader},
    log::SegmentInfo,
    storage::Storage,
};

mod files;

pub(super) struct Scanner<'a, V> {
    storage: &'a dyn Storage,
    policy: Policy,
    visit: V,
    /// The whole segment at hand; one buffer for all of them.
    buffer: Vec<u8>,
    scan: Scan,
    /// `None` until the first batch of the log is read, as older segments may have been removed.
    epoch: Option<u32>,
    /// Bytes of damage since the last batch; the next batch may be of any later epoch.
    hole: Option<u64>,
    marks: Marks,
    told: Told,
}

/// How a segment ends.
enum End {
    /// With a seal.
    Sealed,
    /// With damage: it is not written to any more.
    Damaged,
    /// With room for more: it is the last one in use.
    Open(Tail),
}

/// Where replay of a segment stopped, and why.
enum Stop {
    Seal,
    /// No valid batch stands there.
    BadPlace,
}

impl<'a, V: FnMut(Record<'_>) -> Result<(), VisitError>> Scanner<'a, V> {
    pub(super) fn new(storage: &'a dyn Storage, policy: Policy, visit: V) -> Self {
        let end = Location { segment: 1, offset: SEGMENT_HEADER as u64 };
        let recovery = Recovery {
            records: 0,
            bytes: 0,
            segments: 0,
            epoch: 0,
            end,
            torn: None,
            closed: false,
            damage: Vec::new(),
            missing_at_end: 0,
        };
        let scan = Scan {
            recovery,
            current: None,
            spares: Vec::new(),
            broken_spares: Vec::new(),
            first_segment: 1,
            last_segment: 0,
            oldest: 1,
            sequences: Sequences::default(),
            segments: Vec::new(),
            free: Vec::new(),
        };
        let (buffer, marks, told) = (Vec::new(), Marks::default(), Told::default());
        Self { storage, policy, visit, buffer, scan, epoch: None, hole: None, marks, told }
    }

    /// Reads the segments of these numbers, in order.
    pub(super) fn run(mut self, numbers: &[u64]) -> Result<Scan, OpenError> {
        if let Some(pair) = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1) {
            return Err(self.corrupt(pair[0] + 1, 0, "segment is missing"));
        }
        for (index, &number) in numbers.iter().enumerate() {
            let rest = &numbers[index + 1..];
            match self.segment(number, rest)? {
                End::Sealed if rest.is_empty() => {
                    return Err(self.corrupt(number + 1, 0, "segment is missing"));
                }
                End::Sealed | End::Damaged => {}
                End::Open(tail) => {
                    self.scan.current = Some(tail);
                    self.scan.last_segment = number;
                    self.spares(rest)?;
                    break;
                }
            }
            self.scan.last_segment = number;
        }
        // Behind damage the mark that announced a removal may be what is lost.
        let whole = self.scan.recovery.damage.is_empty();
        if whole && numbers.first().is_some_and(|first| *first > self.scan.oldest) {
            return Err(self.corrupt(self.scan.oldest, 0, "segment is missing"));
        }
        Ok(self.finish())
    }

    fn finish(mut self) -> Scan {
        let recovery = &mut self.scan.recovery;
        // Openings that nothing vouches for may have been in a hole at the end.
        let lost = self.hole.unwrap_or(0) / BATCH_HEADER as u64;
        let lost = u32::try_from(lost).unwrap_or(u32::MAX);
        recovery.epoch = self.epoch.unwrap_or(0).saturating_add(lost);
        let unfollowed = recovery.damage.iter().skip(self.marks.settled());
        // A prepared segment holds nothing yet, whatever happened to it.
        let used = unfollowed.filter(|place| place.location.segment <= self.scan.last_segment);
        recovery.missing_at_end = damage::most_records(used);
        self.scan
    }

    /// Replays one segment; `rest` are the numbers behind it.
    fn segment(&mut self, number: u64, rest: &[u64]) -> Result<End, OpenError> {
        self.load(number)?;
        // Moved out meanwhile, because frames borrow it while the rest of `self` changes.
        let buffer = std::mem::take(&mut self.buffer);
        let end = self.segment_in(&buffer, number, rest);
        self.buffer = buffer;
        end
    }

    fn segment_in(&mut self, buffer: &[u8], number: u64, rest: &[u64]) -> Result<End, OpenError> {
        let head = buffer.get(..SEGMENT_HEADER).unwrap_or(buffer);
        let (header, sum, sound) = match self.header(number, head, buffer.len() as u64) {
            Ok((header, sum)) => (header, sum, true),
            Err(OpenError::Corrupt { what, offset, .. }) => {
                let place = (to_index(offset), what);
                let Some((header, sum)) = SegmentHeader::infer(buffer, number) else {
                    self.damaged(buffer, number, 0..buffer.len(), place)?;
                    self.told.take(buffer.get(SEGMENT_HEADER..).unwrap_or_default(), None);
                    return Ok(End::Damaged);
                };
                self.damaged(buffer, number, 0..head.len(), place)?;
                (header, sum, false)
            }
            Err(error) => return Err(error),
        };
        self.scan.recovery.segments += 1;
        self.scan.segments.push(SegmentInfo::new(header));
        let start = SEGMENT_HEADER as u64;
        let mut tail = Tail { header, offset: start, synced: start, chain: sum };
        let mut evidence = None;
        let mut last = true;
        loop {
            if let Stop::Seal = self.batches(buffer, number, &mut tail)? {
                return Ok(End::Sealed);
            }
            let bad = to_index(tail.offset);
            let found = *evidence.get_or_insert_with(|| Evidence::gather(buffer, bad, header.salt));
            last = last && !self.goes_on(buffer, &tail, rest)?;
            let synced = tail.synced.max(found.synced);
            if last && synced <= tail.offset {
                if !sound {
                    return Ok(End::Damaged);
                }
                self.note_torn(buffer, number, &tail, found.end);
                return Ok(End::Open(tail));
            }
            let seal = found.seal.filter(|_| !last);
            if !self.leave_out(buffer, &mut tail, synced.max(seal.unwrap_or(0)))? {
                return Ok(End::Damaged);
            }
        }
    }

    /// Leaves out what stands at the bad place where `tail` is, and moves it to where replay goes
    /// on, no later than at `bound`. `false` if there is no such place.
    fn leave_out(&mut self, buffer: &[u8], tail: &mut Tail, bound: u64) -> Result<bool, OpenError> {
        let SegmentHeader { salt, number, .. } = tail.header;
        let bad = to_index(tail.offset);
        // How far the damage goes is known only if something vouches for what was there.
        let (what, end) = if bound > tail.offset {
            (damage::diagnose(buffer, bad, salt), to_index(bound))
        } else {
            let what = "segment ends without a seal, although the next one is in use";
            ((bad, what), buffer.len())
        };
        let next = Batches::from(buffer, bad + 8, salt)
            .take_while(|batch| batch.offset <= bound)
            .find(|batch| batch.may_follow(self.epoch, &self.scan.sequences));
        let end = next.as_ref().map_or(end, |next| to_index(next.offset));
        self.damaged(buffer, number, bad..end, what)?;
        self.told.take(buffer.get(bad..end.min(buffer.len())).unwrap_or_default(), Some(salt));
        let Some(next) = next else { return Ok(false) };
        (tail.offset, tail.chain) = (next.offset, next.header.chain);
        Ok(true)
    }

    /// Replays batches up to a seal or a bad place.
    fn batches(&mut self, buffer: &[u8], number: u64, tail: &mut Tail) -> Result<Stop, OpenError> {
        let mut stop = Stop::BadPlace;
        while let Some((batch, sum, frames)) =
            BatchHeader::read(buffer, to_index(tail.offset), tail.header.salt)
        {
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
            self.hole = None;
            self.scan.oldest = self.scan.oldest.max(batch.oldest);
            self.scan.recovery.closed = kind == Kind::Closing;
            tail.synced = tail.synced.max(batch.synced);
            tail.chain = sum;
            tail.offset += batch.bytes() as u64;
            if kind == Kind::Seal {
                stop = Stop::Seal;
                break;
            }
        }
        self.scan.recovery.end = Location { segment: number, offset: tail.offset };
        Ok(stop)
    }

    fn epoch_fits(&self, batch: &BatchHeader) -> bool {
        match (self.epoch, batch.kind) {
            (None, _) => true,
            (Some(epoch), _) if self.hole.is_some() => batch.epoch >= epoch,
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
            if !layout::frame_is_sound(&rest[..bytes]) {
                return Err(self.corrupt(
                    batch.segment,
                    offset,
                    "record's checksum does not match",
                ));
            }
            let body_end = layout::FRAME_HEADER + frame.body_bytes as usize;
            let body = &rest[layout::FRAME_HEADER..body_end];
            self.record(frame, bytes, body, Location { segment: batch.segment, offset })?;
            at += bytes;
            count += 1;
        }
        if count != records {
            let what = "batch and its number of records disagree";
            return Err(self.corrupt(batch.segment, batch.offset, what));
        }
        self.scan.recovery.records += u64::from(count);
        self.scan.recovery.bytes += frames.len() as u64;
        Ok(())
    }

    fn record(
        &mut self,
        frame: FrameHeader,
        bytes: usize,
        body: &[u8],
        location: Location,
    ) -> Result<(), OpenError> {
        let scan = &mut self.scan;
        let damage = &mut scan.recovery.damage;
        let after_damage = self.marks.pass(frame.partition, damage.len());
        if after_damage {
            damage::note_missing(damage, &self.told, &scan.sequences, &frame);
        }
        let FrameHeader { partition, sequence, tag, carried, .. } = frame;
        if !scan.sequences.advance(partition, sequence) {
            let what = "record's sequence does not increase in its partition";
            return Err(self.corrupt(location.segment, location.offset, what));
        }
        if let Some(info) = scan.segments.last_mut() {
            info.note(&frame, bytes);
        }
        let record = Record { partition, sequence, tag, carried, after_damage, body, location };
        let Location { segment, offset } = location;
        (self.visit)(record).map_err(|reason| OpenError::Refused { segment, offset, reason })
    }

    /// Takes note of a damaged place, after it was copied if that is the policy.
    fn damaged(
        &mut self,
        buffer: &[u8],
        number: u64,
        range: Range<usize>,
        (place, what): (usize, &'static str),
    ) -> Result<(), OpenError> {
        let location = Location { segment: number, offset: range.start as u64 };
        let bytes = buffer.get(range.start..range.end.min(buffer.len())).unwrap_or_default();
        let copy = match self.policy {
            Policy::Refuse => return Err(self.corrupt(number, place as u64, what)),
            Policy::Name => self.storage.quarantined(&damage::copy_name(location, bytes)),
            Policy::Quarantine => {
                let name = damage::copy_name(location, bytes);
                let copied = self.storage.quarantine(&name, bytes);
                let path = self.storage.path(&layout::segment_name(number));
                Some(copied.map_err(|error| {
                    OpenError::io("put a copy aside of damaged bytes of", &path, error)
                })?)
            }
        };
        let bytes = bytes.len() as u64;
        self.hole = Some(self.hole.unwrap_or(0) + bytes);
        let missing = Vec::new();
        self.scan.recovery.damage.push(Damage { location, bytes, what, missing, copy });
        Ok(())
    }

    /// Takes note of unfinished writes behind the end of the last segment.
    fn note_torn(&mut self, buffer: &[u8], number: u64, tail: &Tail, last_end: u64) {
        let salt = tail.header.salt;
        let mut end = tail.offset;
        if let Some(batch) = buffer.get(to_index(tail.offset)..).and_then(BatchHeader::peek)
            && batch.salt == salt
            && batch.offset == tail.offset
        {
            end = tail.offset + batch.bytes() as u64;
        }
        let bytes = end.max(last_end).min(buffer.len() as u64) - tail.offset;
        if bytes > 0 {
            let location = Location { segment: number, offset: tail.offset };
            self.scan.recovery.torn = Some(TornTail { location, bytes });
        }
    }
}

/// Offsets in a segment fit, as the whole segment is in memory.
fn to_index(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
