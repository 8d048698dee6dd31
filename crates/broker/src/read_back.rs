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
