//! The log thread: it writes and flushes what others submit.
//!
//! [`Committer`] is the handle; [`worker`] is the thread. While the disk works the next batch
//! gathers, so that a loaded log batches by itself and an idle one flushes at once. There is no
//! timer to fill a batch, and nothing wakes up while there is nothing to do.

mod worker;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use parking_lot::{Condvar, Mutex};

use self::worker::Worker;
use crate::{Batch, Log, LogFigures, SegmentInfo, Space, error::CloseError, log::UpkeepDone};

/// One thread that owns a [`Log`] and commits what is submitted, in order.
pub struct Committer {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<Result<(), CloseError>>>,
}

/// How soon a batch must survive a crash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    /// As soon as the disk is free.
    Synced,
    /// Written at once, flushed within [`LogConfig::flush_within`](crate::LogConfig::flush_within)
    /// or with the next synced batch.
    Buffered,
}

/// How many records had been submitted when a batch had been: all up to here precede it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Position(pub u64);

/// What the committer has come to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Something was written or flushed, or the space changed.
    Advanced {
        /// Every record up to here is with the operating system: it survives the process.
        written: Position,
        /// Every record up to here is on disk: it survives the machine.
        synced: Position,
        /// How much room there is.
        space: Space,
    },
    /// The log is poisoned. What is not synced yet may or may not survive, nothing further will be
    /// written, and no other report follows.
    Failed {
        /// Why.
        reason: Arc<str>,
    },
}

impl Committer {
    /// Starts the thread. `on_progress` is called on it, holding no lock, and should be short.
    /// `at_rest` is called on it, holding no lock, when it has had nothing to do for a second: what
    /// the thread keeps for the next work may be given back then.
    ///
    /// Flushes of synced batches are reported once they are done; that something was written is
    /// reported apart only if the batch held buffered records.
    ///
    /// # Errors
    /// If the operating system refuses another thread.
    pub fn start(
        log: Log,
        on_progress: Box<dyn Fn(Progress) + Send>,
        at_rest: fn(),
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(log.config().batch(), log.written())),
            table: Mutex::new(Table::default()),
            changed: Condvar::new(),
            pending_bytes: AtomicUsize::new(0),
            congested_from: log.config().pending_bytes,
        });
        let worker = Worker::new(log, Arc::clone(&shared), on_progress, at_rest);
        worker.show_table();
        let thread =
            thread::Builder::new().name("trunkline-log".into()).spawn(move || worker.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Takes all records of `batch`, which is empty and reusable afterwards, and returns the
    /// position after them. Short: one mutex, and a swap of buffers or a copy. An empty synced
    /// batch flushes what was submitted before.
    ///
    /// After a failure records are discarded, and their positions are never reached.
    ///
    /// # Panics
    /// If the batch allows longer bodies than the log.
    pub fn submit(&self, batch: &mut Batch, urgency: Urgency) -> Position {
        let mut state = self.shared.state.lock();
        assert!(
            batch.max_body_bytes() <= state.pending.max_body_bytes(),
            "a batch must keep its log's limit on bodies"
        );
        state.submitted += batch.records();
        let position = Position(state.submitted);
        if state.failed || (batch.is_empty() && urgency == Urgency::Buffered) {
            batch.clear();
            return position;
        }
        self.shared.pending_bytes.fetch_add(batch.bytes(), Ordering::Relaxed);
        state.pending.take(batch);
        match urgency {
            Urgency::Synced => state.wants.sync = true,
            Urgency::Buffered => state.wants.report = true,
        }
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.shared.changed.notify_one();
        }
        position
    }

    /// Gives up all segments below `segment`; see [`Log::remove_before`]. It happens on the log
    /// thread, after what was submitted before.
    pub fn remove_before(&self, segment: u64) {
        let mut state = self.shared.state.lock();
        state.remove_before = state.remove_before.max(segment);
        let wake = std::mem::take(&mut state.idle);
        drop(state);
        if wake {
            self.shared.changed.notify_one();
        }
    }

    /// The segments that are needed, in order, as of the latest report of progress or later; the
    /// last one is being written to.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared.table.lock().segments.clone()
    }

    /// The log's figures as of the latest report of progress or later.
    pub fn figures(&self) -> LogFigures {
        self.shared.table.lock().figures
    }

    /// Bytes that were submitted and are not written yet.
    pub fn pending_bytes(&self) -> usize {
        self.shared.pending_bytes.load(Ordering::Relaxed)
    }

    /// Whether that is [`LogConfig::pending_bytes`](crate::LogConfig::pending_bytes) or more.
    /// Whoever submits must ask this before taking on new work: `submit` itself never refuses,
    /// because what it is given has been decided already.
    pub fn is_congested(&self) -> bool {
        self.pending_bytes() >= self.shared.congested_from
    }

    /// Flushes everything, marks the log as closed and ends the thread.
    ///
    /// # Errors
    /// [`CloseError`] if something submitted is not on disk.
    ///
    /// # Panics
    /// If `on_progress` panicked on the thread.
    pub fn close(mut self) -> Result<(), CloseError> {
        match self.stop() {
            None => Ok(()),
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }

    fn stop(&mut self) -> Option<thread::Result<Result<(), CloseError>>> {
        let thread = self.thread.take()?;
        self.shared.state.lock().closing = true;
        self.shared.changed.notify_one();
        Some(thread.join())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Whoever wants to know how it ended calls `close`.
        let _ = self.stop();
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Committer")
            .field("pending_bytes", &self.pending_bytes())
            .finish_non_exhaustive()
    }
}

struct Shared {
    /// What submitters and the thread hand each other. A mutex, held for a swap or a copy: both
    /// sides are in it for well under a microsecond, and order must be that of submission.
    state: Mutex<State>,
    /// What the thread shows of the log to those who ask. A mutex of its own, so that a copy of the
    /// table is not in the way of submitters.
    table: Mutex<Table>,
    /// Told when the thread has something to do and is not at it already.
    changed: Condvar,
    /// Bytes submitted and not written. Atomic, so that asking costs submitters nothing.
    pending_bytes: AtomicUsize,
    congested_from: usize,
}

/// A copy of the log's table and figures.
#[derive(Debug, Default)]
struct Table {
    segments: Vec<SegmentInfo>,
    /// The version of the table that was copied last.
    seen: u64,
    figures: LogFigures,
}

struct State {
    pending: Batch,
    /// Records submitted ever.
    submitted: u64,
    wants: Wants,
    /// Segments below this are to be given up; 0 for none.
    remove_before: u64,
    upkeep_done: Option<UpkeepDone>,
    closing: bool,
    /// The log is poisoned: nothing is taken any more.
    failed: bool,
    /// The thread sleeps and wants to be woken by work.
    idle: bool,
}

/// What a gathered batch is waited for.
#[derive(Clone, Copy, Debug, Default)]
struct Wants {
    /// It holds synced records: flush it as soon as it is written.
    sync: bool,
    /// It holds buffered records: report that it is written.
    report: bool,
}

impl State {
    /// Counts go on from what was written to the log before it had a thread.
    fn new(pending: Batch, submitted: u64) -> Self {
        Self {
            pending,
            submitted,
            wants: Wants::default(),
            remove_before: 0,
            upkeep_done: None,
            closing: false,
            failed: false,
            idle: false,
        }
    }
}
