//! The log: batches written into segments, flushed, and removed from the old end.
//!
//! It owns the files of a [`Storage`] and where the next batch goes. It refuses to go on after a
//! failed write or flush, because it is then unknown what the disk holds. It has no thread: see
//! [`Committer`](crate::Committer) for that, and [`upkeep`] for the slow work on files.

mod open;
mod room;
mod segment;
mod table;
mod upkeep;

use std::{collections::VecDeque, sync::Arc};

pub(crate) use table::SegmentTable;
pub use table::{LogFigures, SegmentInfo};
pub use upkeep::{Upkeep, UpkeepDone};

use self::segment::Segment;
use crate::{
    Batch, LogConfig,
    error::{PrepareError, WriteError},
    layout::{self, BATCH_HEADER, FrameHeader, Kind},
    recovery::{Location, Sequences},
    storage::Storage,
};

/// An open log: the one writer of its files.
#[derive(Debug)]
pub struct Log {
    storage: Arc<dyn Storage>,
    config: LogConfig,
    /// Length of new segments.
    segment_bytes: u64,
    current: Segment,
    /// Prepared segments, next first; one is kept ready besides the reserve.
    spares: VecDeque<Segment>,
    /// What the segments hold that are still needed, `current` included.
    table: SegmentTable,
    figures: LogFigures,
    /// Lowest number of a segment that still has its file.
    first: u64,
    /// Lowest number of a segment that is needed.
    oldest: u64,
    epoch: u32,
    sequences: Sequences,
    files: upkeep::Files,
    upkeep: UpkeepState,
    /// An attempt to make a spare segment failed, and the reserve is not whole again since.
    starved: bool,
    /// Records written and flushed since opening.
    written: u64,
    synced: u64,
    /// How many spares the write needs that was refused last for lack of room, if none succeeded
    /// since.
    refused: Option<usize>,
    poison: Option<Arc<str>>,
    /// Ends of the parts of the batch being written; kept to save the allocation.
    parts: Vec<usize>,
}

/// How much room there is for what comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Space {
    /// The next segment and the reserve are ready, or being made.
    Ample,
    /// The disk is full: what is left of the current segment and the reserve
    /// ([`LogConfig::reserve_segments`]) are all there is. New work should be refused, so that what
    /// was begun can be finished and old segments can be given up.
    Reserve,
    /// A write has been refused, and there is still no room for it.
    Exhausted,
}

/// When the slow work on files is to be done, if there is any.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum UpkeepState {
    /// At once.
    Due,
    /// It was handed out and has not come back.
    Running,
    /// When somebody asks, as it failed the last time.
    Later,
}

impl Log {
    /// Writes all records of `batch`, in order, and clears it. They survive a crash after the next
    /// [`Log::sync`].
    ///
    /// # Errors
    /// [`WriteError::Full`]: nothing was written, and the batch can be written later.
    /// [`WriteError::Poisoned`]: the disk failed, or a sequence did not increase; open again.
    ///
    /// # Panics
    /// If the batch allows longer bodies than this log's `max_body_bytes`.
    pub fn write(&mut self, batch: &mut Batch) -> Result<(), WriteError> {
        self.check_poison()?;
        assert!(
            batch.max_body_bytes() <= self.config.max_body_bytes,
            "a batch must keep its log's limit on bodies"
        );
        if batch.is_empty() {
            return Ok(());
        }
        self.plan(batch)?;
        self.seal_frames(batch)?;
        let parts = std::mem::take(&mut self.parts);
        let mut start = BATCH_HEADER;
        for (index, &end) in parts.iter().enumerate() {
            if index > 0 {
                self.advance()?;
            }
            if end > start {
                // The header of a later part overwrites frames that have been written already.
                let part = &mut batch.buffer_mut()[start - BATCH_HEADER..end];
                let records = self.write_records(part)?;
                self.written += u64::from(records);
            }
            start = end;
        }
        self.parts = parts;
        self.refused = None;
        batch.clear();
        Ok(())
    }

    /// Returns once everything written survives a crash.
    ///
    /// # Errors
    /// [`WriteError::Poisoned`]: the disk failed; open again.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.check_poison()?;
        let result = self.current.sync();
        self.poison_on("flush", result)?;
        self.synced = self.written;
        Ok(())
    }

    /// Makes a spare segment if one is lacking, here and now, which can take as long as writing a
    /// whole segment. See [`Log::begin_upkeep`] for doing it elsewhere.
    ///
    /// # Errors
    /// [`PrepareError`]; the log is sound and [`Log::space`] tells what is left.
    pub fn prepare(&mut self) -> Result<(), PrepareError> {
        match self.begin_upkeep() {
            Some(upkeep) => self.finish_upkeep(upkeep.run()),
            None => Ok(()),
        }
    }

    /// Whether there is work for [`Log::begin_upkeep`] that has not just failed.
    pub fn wants_upkeep(&self) -> bool {
        let work = self.lacks_spares() || self.files.has_dead();
        work && self.upkeep == UpkeepState::Due && self.poison.is_none()
    }

    /// Hands out the slow work on files (making a spare segment, putting removed ones aside), to be
    /// run on any thread and given back. `None` if there is none or it is already handed out.
    pub fn begin_upkeep(&mut self) -> Option<Upkeep> {
        let work = self.lacks_spares() || self.files.has_dead();
        if !work || self.upkeep == UpkeepState::Running || self.poison.is_some() {
            return None;
        }
        self.upkeep = UpkeepState::Running;
        let next = self.current.number() + self.spares.len() as u64 + 1;
        let prepare = self.lacks_spares().then_some(next);
        let files = std::mem::take(&mut self.files);
        let storage = Arc::clone(&self.storage);
        Some(Upkeep::new(storage, &self.config, self.segment_bytes, files, prepare))
    }

    /// Takes back what [`Log::begin_upkeep`] handed out.
    ///
    /// # Errors
    /// [`PrepareError`] if the work failed; the log is sound and the work can be tried again.
    pub fn finish_upkeep(&mut self, done: UpkeepDone) -> Result<(), PrepareError> {
        let UpkeepDone { files, prepared, recycled, result } = done;
        let removed_meanwhile = std::mem::replace(&mut self.files, files);
        self.files.add_dead_of(removed_meanwhile);
        if let Some(segment) = prepared {
            self.spares.push_back(segment);
            self.figures.recycled += u64::from(recycled);
        }
        // New work waits until the whole reserve is there again, lest it is let in and refused in
        // turns with every file that comes free.
        self.starved = self.lacks_spares() && (self.starved || result.is_err());
        self.upkeep = if result.is_ok() { UpkeepState::Due } else { UpkeepState::Later };
        self.count_disk();
        result
    }

    /// Gives up all segments below `segment`: their records will never be needed again. They are
    /// announced as dead on disk at once; their files are recycled by the next upkeep. A crash
    /// before that replays them once more. Numbers beyond the current segment mean the current one.
    ///
    /// # Errors
    /// As [`Log::write`].
    pub fn remove_before(&mut self, segment: u64) -> Result<(), WriteError> {
        self.check_poison()?;
        let segment = segment.min(self.current.number());
        if segment <= self.first {
            return Ok(());
        }
        let before = self.oldest;
        self.oldest = before.max(segment);
        if let Err(error) = self.write_control(Kind::Removal) {
            self.oldest = before;
            return Err(error);
        }
        self.sync()?;
        self.files.add_dead(self.dead_segments());
        self.figures.removed += self.oldest - self.first;
        self.first = self.oldest;
        self.table.remove_before(self.oldest);
        self.count_disk();
        // The files that come free are a reason to try again at once.
        self.hurry_upkeep();
        Ok(())
    }

    /// Flushes everything and marks the log as closed in order.
    ///
    /// # Errors
    /// [`WriteError::Poisoned`]. A log that is too full for the mark is flushed without it.
    pub fn close(mut self) -> Result<(), WriteError> {
        self.sync()?;
        match self.write_control(Kind::Closing) {
            Ok(()) => self.sync(),
            Err(WriteError::Full { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The segments that are needed, in order; the last one is being written to.
    pub fn segments(&self) -> &[SegmentInfo] {
        self.table.segments()
    }

    /// The figures so far.
    pub fn figures(&self) -> LogFigures {
        self.figures
    }

    /// Where the next batch goes.
    pub fn end(&self) -> Location {
        Location { segment: self.current.number(), offset: self.current.offset() }
    }

    /// Number of the oldest segment that is needed.
    pub fn oldest_segment(&self) -> u64 {
        self.oldest
    }

    /// Records written since opening.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Records written since opening that survive a crash.
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// The number of this opening; see [`Recovery::epoch`](crate::Recovery::epoch).
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The settings it was opened with.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Whether there is work for [`Log::begin_upkeep`] that has failed and is to be tried again.
    pub(crate) fn upkeep_is_put_off(&self) -> bool {
        let work = self.lacks_spares() || self.files.has_dead();
        work && self.upkeep == UpkeepState::Later && self.poison.is_none()
    }

    /// Whether upkeep was handed out and has not come back.
    pub(crate) fn upkeep_is_running(&self) -> bool {
        self.upkeep == UpkeepState::Running
    }

    /// What is copied for those who ask on other threads.
    pub(crate) fn table(&self) -> &SegmentTable {
        &self.table
    }

    fn hurry_upkeep(&mut self) {
        if self.upkeep == UpkeepState::Later {
            self.upkeep = UpkeepState::Due;
        }
    }

    /// Fills in the checksums and checks the sequences.
    fn seal_frames(&mut self, batch: &mut Batch) -> Result<(), WriteError> {
        let mut rest = &mut batch.buffer_mut()[BATCH_HEADER..];
        while let Some((header, bytes)) = FrameHeader::peek(rest) {
            let (frame, next) = rest.split_at_mut(bytes);
            layout::seal_frame(frame);
            if !self.sequences.advance(header.partition, header.sequence) {
                let FrameHeader { partition, sequence, .. } = header;
                return Err(self.poisoned(format!(
                    "sequence {sequence} of partition {partition} does not increase"
                )));
            }
            rest = next;
        }
        Ok(())
    }

    /// Goes over to the next spare segment, which must exist.
    fn advance(&mut self) -> Result<(), WriteError> {
        // Flushed before the next segment is touched, so that only the last segment can be torn.
        let result = self
            .current
            .write_empty(Kind::Seal, self.epoch, self.oldest)
            .and_then(|()| self.current.sync());
        self.poison_on("seal", result)?;
        self.synced = self.written;
        self.current = self.spares.pop_front().expect("the plan counted the spares");
        self.table.push(SegmentInfo::new(self.current.header()));
        self.figures.segments = self.table.segments().len() as u64;
        // Whatever failed earlier, the next spare is asked for once now.
        self.hurry_upkeep();
        Ok(())
    }

    fn write_records(&mut self, part: &mut [u8]) -> Result<u32, WriteError> {
        let info = self.table.last_mut();
        let carried = info.carried_bytes;
        let result = self.current.write_records(part, self.epoch, self.oldest, info);
        self.figures.written_bytes += (part.len() - BATCH_HEADER) as u64;
        self.figures.carried_bytes += info.carried_bytes - carried;
        self.poison_on("write", result)
    }

    fn write_control(&mut self, kind: Kind) -> Result<(), WriteError> {
        self.check_poison()?;
        if !self.current.has_control_room() {
            if self.spare_room(0).is_none() {
                self.refused = Some(1);
                return Err(WriteError::Full { needed: BATCH_HEADER as u64, left: 0 });
            }
            self.advance()?;
        }
        let result = self.current.write_empty(kind, self.epoch, self.oldest);
        self.poison_on("write", result)
    }

    fn check_poison(&self) -> Result<(), WriteError> {
        match &self.poison {
            Some(reason) => Err(WriteError::Poisoned(Arc::clone(reason))),
            None => Ok(()),
        }
    }

    fn poison_on<T>(&mut self, action: &str, result: std::io::Result<T>) -> Result<T, WriteError> {
        result.map_err(|error| {
            let path = self.storage.path(&layout::segment_name(self.current.number()));
            self.poisoned(format!("cannot {action} {}: {error}", path.display()))
        })
    }

    fn poisoned(&mut self, reason: String) -> WriteError {
        let reason: Arc<str> = reason.into();
        self.poison = Some(Arc::clone(&reason));
        WriteError::Poisoned(reason)
    }
}
