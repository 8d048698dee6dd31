//! Reading a log back on two threads: one reads and decodes, the other applies. Each takes about as
//! long as the other, and a broker is ready when both are done.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use trunkline_engine::Record;
use trunkline_log::{Location, Log, LogConfig, OpenError, Recovery, Step, Storage, VisitError};
use trunkline_types::Sequence;

/// How many records travel at once.
const PIECE: usize = 512;

/// How many pieces the reader may be ahead.
const AHEAD: usize = 4;

/// A record of the log, decoded.
pub(crate) struct Found {
    pub(crate) place: Sequence,
    pub(crate) record: Record,
    /// Whether records may be missing before it.
    pub(crate) after_damage: bool,
    location: Location,
}

/// Opens a log and applies each of its records in order on the thread that calls. Nothing is written
/// before all were applied.
///
/// # Errors
/// Those of [`Log::open`], with [`OpenError::Refused`] for what `apply` refuses.
pub(crate) fn read_back(
    storage: &Arc<dyn Storage>,
    config: &LogConfig,
    mut apply: impl FnMut(Found) -> Result<(), VisitError>,
) -> Result<(Log, Recovery), OpenError> {
    thread::scope(|scope| {
        let (pieces, taken) = mpsc::sync_channel(AHEAD);
        let (all_applied, applied) = mpsc::sync_channel(1);
        let (storage, config) = (storage.clone(), config.clone());
        let path = storage.path("");
        let mut reader = Reader { pieces, applied, piece: Vec::with_capacity(PIECE) };
        let reading = move || Log::open_stepwise(storage, config, move |step| reader.step(step));
        let reading = thread::Builder::new()
            .name("trunkline-read".into())
            .spawn_scoped(scope, reading)
            .map_err(|error| no_thread(path.clone(), error))?;
        let refused = apply_all(&taken, &mut apply);
        // Whoever reads learns that it is over, in one way or the other.
        drop(taken);
        if refused.is_none() {
            _ = all_applied.send(());
        }
        drop(all_applied);
        let opened = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match refused {
            Some((Location { segment, offset }, reason)) => {
                Err(OpenError::Refused { segment, offset, reason })
            }
            None => opened,
        }
    })
}

/// Applies what comes until all has come, or something is refused.
fn apply_all(
    taken: &Receiver<Vec<Found>>,
    apply: &mut impl FnMut(Found) -> Result<(), VisitError>,
) -> Option<(Location, VisitError)> {
    for found in taken.iter().take_while(|piece| !piece.is_empty()).flatten() {
        let location = found.location;
        if let Err(reason) = apply(found) {
            return Some((location, reason));
        }
    }
    None
}

fn no_thread(path: PathBuf, source: io::Error) -> OpenError {
    OpenError::Io { action: "start a thread to read", path, source }
}

/// The side that reads.
struct Reader {
    /// Where records go; an empty piece is the last.
    pieces: SyncSender<Vec<Found>>,
    /// Tells when all of them are applied.
    applied: Receiver<()>,
    piece: Vec<Found>,
}

impl Reader {
    fn step(&mut self, step: Step<'_>) -> Result<(), VisitError> {
        match step {
            Step::Record(found) => {
                self.piece.push(Found {
                    place: Sequence(found.sequence),
                    record: Record::decode(found.tag, found.body)?,
                    after_damage: found.after_damage,
                    location: found.location,
                });
                if self.piece.len() == PIECE { self.hand_over() } else { Ok(()) }
            }
            Step::End => {
                if !self.piece.is_empty() {
                    self.hand_over()?;
                }
                // An empty one.
                self.hand_over()?;
                Ok(self.applied.recv()?)
            }
        }
    }

    /// # Errors
    /// Nothing is applied any more; what was refused is told by whoever refused it.
    fn hand_over(&mut self) -> Result<(), VisitError> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.pieces.send(piece).map_err(|_| "a record before it was refused".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use trunkline_log::MemoryDisk;
    use trunkline_types::{Epoch, WallTime};

    /// More than fits into what is on its way at once.
    const RECORDS: u64 = (PIECE * (AHEAD + 3) + 7) as u64;

    fn filled(config: &LogConfig) -> Arc<dyn Storage> {
        let storage: Arc<dyn Storage> = Arc::new(MemoryDisk::new());
        let (mut log, _) = Log::open(storage.clone(), config.clone(), |_| Ok(())).unwrap();
        let mut batch = config.batch();
        for place in 1..=RECORDS {
            let record = Record::Boot { epoch: Epoch(1), at: WallTime(place) };
            batch.push(0, place, record.tag(), |body| record.encode(body)).unwrap();
        }
        log.write(&mut batch).unwrap();
        log.sync().unwrap();
        storage
    }

    /// Every file as it is.
    fn content(storage: &Arc<dyn Storage>) -> BTreeMap<String, Vec<u8>> {
        let files = storage.list().unwrap().into_iter().map(|file| {
            let mut bytes = vec![0; usize::try_from(file.bytes).unwrap()];
            storage.open(&file.name).unwrap().read_at(&mut bytes, 0).unwrap();
            (file.name, bytes)
        });
        files.collect()
    }

    #[test]
    fn every_record_is_applied_once_and_in_order() {
        let config = LogConfig::default();
        let storage = filled(&config);
        let mut places = Vec::new();
        let take = |found: Found| {
            assert!(matches!(found.record, Record::Boot { at, .. } if at.0 == found.place.0));
            places.push(found.place.0);
            Ok(())
        };
        let (_log, recovery) = read_back(&storage, &config, take).unwrap();
        assert_eq!(recovery.records, RECORDS);
        assert!(places.into_iter().eq(1..=RECORDS));
    }

    #[test]
    fn what_is_refused_is_named_and_leaves_the_disk_as_it_was() {
        let config = LogConfig::default();
        let storage = filled(&config);
        let (mut places, mut last) = (Vec::new(), None);
        let every = |found: Found| {
            places.push(found.location);
            Ok(())
        };
        read_back(&storage, &config, every).unwrap();
        let before = content(&storage);
        for refused in [1, 3, PIECE as u64, RECORDS] {
            let refuse = |found: Found| {
                last = Some(found.place.0);
                if found.place.0 == refused { Err("not this one".into()) } else { Ok(()) }
            };
            let error = read_back(&storage, &config, refuse).unwrap_err();
            let Location { segment, offset } = places[usize::try_from(refused).unwrap() - 1];
            let said = format!("segment {segment}, offset {offset} cannot be used: not this one");
            assert!(error.to_string().contains(&said), "{error}");
            assert_eq!(last, Some(refused));
            assert!(content(&storage) == before, "after record {refused} was refused");
        }
    }
}
