//! The pool: what waits locally, who takes it, and the credit that fills it.
//!
//! The credit is what all workers hold at once, and besides a stock that is ready when one of
//! them is done: `prefetch` at most, and no more than they handle within the `headroom`, which
//! is their rate times that time. So fast handlers never wait for the broker, and slow ones hold
//! nothing that another agent could begin.
//!
//! Lock order: the queue, then a worker's cell. No lock is held across a send.

use super::cell::{Cell, Tally};
use super::credit::Granted;
use super::executor::Executor;
use super::grow::wait_for_lingering;
use super::handlers::Handlers;
use super::holding::release;
use super::lanes::{Lanes, PLAIN, Plan, capacity};
use super::pace::Pace;
use super::scale::Arrivals;
use crate::core::Core;
use crate::keeper;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use trunkline_types::session::{Connector, Delivery, Operation, Welcome};

/// How many deliveries a worker takes at once while handlers are fast.
const HANDFUL: usize = 16;

/// Most deliveries that a pool asks for at once.
const MOST_CREDIT: u32 = 4096;

/// Bounds of a pool.
#[derive(Clone, Copy)]
pub(crate) struct PoolOptions {
    /// Workers that stay when there is nothing to do.
    pub(crate) least: u32,
    /// Handlers that run at once.
    pub(crate) most: u32,
    /// Deliveries held ready beyond those, at most.
    pub(crate) prefetch: u32,
    /// How much work is held ready, in time.
    pub(crate) headroom: Duration,
    /// Within what time what waits is to be begun.
    pub(crate) drain_within: Duration,
    /// How long handlers of batches that don't say otherwise wait for fuller ones.
    pub(crate) linger: Duration,
}

/// See the module.
pub(crate) struct Pool {
    pub(super) options: PoolOptions,
    pub(super) handlers: Handlers,
    /// Which lanes are of batches.
    batches: Vec<bool>,
    /// How many deliveries the workers have at once at most.
    capacity: u32,
    /// How many workers can be at work at once.
    places: u32,
    pub(super) pace: Pace,
    connector: Arc<dyn Connector>,
    /// Runs the workers; without it the session's runtime does.
    pub(super) executor: Option<Executor>,
    /// Guards what waits and who is idle. Taken once a batch by the sink, once a handful by
    /// workers.
    pub(super) queue: Mutex<Queue>,
    /// Idle workers wait here. A wake-up is given only to one that the queue counted as idle.
    pub(super) wake: Notify,
    /// One permit per handler that runs; fair, so that a handler whose reply has come is next.
    pub(super) permits: Semaphore,
    /// How many workers await their handlers.
    pub(super) awaiting: AtomicU32,
    /// How many handlers want their permit back.
    pub(super) returning: AtomicU32,
    /// When a worker last went on, in microseconds since `origin`.
    pub(super) moved: AtomicU64,
    pub(super) origin: Instant,
    /// Told when a worker has become idle or has ended.
    pub(super) rest: Notify,
    pub(super) credit: Granted,
    lease_millis: AtomicU64,
    /// Whether the keeper will look for what workers that are in a handler have not told.
    pub(super) glanced_at: AtomicBool,
    /// Whether the keeper will look again whether more workers are wanted.
    pub(super) reviewed: AtomicBool,
    /// Whether the agent's check says that it is fit for work.
    pub(super) healthy: AtomicBool,
}

pub(super) struct Queue {
    pub(super) lanes: Lanes,
    pub(super) arrivals: Arrivals,
    pub(super) cells: Vec<Arc<Cell>>,
    /// Workers that wait to be woken and were not yet.
    pub(super) idle: u32,
    /// Workers that there are.
    pub(super) alive: u32,
    /// Workers that there ever were.
    pub(super) spawned: u32,
    /// Permits that are lent.
    pub(super) lent: u32,
    pub(super) stopping: Stopping,
    /// Whether the keeper knows that something is held.
    pub(super) kept: bool,
    /// Whether the broker has welcomed the session.
    pub(super) connected: bool,
    /// Whether somebody waits for the time of a batch that lingers.
    pub(super) lingers: bool,
    pub(super) retired: Tally,
    pub(super) retired_restarts: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    No,
    /// What is held is finished.
    Drain,
    /// What is held is dropped.
    Abort,
}

impl Pool {
    pub(crate) fn new(
        options: PoolOptions,
        mut handlers: Handlers,
        connector: Arc<dyn Connector>,
        executor: Option<Executor>,
    ) -> Self {
        let plans = handlers.plan(options.linger);
        let used = if handlers.has_plain() { &plans[..] } else { &plans[1..] };
        let one_each: Vec<_> = used.iter().map(|plan| Plan { batch: 1, ..*plan }).collect();
        let capacity_of = |plans| capacity(plans, options.most).clamp(1, MOST_CREDIT);
        let (capacity, places) = (capacity_of(used), capacity_of(&one_each));
        let queue = Queue {
            lanes: Lanes::new(&plans),
            arrivals: Arrivals::new(),
            cells: Vec::new(),
            idle: 0,
            alive: 0,
            spawned: 0,
            lent: 0,
            stopping: Stopping::No,
            kept: false,
            connected: false,
            lingers: false,
            retired: Tally::default(),
            retired_restarts: 0,
        };
        Self {
            options,
            handlers,
            batches: plans.iter().map(|plan| plan.batch > 1).collect(),
            capacity,
            places,
            pace: Pace::new(),
            connector,
            executor,
            queue: Mutex::new(queue),
            wake: Notify::new(),
            permits: Semaphore::new(options.most as usize),
            awaiting: AtomicU32::new(0),
            returning: AtomicU32::new(0),
            moved: AtomicU64::new(0),
            origin: Instant::now(),
            rest: Notify::new(),
            credit: Granted::new(capacity),
            lease_millis: AtomicU64::new(30_000),
            glanced_at: AtomicBool::new(false),
            reviewed: AtomicBool::new(false),
            healthy: AtomicBool::new(true),
        }
    }

    pub(crate) fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    /// What the session is willing to hold before anything is known of its handlers.
    pub(crate) fn first_credit(&self) -> u32 {
        self.capacity
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
            self.spawn(core, &mut queue);
        }
        let wake = self.rouse(core, &mut queue, true);
        drop(queue);
        self.wake_if(wake);
    }

    /// Takes deliveries from the sink, leaving the batch empty.
    pub(crate) fn deliver(&self, core: &Core, deliveries: &mut Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        if !self.is_healthy() {
            // On its way when the credit was taken back.
            core.decline_later(deliveries.drain(..).map(|it| release(it.token)).collect());
            return;
        }
        let mut queue = self.queue.lock();
        if queue.stopping == Stopping::Abort {
            deliveries.clear();
            return;
        }
        queue.arrivals.count(deliveries.len());
        if queue.lanes.is_plain() {
            queue.lanes.extend_plain(deliveries.drain(..));
        } else {
            for delivery in deliveries.drain(..) {
                let lane = self.handlers.lane(&delivery);
                queue.lanes.push(lane, delivery);
            }
        }
        let keep = !std::mem::replace(&mut queue.kept, true);
        let wake = match core.own() {
            Some(core) => self.rouse(&core, &mut queue, false),
            None => false,
        };
        drop(queue);
        self.wake_if(wake);
        if keep && let Some(core) = core.own() {
            keeper::keep(Arc::downgrade(&core), self.beat_period());
        }
    }

    pub(super) fn beat_period(&self) -> Duration {
        Duration::from_millis(self.lease_millis.load(Ordering::Relaxed) / 3)
    }

    /// Moves deliveries into a worker's hands. Tells whether there were any.
    pub(super) fn refill(&self, core: &Arc<Core>, cell: &Cell) -> bool {
        let mut queue = self.queue.lock();
        if !queue.has_work() || self.is_surplus(&queue, cell) {
            return false;
        }
        let fast = self.pace.is_fast();
        let handful = if fast { HANDFUL } else { 1 };
        let eager = queue.is_eager();
        {
            let mut hands = cell.hands.lock();
            let Some(lane) = queue.lanes.take(handful, eager, &mut hands.taken) else {
                return false;
            };
            hands.lane = lane;
        }
        wait_for_lingering(core, &mut queue);
        let wake = !fast && self.rouse(core, &mut queue, true);
        drop(queue);
        self.wake_if(wake);
        true
    }

    /// Puts back what a worker has taken and cannot begin soon.
    pub(super) fn put_back(&self, core: &Arc<Core>, cell: &Cell) {
        let mut queue = self.queue.lock();
        {
            let mut hands = cell.hands.lock();
            while let Some(delivery) = hands.taken.pop_back() {
                queue.lanes.put_back(hands.lane, delivery);
            }
        }
        let wake = self.rouse(core, &mut queue, true);
        drop(queue);
        self.wake_if(wake);
    }

    /// Whether a lane's deliveries are handled several at once.
    pub(super) fn is_batch(&self, lane: usize) -> bool {
        self.batches.get(lane).copied().unwrap_or_default()
    }

    /// A worker is done with what it took from a lane of its own.
    pub(super) fn leave_lane(&self, lane: usize) {
        if lane != PLAIN {
            self.queue.lock().lanes.leave(lane);
        }
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

    pub(crate) fn adjust_credit(&self, core: &Core) {
        if !self.is_healthy() {
            self.credit.grant(core, 0);
            return;
        }
        let lent = self.queue.lock().lent;
        let PoolOptions { prefetch, headroom, .. } = self.options;
        let ready = self.pace.ready(self.places, headroom, prefetch);
        self.credit.grant(core, self.capacity + ready + lent);
    }
}

impl Queue {
    /// Whether batches are begun as they are.
    pub(super) fn is_eager(&self) -> bool {
        self.stopping != Stopping::No
    }

    /// Whether a worker would find something to begin.
    pub(super) fn has_work(&self) -> bool {
        self.stopping != Stopping::Abort && self.lanes.is_ready(self.is_eager())
    }

    /// Workers that are neither idle nor awaiting a reply.
    pub(super) fn active(&self) -> u32 {
        (self.alive - self.idle).saturating_sub(self.lent)
    }
}
