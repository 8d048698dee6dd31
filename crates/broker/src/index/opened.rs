//! An index that was opened, while the log beside it is read.

use crate::clock::Clock;
use crate::error::OpenError;
use crate::index::feed::{Feed, Retention};
use crate::index::lists::Lists;
use crate::index::reader::Reader;
use crate::index::rows::{Entry, Row, row_of};
use crate::index::store::{Entries, Store, Unopened};
use crate::index::thread::{IndexThread, STAY};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{Carried, Past, Record};
use trunkline_types::{Epoch, Sequence, WallTime};

/// An index that was opened, and what the log beside it holds that the index lacks.
#[derive(Debug)]
pub(crate) struct Index {
    store: Store,
    /// What the engine asks.
    pub(crate) reader: Arc<Reader>,
    /// What lists tasks.
    pub(crate) lists: Arc<Lists>,
    /// How far it goes.
    pub(crate) through: Sequence,
    /// The first record of the log that it belongs to; empty for one that is new.
    belongs_to: Vec<u8>,
    /// The first record that the log that was read ever had.
    log: Vec<u8>,
    feed: Arc<Feed>,
    /// What was over by what was read from the log, and that the index lacks.
    past: Vec<Past>,
    /// What was cleared by it. The index forgets nothing before all of the log is known to be on
    /// disk.
    cleared: Vec<Past>,
    /// About how many bytes they need.
    bytes: u64,
    /// How many ended tasks there were, and when the first of them ended.
    made_up: (u64, Option<WallTime>),
    /// Whether the log has lost its beginning, so that a new index begins where all that is live
    /// had been said again for the first time.
    beginning: Beginning,
    /// Whether its broker was not stopped in order.
    unclean: bool,
    /// The last record that the file has something of, also if all of the log is to be read again.
    reaches: Sequence,
}

/// Where the history begins that a log can tell whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Beginning {
    /// No record was read yet.
    Unknown,
    /// With the log.
    Log,
    /// With the next record that says what is forgotten.
    Cut,
    /// Behind this record.
    Behind(Sequence),
}

/// About how many bytes of what was read from the log are committed at a time.
const BYTES: u64 = 4 << 20;

/// Whether an index goes with a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fit {
    /// It is that log's.
    Fits,
    /// It is that log's and goes further: the log was put back to an earlier time, or has lost its
    /// end.
    Ahead,
    /// It is another log's.
    Other,
}

impl Index {
    /// Opens the index in a folder. `None` if there is none and none can be made: everything
    /// then stays in memory.
    ///
    /// # Errors
    /// If there is one that cannot be opened now or by this version. It may be what alone has what
    /// the log gave up.
    pub(crate) fn open(folder: &Path) -> Result<Option<Self>, OpenError> {
        Self::made(Store::open(folder))
    }

    fn made(store: Result<Store, Unopened>) -> Result<Option<Self>, OpenError> {
        match store.and_then(Self::new) {
            Ok(index) => Ok(Some(index)),
            Err(Unopened::NoRoom(error)) => {
                tracing::warn!(%error, "keys, ended tasks and dead letters stay in memory");
                Ok(None)
            }
            Err(Unopened::Refused(reason)) => Err(OpenError::Index(reason)),
        }
    }

    /// Takes note of a record that is read from the log, or of the first that is written to it.
    pub(crate) fn note(
        &mut self,
        place: Sequence,
        record: &Record,
        window: Duration,
        now: WallTime,
    ) {
        self.beginning = match self.beginning {
            Beginning::Unknown if place.0 <= 1 => Beginning::Log,
            Beginning::Unknown | Beginning::Cut if is_marks(record) => Beginning::Behind(place),
            Beginning::Unknown => Beginning::Cut,
            known => known,
        };
        if place <= self.through {
            return;
        }
        let lives = |row: &Row| row.accepted.expires_at.after(STAY) > now;
        if let Some(row) = row_of(place, record, window).filter(lives) {
            self.feed.push(Entry::Key(row));
        }
    }

    /// Takes what is over by what is read from the log. It is committed in parts, so that a long log
    /// need not be in memory; how far the index goes is not changed by that. Whether it has all now.
    pub(crate) fn note_past(&mut self, past: Vec<Past>) -> bool {
        for past in past {
            match &past {
                Past::Ended(task) => {
                    self.made_up.0 += 1;
                    self.made_up.1.get_or_insert(task.task.updated_at);
                }
                Past::Died(_) => {}
                Past::Cleared(_) => {
                    self.cleared.push(past);
                    continue;
                }
            }
            self.bytes += past.bytes();
            self.past.push(past);
        }
        self.bytes >= BYTES && self.take_past()
    }

    /// Commits what was read from the log. Whether that was done.
    fn take_past(&mut self) -> bool {
        self.bytes = 0;
        let mut entries = Entries::default();
        // Kept, for the disk may be full: the thread then tries again.
        self.past.iter().cloned().for_each(|past| entries.push_past(past));
        let taken = self.store.take_early(&entries);
        match &taken {
            Ok(()) => self.past.clear(),
            Err(error) => {
                tracing::warn!(%error, "the index cannot be written yet");
                self.feed.push_earlier(std::mem::take(&mut self.past));
            }
        }
        taken.is_ok()
    }

    /// Commits what is left of what was read from the log, which is on disk up to a place, and tells
    /// how far back it reaches.
    pub(crate) fn make_up(&mut self, latest: Sequence) {
        let (tasks, first) = std::mem::take(&mut self.made_up);
        if let Some(first) = first {
            tracing::info!(
                tasks,
                through = self.through.0,
                since_ms = first.0,
                "the index went through that record; the tasks that ended later are made up for, \
                 as far back as the log reaches, which is to the first that ended at that time"
            );
        }
        if !self.past.is_empty() {
            self.take_past();
        }
        self.feed.push_earlier(std::mem::take(&mut self.cleared));
        if self.through == Sequence(0) && self.belongs_to.is_empty() {
            let complete = match self.beginning {
                Beginning::Unknown | Beginning::Log => Sequence(0),
                Beginning::Behind(place) => place.next(),
                // Nothing tells what else there was.
                Beginning::Cut => latest.next(),
            };
            if let Err(error) = self.store.complete_from(complete) {
                tracing::warn!(%error, "since when the history is complete is not noted");
            }
        }
    }

    /// Notes the first record that the log ever had, which tells it from others. It may have been
    /// given up long since.
    pub(crate) fn identify(&mut self, first: Vec<u8>) {
        self.log = first;
    }

    /// When the log that it belongs to was begun.
    pub(crate) fn born(&self) -> Option<WallTime> {
        let boot = Record::Boot { epoch: Epoch(1), at: WallTime(0) };
        match Record::decode(boot.tag(), &self.belongs_to) {
            Ok(Record::Boot { at, .. }) => Some(at),
            _ => None,
        }
    }

    /// Whether it belongs to the log that was read, whose last record is at a place.
    pub(crate) fn fit(&self, last: Sequence) -> Fit {
        if self.belongs_to.is_empty() {
            Fit::Fits
        } else if self.belongs_to != self.log {
            Fit::Other
        } else if self.reaches > last {
            Fit::Ahead
        } else {
            Fit::Fits
        }
    }

    /// The index without what records behind a place told of, which its log has lost.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn cut(self, last: Sequence) -> Result<Option<Self>, OpenError> {
        let Self { mut store, reader, lists, .. } = self;
        drop((reader, lists));
        let cut = store.cut(last).map_err(|error| Unopened::refused(store.path(), error));
        Self::made(cut.map(|()| store))
    }

    /// Another index that is empty, for a log that this one does not belong to. This one is put
    /// aside.
    ///
    /// # Errors
    /// If it cannot be put aside.
    pub(crate) fn reset(self) -> Result<Option<Self>, OpenError> {
        let Self { store, reader, lists, .. } = self;
        drop((reader, lists));
        Self::made(store.reset())
    }

    /// Notes that its broker was not stopped in order, so that the file is looked through.
    pub(crate) fn not_closed(&mut self) {
        self.unclean = true;
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
        retention: Retention,
        on_commit: impl Fn(Sequence) + Send + 'static,
        on_kept: impl Fn(Sequence) + Send + 'static,
        on_stopped: impl FnOnce() + Send + 'static,
    ) -> io::Result<IndexThread> {
        self.feed.retain(retention);
        let index = (self.store, self.feed, self.unclean);
        IndexThread::start(index, self.log, clock, on_commit, on_kept, on_stopped)
    }

    fn new(store: Store) -> Result<Self, Unopened> {
        let refused = |error| Unopened::refused(store.path(), error);
        let feed = Arc::<Feed>::default();
        let reader = Reader::open(&store, feed.clone()).map_err(refused)?;
        let lists = Lists::open(store.path(), feed.clone()).map_err(refused)?;
        let (reaches, belongs_to) = store.state().map_err(refused)?;
        let mut through = reaches;
        if store.is_to_be_read_again().map_err(refused)? {
            // It may tell of what was found damaged.
            through = Sequence(0);
        }
        let (reader, lists) = (Arc::new(reader), Arc::new(lists));
        Ok(Self {
            store,
            reader,
            lists,
            through,
            belongs_to,
            log: Vec::new(),
            feed,
            past: Vec::new(),
            cleared: Vec::new(),
            bytes: 0,
            made_up: (0, None),
            beginning: Beginning::Unknown,
            unclean: false,
            reaches,
        })
    }
}

/// Whether a record says what is forgotten, for everything else was said again before it.
fn is_marks(record: &Record) -> bool {
    matches!(record, Record::Carried(carried) if matches!(**carried, Carried::Marks(_)))
}
