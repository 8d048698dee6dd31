//! Opening a log: what was found is taken up, what is damaged is put aside, and the opening is
//! written down.

use std::sync::Arc;

use super::{Log, LogFigures, SegmentTable, UpkeepState, segment::Segment, upkeep};
use crate::{
    LogConfig, SegmentInfo,
    error::{OpenError, VisitError, WriteError},
    layout::{self, Kind},
    recovery::{self, Location, Policy, Record, Recovery, Step},
    storage::Storage,
};

impl Log {
    /// Opens a log, replaying every record in order through `visit`, and writes down that it did.
    ///
    /// Damaged batches are left out: a copy of each is put aside with [`Storage::quarantine`], the
    /// first record behind one says so ([`Record::after_damage`]), and [`Recovery::damage`] names
    /// them all.
    ///
    /// # Errors
    /// [`OpenError::Corrupt`] if a segment is missing or what is there contradicts itself,
    /// [`OpenError::Refused`] if `visit` fails, [`OpenError::Config`], [`OpenError::NewerFormat`],
    /// [`OpenError::Full`] or [`OpenError::Io`]. What was visited before an error must not be used.
    pub fn open(
        storage: Arc<dyn Storage>,
        config: LogConfig,
        mut visit: impl FnMut(Record<'_>) -> Result<(), VisitError>,
    ) -> Result<(Self, Recovery), OpenError> {
        Self::open_stepwise(storage, config, |step| match step {
            Step::Record(record) => visit(record),
            Step::End => Ok(()),
        })
    }

    /// As [`Self::open`], but `visit` is also told when it has been handed everything, so that one
    /// that only takes records down can refuse them as long as nothing is written.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_stepwise(
        storage: Arc<dyn Storage>,
        config: LogConfig,
        mut visit: impl FnMut(Step<'_>) -> Result<(), VisitError>,
    ) -> Result<(Self, Recovery), OpenError> {
        let segment_bytes = config.checked_segment_bytes()?;
        let scan = recovery::scan(storage.as_ref(), Policy::Quarantine, |record| {
            visit(Step::Record(record))
        })?;
        let mut recovery = scan.recovery;
        let Location { segment, offset } = recovery.end;
        visit(Step::End).map_err(|reason| OpenError::Refused { segment, offset, reason })?;
        // Everything was read and damage is copied: from here on the files may be written to.
        storage
            .begin_writing()
            .map_err(|error| OpenError::io("write to", &storage.path(""), error))?;
        let mut files = upkeep::Files::new(scan.free);
        for number in scan.broken_spares.into_iter().rev() {
            files.take_in(storage.as_ref(), number)?;
        }
        let open = |tail| Segment::open(storage.as_ref(), tail);
        let mut segments = scan.segments;
        let current = if let Some(tail) = scan.current {
            open(tail)?
        } else {
            let number = scan.last_segment + 1;
            upkeep::first_segment(&storage, &config, segment_bytes, &mut files, number)?
        };
        if segments.last().is_none_or(|last| last.number != current.number()) {
            segments.push(SegmentInfo::new(current.header()));
        }
        let spares = scan.spares.into_iter().map(open).collect::<Result<_, _>>()?;
        recovery.epoch = recovery.epoch.saturating_add(1);
        let figures = LogFigures { damaged: recovery.damage.len() as u64, ..LogFigures::default() };
        let mut log = Self {
            storage,
            config,
            segment_bytes,
            current,
            spares,
            table: SegmentTable::new(segments),
            figures,
            first: scan.first_segment,
            oldest: scan.oldest.max(scan.first_segment),
            epoch: recovery.epoch,
            sequences: scan.sequences,
            files,
            upkeep: UpkeepState::Due,
            starved: false,
            written: 0,
            synced: 0,
            refused: None,
            poison: None,
            parts: Vec::new(),
        };
        log.count_disk();
        log.write_opening()?;
        Ok((log, recovery))
    }

    fn write_opening(&mut self) -> Result<(), OpenError> {
        let path = self.storage.path(&layout::segment_name(self.current.number()));
        let result = self.write_control(Kind::Opening).and_then(|()| self.sync());
        result.map_err(|error| match error {
            WriteError::Full { needed, .. } => {
                OpenError::Full { path, bytes: needed, source: None }
            }
            WriteError::Poisoned(reason) => {
                OpenError::io("write", &path, std::io::Error::other(reason.to_string()))
            }
        })
    }
}
