//! The pool: the local queue, who is woken for it, and the credit that fills it.
//!
//! Lock order: the queue, then a worker's cell. No lock is held across a send.

use super::cell::{Cell, Tally};
use super::credit::Granted;
use super::handlers::Handlers;
use super::pace::Pace;
use super::worker;
use crate::core::Core;
use crate::{AgentStats, keeper};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use trunkline_types::session::{Connector, Delivery, Operation, Welcome};

/// How many deliveries a worker takes at once while handlers are fast.
const HANDFUL: usize = 16;

/// A pool of fast handlers that has not moved for this long is stuck in one of them.
const STUCK: Duration = Duration::from_millis(1);

/// Bounds of a pool.
#[derive(Clone, Copy)]
pub(crate) struct PoolOptions {
    /// Workers that stay when there is nothing to do.
    pub(crate) least: u32,
    /// Handlers that run at once.
    pub(crate) most: u32,
    /// Deliveries held ready beyond those, at most.
    pub(crate) prefetch: u32,
}

/// See the module.
pub(crate) struct Pool {
    pub(super) options: PoolOptions,
    pub(super) handlers: Handlers,
    pub(super) pace: Pace,
    connector: Arc<dyn Connector>,
    /// Guards what waits and who is idle. Taken once a batch by the sink, once a handful by
    /// workers.
    pub(super) queue: Mutex<Queue>,
    /// Idle workers wait here. A wake-up is given only to one that the queue counted as idle.
    pub(super) wake: Notify,
    /// One permit per handler that runs; fair, so that a handler whose reply has come is next.
    pub(super) permits: Semaphore,
    /// How many handlers want their permit back.
    pub(super) returning: AtomicU32,
    /// When a worker last went on, in microseconds since `origin`.
    moved: AtomicU64,
    origin: Instant,
    /// Told when a worker has become idle or has ended.
    pub(super) rest: Notify,
    credit: Granted,
    lease_millis: AtomicU64,
    /// Whether the keeper will look for what workers that are in a handler have not told.
    pub(super) glanced_at: AtomicBool,
}

pub(super) struct Queue {
    pub(super) waiting: VecDeque<Delivery>,
    pub(super) cells: Vec<Arc<Cell>>,
    /// Workers that wait to be woken and were not yet.
    pub(super) idle: u32,
    /// Workers that there are.
    pub(super) alive: u32,
    /// Permits that are lent.
    pub(super) lent: u32,
    pub(super) stopping: Stopping,
    /// Whether the keeper knows that something is held.
    pub(super) kept: bool,
    /// Whether the broker has welcomed the session.
    pub(super) connected: bool,
    pub(super) retired: Tally,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// What is held is finished.
    Drain,
    /// What is held is dropped.
    Abort,
}

/// What an idle worker is to do.
pub(super) enum Next {
    Work,
    Retire,
}

impl Pool {
    pub(crate) fn new(
        options: PoolOptions,
        handlers: Handlers,
        connector: Arc<dyn Connector>,
    ) -> Self {
        let queue = Queue {
            waiting: VecDeque::new(),
            cells: Vec::new(),
            idle: 0,
            alive: 0,
            lent: 0,
            stopping: Stopping::No,
            kept: false,
            connected: false,
            retired: Tally::default(),
        };
        Self {
            options,
            handlers,
            pace: Pace::new(),
            connector,
            queue: Mutex::new(queue),
            wake: Notify::new(),
            permits: Semaphore::new(options.most as usize),
            returning: AtomicU32::new(0),
            moved: AtomicU64::new(0),
            origin: Instant::now(),
            rest: Notify::new(),
            credit: Granted::new(options.most),
            lease_millis: AtomicU64::new(30_000),
            glanced_at: AtomicBool::new(false),
        }
    }

    pub(crate) fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    /// What the session is willing to hold before anything is known of its handlers.
    pub(crate) fn first_credit(&self) -> u32 {
        self.options.most
    }

    pub(crate) fn welcomed(&self, welcome: &Welcome) {
        let lease = u64::try_from(welcome.lease.as_millis()).unwrap_or(u64::MAX);
        self.lease_millis.store(lease.max(3), Ordering::Relaxed);
        self.credit.limit(welcome.limits.credit);
    }

    /// The session is connected: the workers that always stay begin.
    pub(crate) fn connected(&self, core: &Arc<Core>) {
        let mut queue = self.queue.lock();
        queue.connected = true;
        for _ in queue.alive..self.options.least {
            queue.spawn(core);
        }
        let wake = self.rouse(core, &mut queue, true);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    /// Takes deliveries from the sink, leaving the batch empty.
    pub(crate) fn deliver(&self, core: &Core, deliveries: &mut Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        let mut queue = self.queue.lock();
        if queue.stopping == Stopping::Abort {
            deliveries.clear();
            return;
        }
        queue.waiting.extend(deliveries.drain(..));
        let keep = !std::mem::replace(&mut queue.kept, true);
        let wake = match core.own() {
            Some(core) => self.rouse(&core, &mut queue, false),
            None => false,
        };
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
        if keep && let Some(core) = core.own() {
            keeper::keep(Arc::downgrade(&core), self.beat_period());
        }
    }

    pub(super) fn beat_period(&self) -> Duration {
        Duration::from_millis(self.lease_millis.load(Ordering::Relaxed) / 3)
    }

    /// Decides whether one more worker should come, and begins a new one if that is the way.
    /// Tells whether an idle one is to be woken, once the lock is gone. Fast handlers get a
    /// second worker only if they are stuck, because waking a thread costs more than they do.
    #[must_use]
    fn rouse(&self, core: &Arc<Core>, queue: &mut Queue, sure: bool) -> bool {
        if queue.waiting.is_empty() || !queue.connected {
            return false;
        }
        let active = queue.active();
        if active >= self.options.most
            || (active > 0 && !sure && self.pace.is_fast() && !self.is_stuck())
        {
            return false;
        }
        if queue.idle > 0 {
            queue.idle -= 1;
            return true;
        }
        queue.spawn(core);
        false
    }

    /// Has one more worker come if deliveries wait.
    pub(super) fn rouse_now(&self, core: &Arc<Core>) {
        let mut queue = self.queue.lock();
        let wake = self.rouse(core, &mut queue, true);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    fn elapsed_micros(&self) -> u64 {
        1 + u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX - 1)
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
    fn is_surplus(&self, queue: &Queue, cell: &Cell) -> bool {
        let others = queue.cells.iter().filter(|other| !std::ptr::eq(Arc::as_ptr(other), cell));
        queue.active() > 1
            && self.pace.is_tiny()
            && others.map(|it| it.moved.load(Ordering::Relaxed)).any(|at| self.is_recent(at))
    }

    /// Moves deliveries into a worker's hands. Tells whether there were any.
    pub(super) fn refill(&self, core: &Arc<Core>, cell: &Cell) -> bool {
        let mut queue = self.queue.lock();
        if queue.waiting.is_empty()
            || queue.stopping == Stopping::Abort
            || self.is_surplus(&queue, cell)
        {
            return false;
        }
        let fast = self.pace.is_fast();
        let count = if fast { HANDFUL.min(queue.waiting.len()) } else { 1 };
        cell.hands.lock().taken.extend(queue.waiting.drain(..count));
        let wake = !fast && self.rouse(core, &mut queue, true);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
        true
    }

    /// Puts back what a worker has taken and cannot begin soon.
    pub(super) fn put_back(&self, core: &Arc<Core>, cell: &Cell) {
        let mut queue = self.queue.lock();
        {
            let mut hands = cell.hands.lock();
            while let Some(delivery) = hands.taken.pop_back() {
                queue.waiting.push_front(delivery);
            }
        }
        let wake = self.rouse(core, &mut queue, true);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
    }

    /// A worker without work waits for some, or retires if there are more than enough.
    pub(super) async fn idle(&self, cell: &Arc<Cell>) -> Next {
        const PATIENCE: Duration = Duration::from_secs(5);
        let extra = {
            let mut queue = self.queue.lock();
            if !queue.waiting.is_empty()
                && queue.stopping != Stopping::Abort
                && !self.is_surplus(&queue, cell)
            {
                return Next::Work;
            }
            // A resting worker must not be taken for one that is at it.
            cell.moved.store(0, Ordering::Relaxed);
            if queue.stopping != Stopping::No {
                return self.retire(&mut queue, cell);
            }
            queue.idle += 1;
            queue.alive > self.options.least
        };
        self.rest.notify_waiters();
        if !extra {
            self.wake.notified().await;
            return Next::Work;
        }
        if tokio::time::timeout(PATIENCE, self.wake.notified()).await.is_ok() {
            return Next::Work;
        }
        if self.retire_idle(cell) {
            return Next::Retire;
        }
        // Every idle worker was counted as woken, so a wake-up is on its way to this one.
        self.wake.notified().await;
        Next::Work
    }

    /// Ends an idle worker, unless it was counted as woken meanwhile.
    fn retire_idle(&self, cell: &Arc<Cell>) -> bool {
        let mut queue = self.queue.lock();
        let still_idle = queue.idle > 0;
        if still_idle {
            queue.idle -= 1;
            self.retire(&mut queue, cell);
        }
        still_idle
    }

    fn retire(&self, queue: &mut Queue, cell: &Arc<Cell>) -> Next {
        queue.alive -= 1;
        queue.cells.retain(|other| !Arc::ptr_eq(other, cell));
        let tally = cell.hands.lock().tally;
        queue.retired.add(&tally);
        self.rest.notify_waiters();
        Next::Retire
    }

    /// Tells what a worker has settled, with what else it has to say.
    pub(super) fn flush(&self, core: &Arc<Core>, cell: &Cell, more: Option<Operation>) {
        let settled = std::mem::take(&mut cell.hands.lock().outbox);
        if !settled.is_empty() || more.is_some() {
            core.tell_settled(settled, more);
        }
        self.mark_moved(cell);
        self.adjust_credit(core);
    }

    pub(super) fn adjust_credit(&self, core: &Core) {
        let lent = self.queue.lock().lent;
        let ready = self.pace.prefetch(self.options.most, self.options.prefetch);
        self.credit.grant(core, self.options.most + ready + lent);
    }

    /// Whether nothing waits and nobody works.
    pub(crate) fn is_idle(&self) -> bool {
        let queue = self.queue.lock();
        queue.stopping == Stopping::Abort || (queue.waiting.is_empty() && queue.alive == queue.idle)
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

    pub(crate) fn stats(&self) -> AgentStats {
        let queue = self.queue.lock();
        let mut tally = queue.retired;
        let mut queued = queue.waiting.len();
        for cell in &queue.cells {
            let hands = cell.hands.lock();
            tally.add(&hands.tally);
            queued += hands.taken.len();
        }
        AgentStats {
            queued: queued as u64,
            workers: queue.alive,
            idle: queue.idle,
            lent: queue.lent,
            credit: self.credit.current(),
            handler_time: self.pace.mean(),
            ..tally.into_stats()
        }
    }
}

impl Queue {
    /// Workers that are neither idle nor awaiting a reply.
    fn active(&self) -> u32 {
        (self.alive - self.idle).saturating_sub(self.lent)
    }

    /// Begins one more worker.
    fn spawn(&mut self, core: &Arc<Core>) {
        self.alive += 1;
        let cell = Arc::new(Cell::default());
        self.cells.push(Arc::clone(&cell));
        core.runtime.spawn(worker::work(Arc::clone(core), cell));
    }
}
