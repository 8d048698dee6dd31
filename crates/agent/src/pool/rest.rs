//! Workers that have nothing to do, and how the pool shrinks.

use super::cell::Cell;
use super::grow::wait_for_lingering;
use super::queue::{Pool, Queue, Stopping};
use crate::core::Core;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a worker that is more than the least rests before it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an idle worker is to do.
pub(super) enum Next {
    Work,
    Retire,
}

impl Pool {
    /// A worker without work waits for some, or retires if there are more than enough. Who rested
    /// last is woken first, so that those who are not needed get to the end of their patience.
    pub(super) async fn idle(&self, core: &Arc<Core>, cell: &Arc<Cell>) -> Next {
        let mut wake = pin!(self.wake.notified());
        let extra = {
            let mut queue = self.queue.lock();
            if queue.has_work() && !self.is_surplus(&queue, cell) {
                return Next::Work;
            }
            wait_for_lingering(core, &mut queue);
            cell.end();
            // A resting worker must not be taken for one that is at it.
            cell.moved.store(0, Ordering::Relaxed);
            if queue.stopping != Stopping::No {
                return self.retire(&mut queue, cell);
            }
            // In line before it counts as idle, so that no wake-up that counts on it is lost.
            wake.as_mut().enable();
            queue.idle += 1;
            queue.alive > self.options.least
        };
        self.rest.notify_waiters();
        if !extra {
            wake.await;
            return Next::Work;
        }
        if tokio::time::timeout(PATIENCE, wake.as_mut()).await.is_ok() {
            return Next::Work;
        }
        if self.retire_idle(cell) {
            return Next::Retire;
        }
        // It stays, or every idle worker was counted as woken and a wake-up is on its way to it.
        wake.await;
        Next::Work
    }

    /// Ends an idle worker, unless it was counted as woken meanwhile, or so many others that rested
    /// as long have ended that it is one of the least.
    fn retire_idle(&self, cell: &Arc<Cell>) -> bool {
        let mut queue = self.queue.lock();
        let retires = queue.idle > 0 && queue.alive > self.options.least;
        if retires {
            queue.idle -= 1;
            self.retire(&mut queue, cell);
        }
        retires
    }

    fn retire(&self, queue: &mut Queue, cell: &Arc<Cell>) -> Next {
        queue.alive -= 1;
        queue.cells.retain(|other| !Arc::ptr_eq(other, cell));
        let tally = cell.hands.lock().tally;
        queue.retired.add(&tally);
        queue.retired_restarts += u64::from(cell.restarts.load(Ordering::Relaxed));
        self.rest.notify_waiters();
        Next::Retire
    }

    /// Whether nothing waits and nobody works.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.stopping == Stopping::Abort || (queue.lanes.is_empty() && queue.alive == queue.idle)
    }

    pub(crate) async fn wait_idle(&self) {
        loop {
            let rest = self.rest.notified();
            if self.is_idle() {
                return;
            }
            rest.await;
        }
    }

    /// Waits until the pool is to stop.
    pub(super) async fn stopping(&self) {
        loop {
            let rest = self.rest.notified();
            if self.queue.lock().stopping != Stopping::No {
                return;
            }
            rest.await;
        }
    }
}
