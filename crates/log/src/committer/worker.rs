//! The thread behind the committer: take what gathered, write, flush, report, sleep.
//!
//! It owns the log. It never waits for a file being filled with zeros unless there is no room left
//! without it: that work runs on a thread of its own that lives only as long.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;

use super::{Position, Progress, Shared, State, Table, Wants};
use crate::{
    Batch, Log, Space,
    error::{CloseError, WriteError},
    log::{Upkeep, UpkeepDone},
};

/// After this long without work the thread is at rest.
const REST: Duration = Duration::from_secs(1);
/// A buffer that grew beyond this in a burst is given back.
const KEEP_BUFFER: usize = 4 << 20;

pub(super) struct Worker {
    log: Log,
    shared: Arc<Shared>,
    on_progress: Box<dyn Fn(Progress) + Send>,
    at_rest: fn(),
    /// What is being written. Not empty between turns only while the log is full.
    batch: Batch,
    wants: Wants,
    /// When written, unflushed records must be flushed.
    flush_by: Option<Instant>,
    /// When to try again to make room.
    retry_at: Option<Instant>,
    remove_before: u64,
    helper: Option<thread::JoinHandle<()>>,
    reported: Option<(u64, u64, Space)>,
    closing: bool,
    /// Everything that was submitted has been taken.
    drained: bool,
}

impl Worker {
    pub(super) fn new(
        log: Log,
        shared: Arc<Shared>,
        on_progress: Box<dyn Fn(Progress) + Send>,
        at_rest: fn(),
    ) -> Self {
        let batch = log.config().batch();
        Self {
            log,
            shared,
            on_progress,
            at_rest,
            batch,
            wants: Wants::default(),
            flush_by: None,
            retry_at: None,
            remove_before: 0,
            helper: None,
            reported: None,
            closing: false,
            drained: false,
        }
    }

    pub(super) fn run(mut self) -> Result<(), CloseError> {
        let mut result = Ok(());
        while result.is_ok() && !(self.closing && self.drained) {
            result = self.turn();
        }
        if let Err(WriteError::Poisoned(reason)) = &result {
            // First, so that nothing is taken any more when the failure is told.
            self.discard();
            (self.on_progress)(Progress::Failed { reason: Arc::clone(reason) });
            self.wait_until_closed();
        }
        self.finish(result)
    }

    /// Waits for something to do and does it. An error ends the thread's work; full is one only
    /// when closing.
    fn turn(&mut self) -> Result<(), WriteError> {
        let upkeep_done = self.wait();
        if let Some(done) = upkeep_done {
            self.take_back(done);
        }
        self.write()?;
        self.flush()?;
        // Before the rest, as somebody waits for it.
        self.report();
        self.remove()?;
        self.make_room();
        self.report();
        Ok(())
    }

    /// Sleeps until there is something to do, and takes it.
    fn wait(&mut self) -> Option<UpkeepDone> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        let mut rest_at = Some(Instant::now() + REST);
        // The first turn makes a spare segment before anything asks for it.
        while self.reported.is_some() && !self.has_work(&state) {
            if rest_at.take_if(|at| *at <= Instant::now()).is_some() {
                MutexGuard::unlocked(&mut state, self.at_rest);
                continue;
            }
            let due = self.flush_by.into_iter().chain(self.retry_at).min();
            let deadline = due.into_iter().chain(rest_at).min();
            // While the log is full, more submissions are nothing to wake up for.
            state.idle = self.batch.is_empty();
            match deadline {
                None => shared.changed.wait(&mut state),
                Some(deadline) => {
                    let late = shared.changed.wait_until(&mut state, deadline).timed_out();
                    if late && due.is_some_and(|due| due <= deadline) {
                        break;
                    }
                }
            }
        }
        state.idle = false;
        if self.batch.is_empty() {
            self.batch.take(&mut state.pending);
            self.wants = std::mem::take(&mut state.wants);
        }
        self.drained = state.pending.is_empty();
        // Carried out after the batch, which holds everything that was submitted before it.
        self.remove_before = self.remove_before.max(std::mem::take(&mut state.remove_before));
        self.closing = state.closing;
        state.upkeep_done.take()
    }

    fn has_work(&self, state: &State) -> bool {
        let blocked = !self.batch.is_empty();
        let wanted = !state.pending.is_empty() || state.wants.sync || state.remove_before > 0;
        let submitted = !blocked && wanted;
        submitted || state.closing || state.upkeep_done.is_some()
    }

    fn write(&mut self) -> Result<(), WriteError> {
        if self.batch.is_empty() {
            if self.wants.sync && self.flush_by.is_some() {
                self.flush_by = Some(Instant::now());
            }
            return Ok(());
        }
        let bytes = self.batch.bytes();
        loop {
            match self.log.write(&mut self.batch) {
                Ok(()) => break,
                Err(WriteError::Full { .. }) if self.log.upkeep_is_running() => {
                    // The only wait for a file: there is no room at all without it.
                    let done = self.wait_for_upkeep();
                    self.take_back(done);
                }
                Err(error @ WriteError::Full { .. }) => {
                    return if self.closing { Err(error) } else { Ok(()) };
                }
                Err(error @ WriteError::Poisoned(_)) => return Err(error),
            }
        }
        self.shared.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.batch.shrink(KEEP_BUFFER);
        if self.wants.sync {
            self.flush_by = Some(Instant::now());
        } else {
            let latest = Instant::now().checked_add(self.log.config().flush_within);
            self.flush_by = self.flush_by.or(latest);
        }
        if self.wants.report {
            self.report();
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let due = self.flush_by.is_some_and(|by| by <= Instant::now());
        if due || self.closing {
            self.log.sync()?;
            self.flush_by = None;
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<(), WriteError> {
        if self.remove_before == 0 || !self.batch.is_empty() {
            return Ok(());
        }
        match self.log.remove_before(self.remove_before) {
            Ok(()) => {
                self.remove_before = 0;
                self.show_table();
            }
            // Tried again when there is room.
            Err(WriteError::Full { .. }) => {}
            Err(error @ WriteError::Poisoned(_)) => return Err(error),
        }
        Ok(())
    }

    /// Starts making a spare segment if there is none, at once or when it is time to try again.
    fn make_room(&mut self) {
        if self.log.upkeep_is_running() || self.closing {
            return;
        }
        let now = Instant::now();
        let retry = self.retry_at.is_some_and(|at| at <= now);
        if (retry || self.log.wants_upkeep())
            && let Some(upkeep) = self.log.begin_upkeep()
        {
            self.retry_at = None;
            self.start_helper(upkeep);
        } else if self.log.upkeep_is_put_off() {
            let again = now.checked_add(self.log.config().retry_space_after);
            self.retry_at = self.retry_at.or(again);
        } else {
            self.retry_at = None;
        }
    }

    fn start_helper(&mut self, upkeep: Upkeep) {
        self.join_helper();
        let shared = Arc::clone(&self.shared);
        // Shared, so that the work is not lost with the closure if no thread can be had.
        let slot = Arc::new(parking_lot::Mutex::new(Some(upkeep)));
        let job = Arc::clone(&slot);
        let spawned = thread::Builder::new().name("trunkline-files".into()).spawn(move || {
            let upkeep = job.lock().take();
            if let Some(upkeep) = upkeep {
                let done = upkeep.run();
                shared.state.lock().upkeep_done = Some(done);
                shared.changed.notify_one();
            }
        });
        if let Ok(helper) = spawned {
            self.helper = Some(helper);
            return;
        }
        let upkeep = slot.lock().take();
        if let Some(upkeep) = upkeep {
            self.take_back(upkeep.run());
        }
    }

    fn wait_for_upkeep(&mut self) -> UpkeepDone {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        loop {
            match state.upkeep_done.take() {
                Some(done) => return done,
                None => shared.changed.wait(&mut state),
            }
        }
    }

    fn take_back(&mut self, done: UpkeepDone) {
        // A failure shows as space running out, and is tried again in a while.
        let _ = self.log.finish_upkeep(done);
        self.show_table();
        self.join_helper();
    }

    fn join_helper(&mut self) {
        if let Some(helper) = self.helper.take() {
            // It only hands its result over; there is nothing to learn from how it ended.
            let _ = helper.join();
        }
    }

    fn report(&mut self) {
        let now = (self.log.written(), self.log.synced(), self.log.space());
        if self.reported.replace(now) != Some(now) {
            self.show_table();
            let (written, synced, space) = now;
            (self.on_progress)(Progress::Advanced {
                written: Position(written),
                synced: Position(synced),
                space,
            });
        }
    }

    /// Copies what others may see of the log; cheap unless a segment came or went.
    pub(super) fn show_table(&self) {
        let mut table = self.shared.table.lock();
        let Table { segments, seen, figures } = &mut *table;
        self.log.table().copy_to(segments, seen);
        *figures = self.log.figures();
    }

    fn discard(&mut self) {
        let mut state = self.shared.state.lock();
        state.failed = true;
        state.pending.clear();
        self.shared.pending_bytes.store(0, Ordering::Relaxed);
    }

    fn wait_until_closed(&self) {
        let mut state = self.shared.state.lock();
        while !state.closing {
            self.shared.changed.wait(&mut state);
        }
    }

    fn finish(mut self, result: Result<(), WriteError>) -> Result<(), CloseError> {
        if self.log.upkeep_is_running() && result.is_ok() {
            let done = self.wait_for_upkeep();
            self.take_back(done);
        }
        self.join_helper();
        let submitted = self.shared.state.lock().submitted;
        // Of a full log, what was written can still be flushed.
        let flushed = self.log.sync();
        let unsynced = submitted - self.log.synced();
        let closed = self.log.close();
        result.and(flushed).and(closed).map_err(|reason| CloseError { unsynced, reason })
    }
}
