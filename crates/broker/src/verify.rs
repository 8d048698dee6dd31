//! Checking a stopped broker's data: every segment, every record, the state they lead to, the index.
//!
//! It holds the directory's lock meanwhile. Without repair nothing is written; with it damaged bytes
//! are copied and a damaged index is moved aside, and nothing is ever deleted. The index is read where
//! it is: what could not be read is no damage, and stays.

use crate::error::OpenError;
use crate::gaps::Gaps;
use crate::index::examine::{self, Examiner, Wrong};
use crate::index::{BadRow, inspect, row_of};
use crate::loading::{Lookup, Payloads};
use crate::open::first_record;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{
    DeadPlace, DiedLetter, EndedTask, Engine, EngineConfig, LetterIndex, Past, Record, TaskIndex,
};
use trunkline_log::{Damage, Directory, Location, Recovery, Storage, segment_number};
use trunkline_rules::Rulebook;
use trunkline_types::{InboxAddress, MessageId, Sequence, TenantId, WallTime};

/// How many faults are told one by one; the others are counted.
const TOLD: usize = 100;

/// How many bytes of payloads are in memory meanwhile.
const PAYLOAD_MEMORY: u64 = 16 << 20;

/// Whether to put damage aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repair {
    /// Only look.
    No,
    /// Copy damaged bytes to `quarantine/`, and move an index there that is of no use, so that the
    /// next start makes it again from the log. One that lacks what the log has stays, and the next
    /// start makes up for it; of one with damaged rows these alone are copied and taken out.
    Yes,
}

/// What was found in a data directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Segments read.
    pub segments: u64,
    /// Records read.
    pub records: u64,
    /// Bytes of their frames.
    pub bytes: u64,
    /// Whether the broker that wrote it stopped in order.
    pub closed: bool,
    /// Bytes at the end that were never flushed, which is what a crash leaves and no fault.
    pub torn_bytes: u64,
    /// Damaged places of the log. Those with a copy have been put aside, by this or an earlier
    /// start or repair, and are no fault any more.
    pub damage: Vec<Damage>,
    /// Records that speak of something that was lost with a damaged place.
    pub skipped: u64,
    /// What else is wrong, as far as it is told one by one.
    pub faults: Vec<Fault>,
    /// How many faults there are.
    pub faults_total: u64,
    /// Where an index of no use was moved to.
    pub index_moved: Option<PathBuf>,
    /// What an index lacked that the next start is to make up for, and which of its rows were damaged
    /// and are in `quarantine/` now.
    pub index_mended: Option<String>,
}

/// Something that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The record it is about; `None` for the whole or for the index.
    pub location: Option<Location>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Location { segment, offset }) = self.location {
            write!(f, "segment {segment}, offset {offset}: ")?;
        }
        f.write_str(&self.what)
    }
}

impl Verified {
    /// Whether nothing is wrong that has not been put aside.
    pub fn is_sound(&self) -> bool {
        self.faults_total == 0 && self.damage.iter().all(|place| place.copy.is_some())
    }
}

/// Checks the data directory of a stopped broker. `progress` is told how many bytes of how many
/// have been read.
///
/// # Errors
/// [`OpenError::Log`] if a broker uses the directory, or it cannot be read, or its format is not
/// known, or what is there contradicts itself so that nothing behind it can be read.
pub fn verify(
    path: &Path,
    repair: Repair,
    progress: impl FnMut(u64, u64),
) -> Result<Verified, OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(Directory::inspect(path)?);
    // The engine has a weak hold of it.
    let payloads = Arc::new(Payloads::new(storage.clone(), EngineConfig::default().partition.0));
    let index = Examiner::open(&path.join(crate::open::INDEX));
    let mut checker = Checker::new(&storage, &payloads, index, progress)?;
    let visit = |found: trunkline_log::Record<'_>| {
        checker.record(&found);
        Ok(())
    };
    let recovery = match repair {
        Repair::No => trunkline_log::inspect(&storage, visit)?,
        Repair::Yes => trunkline_log::quarantine(&storage, visit)?,
    };
    checker.finish(path, repair, recovery)
}

/// Takes in what is read.
struct Checker<P> {
    progress: P,
    /// Numbers of the segments, and how many bytes there are before each.
    starts: Vec<(u64, u64)>,
    total: u64,
    engine: Engine,
    gaps: Gaps,
    /// The index, if there is one.
    index: Result<Option<Examiner>, Wrong>,
    /// Records no longer reach the engine, as one did not fit.
    stuck: bool,
    /// The record before could not be read, so that it is missing for the engine.
    unread: bool,
    faults: Vec<Fault>,
    faults_total: u64,
}

impl<P: FnMut(u64, u64)> Checker<P> {
    fn new(
        storage: &Arc<dyn Storage>,
        payloads: &Arc<Payloads>,
        index: Result<Option<Examiner>, Wrong>,
        progress: P,
    ) -> Result<Self, OpenError> {
        let files = storage.list().map_err(|source| trunkline_log::OpenError::Io {
            action: "list",
            path: storage.path(""),
            source,
        })?;
        let mut segments: Vec<_> = files
            .iter()
            .filter_map(|file| segment_number(&file.name).map(|number| (number, file.bytes)))
            .collect();
        segments.sort_unstable();
        let mut total = 0;
        let start = |(number, bytes)| {
            let start = total;
            total += bytes;
            (number, start)
        };
        let starts = segments.into_iter().map(start).collect();
        let config = EngineConfig {
            logged: true,
            rules: Arc::new(Rulebook::new()),
            payloads: Some(Arc::new(Lookup::new(payloads))),
            payload_memory: PAYLOAD_MEMORY,
            task_index: Some(Arc::new(Elsewhere)),
            letter_index: Some(Arc::new(Elsewhere)),
            ..EngineConfig::default()
        };
        Ok(Self {
            progress,
            starts,
            total,
            engine: Engine::new(config),
            gaps: Gaps::default(),
            index,
            stuck: false,
            unread: false,
            faults: Vec::new(),
            faults_total: 0,
        })
    }

    fn record(&mut self, found: &trunkline_log::Record<'_>) {
        let location = found.location;
        let before = self.starts.iter().rfind(|(number, _)| *number <= location.segment);
        (self.progress)(before.map_or(0, |(_, start)| *start) + location.offset, self.total);
        let place = Sequence(found.sequence);
        let record = match Record::decode(found.tag, found.body) {
            Ok(record) => record,
            Err(error) => {
                self.unread = true;
                let what = format!("record {} cannot be read: {error}", found.sequence);
                return self.fault(Some(location), what);
            }
        };
        if self.stuck {
            return;
        }
        if let Ok(Some(index)) = &mut self.index {
            if let Record::Boot { at, .. } = &record {
                index.time(*at);
            }
            if let Some(row) = row_of(place, &record, Duration::ZERO) {
                index.time(row.accepted.expires_at);
                index.key(&row);
            }
        }
        let behind = found.after_damage || std::mem::take(&mut self.unread);
        if let Err(error) = self.gaps.replay(&mut self.engine, place, record, behind) {
            self.stuck = true;
            let what = format!("{error}; what comes after it was read but not replayed");
            self.fault(Some(location), what);
        }
        if let Some(law) = self.engine.take_broken_law()
            && !self.gaps.is_behind()
        {
            self.fault(Some(location), format!("record {}: {law}", place.0));
        }
        for past in self.engine.take_past() {
            let Ok(Some(index)) = &mut self.index else { continue };
            match past {
                Past::Ended(task) => index.task(&task),
                Past::Died(letter) => index.letter(&letter),
                Past::Cleared(cleared) => index.cleared(&cleared),
            }
        }
        // What has ended need not be kept here.
        self.engine.indexed(place);
    }

    fn fault(&mut self, location: Option<Location>, what: String) {
        self.faults_total += 1;
        if self.faults.len() < TOLD {
            self.faults.push(Fault { location, what });
        }
    }

    fn finish(
        mut self,
        path: &Path,
        repair: Repair,
        recovery: Recovery,
    ) -> Result<Verified, OpenError> {
        (self.progress)(self.total, self.total);
        Gaps::finish(&mut self.engine, &recovery);
        if !self.stuck
            && let Err(what) = self.engine.conservation()
        {
            self.fault(None, format!("the state that the records lead to does not add up: {what}"));
        }
        let folder = path.join(crate::open::INDEX);
        let (mut index_moved, mut index_mended) = (None, None);
        match (self.index_fault(), repair) {
            (Ok(()), _) => {}
            (Err(Wrong::Damaged(_) | Wrong::Foreign), Repair::Yes) => {
                let moved = inspect::move_aside(&folder, &inspect::aside(&folder));
                index_moved = Some(moved.map_err(|source| trunkline_log::OpenError::Io {
                    action: "move aside",
                    path: folder,
                    source,
                })?);
            }
            (Err(Wrong::Rows(rows)), Repair::No) => {
                for row in rows {
                    self.fault(None, format!("the index is damaged: {row}"));
                }
            }
            (Err(Wrong::Rows(rows)), Repair::Yes) => match examine::take_out(&folder, &rows) {
                Ok(()) => index_mended = Some(told(&rows)),
                Err(error) => {
                    self.fault(None, format!("the index is damaged: {}; {error}", told(&rows)));
                }
            },
            (Err(Wrong::Incomplete(what)), Repair::Yes) => match examine::mend(&folder) {
                Ok(()) => index_mended = Some(what),
                Err(error) => {
                    self.fault(None, format!("the index is not complete: {what}; {error}"));
                }
            },
            (Err(Wrong::Damaged(what)), Repair::No) => {
                self.fault(None, format!("the index is damaged: {what}"));
            }
            (Err(Wrong::Foreign), Repair::No) => {
                self.fault(None, "the index belongs to another log".to_owned());
            }
            (Err(Wrong::Incomplete(what)), Repair::No) => {
                self.fault(None, format!("the index is not complete: {what}"));
            }
            (Err(Wrong::Unchecked(what)), _) => {
                self.fault(None, format!("the index could not be checked: {what}"));
            }
        }
        let Recovery { records, bytes, segments, torn, closed, damage, .. } = recovery;
        Ok(Verified {
            segments,
            records,
            bytes,
            closed,
            torn_bytes: torn.map_or(0, |torn| torn.bytes),
            damage,
            skipped: self.gaps.skipped,
            faults: self.faults,
            faults_total: self.faults_total,
            index_moved,
            index_mended,
        })
    }

    /// What is wrong with the index, if it is there and something is.
    fn index_fault(&mut self) -> Result<(), Wrong> {
        let Some(index) = std::mem::replace(&mut self.index, Ok(None))? else { return Ok(()) };
        let last = self.engine.sequence();
        // The record that tells the log from others may be damaged.
        let is_known = self.engine.born() != WallTime(0);
        if is_known
            && !index.belongs_to.is_empty()
            && index.belongs_to != first_record(&self.engine)
        {
            return Err(Wrong::Foreign);
        }
        if index.reaches > last {
            let through = index.reaches.0;
            self.fault(
                None,
                format!(
                    "the index goes through record {through} and the log to {}: the log has lost \
                     its end or was put back to an earlier time; the next start leaves out what \
                     the index has of later records",
                    last.0
                ),
            );
        }
        if self.stuck {
            // What the log has was not all looked at.
            return Ok(());
        }
        index.finish()
    }
}

/// Which rows are bad, in one line.
fn told(rows: &[BadRow]) -> String {
    let mut told: Vec<_> = rows.iter().take(TOLD).map(ToString::to_string).collect();
    if rows.len() > TOLD {
        told.push(format!("{} more", rows.len() - TOLD));
    }
    told.join("; ")
}

/// Where ended tasks and dead letters are as far as the engine is concerned: not in its memory.
#[derive(Debug)]
struct Elsewhere;

impl TaskIndex for Elsewhere {
    fn find(&self, _: &TenantId, _: MessageId) -> Result<Option<Box<EndedTask>>, String> {
        Ok(None)
    }

    fn count(&self, _: &TenantId, _: Sequence) -> Result<u64, String> {
        Ok(0)
    }

    fn since(&self) -> Result<Option<WallTime>, String> {
        Ok(None)
    }
}

impl LetterIndex for Elsewhere {
    fn find(
        &self,
        _: &TenantId,
        _: MessageId,
        _: Option<&InboxAddress>,
    ) -> Result<Vec<DeadPlace>, String> {
        Ok(Vec::new())
    }

    fn read(&self, _: Sequence) -> Result<Option<Box<DiedLetter>>, String> {
        Ok(None)
    }

    fn count(&self, _: &TenantId, _: Sequence, _: &[Sequence]) -> Result<u64, String> {
        Ok(0)
    }
}
