//! When one more worker comes. The formula is in [`super::scale`].

use super::cell::Cell;
use super::queue::{Pool, Queue};
use super::restart;
use super::scale::Load;
use crate::core::Core;
use crate::keeper;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A pool of fast handlers that has not moved for this long is stuck in one of them.
const STUCK: Duration = Duration::from_millis(1);

impl Pool {
    /// Decides whether one more worker should come, and begins a new one if that is the way.
    /// Tells whether an idle one is to be woken, once the lock is gone. Fast handlers get a
    /// second worker only if they are stuck, because waking a thread costs more than they do.
    #[must_use]
    pub(super) fn rouse(&self, core: &Arc<Core>, queue: &mut Queue, sure: bool) -> bool {
        if !queue.connected {
            return false;
        }
        wait_for_lingering(core, queue);
        let active = queue.active();
        if active >= self.options.most || !queue.has_work() {
            return false;
        }
        let more = if self.pace.is_fast() {
            // Whoever awaits a handler takes nothing.
            let awaiting = self.awaiting.load(Ordering::Relaxed);
            queue.alive - queue.idle <= awaiting || sure || self.is_stuck()
        } else {
            // Those that always stay are wanted without a look at what each is doing.
            let more = active < self.options.least.max(1) || active < self.wanted(queue);
            if !more {
                // Should a handler take longer than was to be expected, others take over.
                self.ask_for_review(core);
            }
            more
        };
        if !more {
            return false;
        }
        if queue.idle > 0 {
            queue.idle -= 1;
            return true;
        }
        self.spawn(core, queue);
        false
    }

    /// How many workers the work wants, as the formula says.
    fn wanted(&self, queue: &mut Queue) -> u32 {
        let target = self.options.drain_within;
        let now = Instant::now();
        let micros = self.micros(now);
        let long = u64::try_from(target.as_micros()).unwrap_or(u64::MAX);
        let is_long = |since: u64| since > 0 && micros.saturating_sub(since) >= long;
        let occupied = queue.cells.iter().filter(|cell| {
            is_long(cell.awaits_since.load(Ordering::Relaxed))
                || is_long(cell.moved.load(Ordering::Relaxed))
        });
        let load = Load {
            occupied: u32::try_from(occupied.count()).unwrap_or(u32::MAX),
            rate: queue.arrivals.rate(now),
            service: self.pace.mean(),
            backlog: queue.lanes.ready(queue.is_eager()).deliveries,
        };
        load.workers(target).max(self.options.least).max(1)
    }

    /// Has the keeper look again whether more workers are wanted. Asked for once until it does.
    fn ask_for_review(&self, core: &Arc<Core>) {
        if !self.reviewed.swap(true, Ordering::AcqRel) {
            keeper::review(Arc::downgrade(core), self.options.drain_within);
        }
    }

    /// Looks again whether more workers are wanted.
    pub(crate) fn review(&self, core: &Arc<Core>) {
        self.reviewed.store(false, Ordering::Release);
        self.rouse_now(core);
    }

    /// Has one more worker come if deliveries wait.
    pub(super) fn rouse_now(&self, core: &Arc<Core>) {
        let mut queue = self.queue.lock();
        let wake = self.rouse(core, &mut queue, true);
        drop(queue);
        self.wake_if(wake);
    }

    /// Wakes an idle worker that was counted as woken: the one that rested last, so that those
    /// who are not needed rest on.
    pub(super) fn wake_if(&self, wake: bool) {
        if wake {
            self.wake.notify_last();
        }
    }

    /// Begins one more worker.
    pub(super) fn spawn(&self, core: &Arc<Core>, queue: &mut Queue) {
        queue.alive += 1;
        queue.spawned = queue.spawned.wrapping_add(1);
        let cell = Arc::new(Cell::new(queue.spawned, self.elapsed_micros()));
        queue.cells.push(Arc::clone(&cell));
        let worker = restart::supervise(Arc::clone(core), cell);
        match &self.executor {
            Some(executor) => executor(Box::pin(worker)),
            None => drop(core.runtime.spawn(worker)),
        }
    }

    /// A time in microseconds since the pool began, from 1.
    pub(super) fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.origin);
        1 + u64::try_from(since.as_micros()).unwrap_or(u64::MAX - 1)
    }

    pub(super) fn elapsed_micros(&self) -> u64 {
        self.micros(Instant::now())
    }

    pub(super) fn mark_moved(&self, cell: &Cell) {
        let now = self.elapsed_micros();
        self.moved.store(now, Ordering::Relaxed);
        cell.moved.store(now, Ordering::Relaxed);
    }

    fn is_stuck(&self) -> bool {
        !self.is_recent(self.moved.load(Ordering::Relaxed))
    }

    fn is_recent(&self, moved: u64) -> bool {
        let still = self.elapsed_micros().saturating_sub(moved);
        u128::from(still) <= STUCK.as_micros()
    }

    /// Whether a worker had better rest, because another one is at it and the work is too small
    /// to share.
    pub(super) fn is_surplus(&self, queue: &Queue, cell: &Cell) -> bool {
        let others = queue.cells.iter().filter(|other| !std::ptr::eq(Arc::as_ptr(other), cell));
        queue.active() > 1
            && self.pace.is_tiny()
            && others.map(|it| it.moved.load(Ordering::Relaxed)).any(|at| self.is_recent(at))
    }
}

/// Sees to it that a batch which is held back for more to come begins in time.
pub(super) fn wait_for_lingering(core: &Arc<Core>, queue: &mut Queue) {
    if queue.lingers || queue.is_eager() {
        return;
    }
    let Some(due) = queue.lanes.due() else { return };
    queue.lingers = true;
    let core = Arc::clone(core);
    let runtime = core.runtime.clone();
    runtime.spawn(async move {
        let Some(pool) = &core.pool else { return };
        // A pool that stops begins what it has as it is.
        let _ = tokio::time::timeout_at(due, pool.stopping()).await;
        pool.queue.lock().lingers = false;
        pool.rouse_now(&core);
    });
}
