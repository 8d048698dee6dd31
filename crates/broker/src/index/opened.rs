//! An index that was opened, while the log beside it is read.

use crate::clock::Clock;
use crate::index::feed::{Feed, IndexThread, STAY};
use crate::index::reader::KeyReader;
use crate::index::rows::{Row, row_of};
use crate::index::store::Store;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::Record;
use trunkline_types::{Sequence, WallTime};

/// An index that was opened, and what the log beside it holds that the index lacks.
#[derive(Debug)]
pub(crate) struct Index {
    store: Store,
    /// What the engine asks.
    pub(crate) reader: Arc<KeyReader>,
    /// How far it goes.
    pub(crate) through: Sequence,
    /// The first record of the log that it belongs to; empty for one that is new.
    belongs_to: Vec<u8>,
    /// The first record that the log that was read ever had.
    log: Vec<u8>,
    feed: Arc<Feed>,
}

impl Index {
    /// Opens the index in a folder. `None` if that is not possible: keys then stay in memory.
    pub(crate) fn open(folder: &Path) -> Option<Self> {
        let opened = Store::open(folder).and_then(Self::new);
        opened.inspect_err(|error| tracing::warn!(%error, "keys stay in memory")).ok()
    }

    /// Takes note of a record that is read from the log, or of the first that is written to it.
    pub(crate) fn note(
        &mut self,
        place: Sequence,
        record: &Record,
        window: Duration,
        now: WallTime,
    ) {
        if place <= self.through {
            return;
        }
        let lives = |row: &Row| row.accepted.expires_at.after(STAY) > now;
        if let Some(row) = row_of(place, record, window).filter(lives) {
            self.feed.push(row);
        }
    }

    /// Notes the first record that the log ever had, which tells it from others. It may have been
    /// given up long since.
    pub(crate) fn identify(&mut self, first: Vec<u8>) {
        self.log = first;
    }

    /// Whether it belongs to the log that was read, whose last record is at a place. A log that
    /// was put in another's place, or put back to an earlier time, is not the index's own.
    pub(crate) fn fits(&self, last: Sequence) -> bool {
        self.belongs_to.is_empty() || (self.belongs_to == self.log && self.through <= last)
    }

    /// The index emptied, for a log that it does not belong to.
    pub(crate) fn reset(self) -> Option<Self> {
        let Self { store, reader, .. } = self;
        drop(reader);
        let opened = store.reset().and_then(Self::new);
        opened.inspect_err(|error| tracing::warn!(%error, "keys stay in memory")).ok()
    }

    /// Notes that all that was read from the log is on disk.
    pub(crate) fn synced(&self, through: Sequence) {
        self.feed.synced(through);
    }

    /// Starts the thread that fills it.
    ///
    /// # Errors
    /// If the operating system refuses another thread.
    pub(crate) fn start(
        self,
        clock: Clock,
        on_commit: impl Fn(Sequence) + Send + 'static,
        on_kept: impl Fn(Sequence) + Send + 'static,
    ) -> io::Result<IndexThread> {
        IndexThread::start(self.store, self.feed, self.log, clock, on_commit, on_kept)
    }

    fn new(store: Store) -> Result<Self, String> {
        let reader = Arc::new(KeyReader::open(store.path())?);
        let (through, belongs_to) = store.state().map_err(|error| error.to_string())?;
        let (log, feed) = (Vec::new(), Arc::default());
        Ok(Self { store, reader, through, belongs_to, log, feed })
    }
}
