//! A worker: takes deliveries, runs their handlers, gathers what they came to.
//!
//! Settlements are told when nothing waits locally, when 64 have gathered, before the worker
//! awaits a handler, and one by one while handlers are slow. A timer is there only for a handler
//! that blocks its worker while others' settlements have gathered.

use super::attend::{Panic, poll_caught, poll_noted, text_of};
use super::batches;
use super::cell::Cell;
use super::queue::Pool;
use super::rest::Next;
use super::running::Running;
use super::sample::Sample;
use crate::core::Core;
use crate::handler::cut;
use crate::{HandlerFuture, Task};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};
use trunkline_types::Outcome;

/// How many settlements are told at once.
const BATCH: usize = 64;

/// How many fast handlers run before other tasks of the thread get their turn.
const TURN: u32 = 128;

/// How a worker ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The pool has enough of it.
    Retired,
    /// A handler panicked, so it is to begin anew.
    Failed,
}

/// What a worker does next.
enum Unit {
    One(Arc<Running>),
    Batch(Vec<Arc<Running>>),
}

/// How a handler ran.
pub(super) struct Ran {
    /// Whether it had to be awaited.
    pub(super) awaited: bool,
    /// How many deliveries it had.
    pub(super) handled: u32,
    /// Whether it panicked.
    pub(super) failed: bool,
}

/// Works until the pool has enough of it or a handler panics.
pub(super) async fn work(core: &Arc<Core>, pool: &Pool, cell: &Arc<Cell>) -> End {
    loop {
        if !pool.try_permit() {
            pool.permit().await;
        }
        cell.permitted.store(true, Ordering::Relaxed);
        let end = work_off(core, pool, cell).await;
        cell.permitted.store(false, Ordering::Relaxed);
        pool.permits.add_permits(1);
        if end == Some(End::Failed) {
            return End::Failed;
        }
        if let Next::Retire = pool.idle(core, cell).await {
            return End::Retired;
        }
    }
}

/// Works until nothing waits; tells of a failure. Begins and ends with a permit.
async fn work_off(core: &Arc<Core>, pool: &Pool, cell: &Arc<Cell>) -> Option<End> {
    let mut turn = 0;
    // Settlements that are not told.
    let mut gathered = 0;
    let mut sample = Sample::begin();
    cell.begin(pool.micros(sample.since()));
    loop {
        let Some(unit) = begin(core, pool, cell) else {
            if pool.refill(core, cell) {
                continue;
            }
            sample.end(pool, cell);
            pool.flush(core, cell, None);
            gathered = 0;
            // In process, what was told may have brought new work by now.
            if pool.refill(core, cell) {
                sample = Sample::begin();
                continue;
            }
            return None;
        };
        if gathered > 0 {
            pool.ask_for_glance(core);
        }
        let ran = match unit {
            Unit::One(running) => run(core, pool, cell, &sample, running).await,
            Unit::Batch(members) => batches::run(core, pool, cell, &sample, members).await,
        };
        if ran.awaited {
            sample = Sample::begin();
        } else {
            sample.count(pool, cell, ran.handled);
        }
        gathered = end_unit(pool, cell);
        if ran.failed {
            return Some(End::Failed);
        }
        if gathered >= BATCH || (gathered > 0 && !pool.pace.is_fast()) {
            pool.flush(core, cell, None);
            gathered = 0;
        }
        if pool.returning.load(Ordering::Acquire) > 0 {
            make_way(core, pool, cell).await;
            gathered = 0;
            sample = Sample::begin();
        }
        turn += 1;
        if turn == TURN {
            turn = 0;
            sample.end(pool, cell);
            pool.mark_moved(cell);
            tokio::task::yield_now().await;
            sample = Sample::begin();
        }
    }
}

/// Begins the next of what was taken.
fn begin(core: &Arc<Core>, pool: &Pool, cell: &Cell) -> Option<Unit> {
    let mut hands = cell.hands.lock();
    let lane = hands.lane;
    let Some(delivery) = hands.taken.pop_front() else {
        // What it took was called off before it could begin.
        let lane = hands.leave_lane();
        drop(hands);
        pool.leave_lane(lane);
        return None;
    };
    let lead = Arc::new(Running::new(Arc::clone(core), delivery, lane));
    hands.current.push(Arc::clone(&lead));
    if !pool.is_batch(lane) {
        return Some(Unit::One(lead));
    }
    while let Some(delivery) = hands.taken.pop_front() {
        let member = Arc::new(Running::beside(&lead, delivery));
        hands.current.push(member);
    }
    Some(Unit::Batch(hands.current.clone()))
}

/// The worker is done with a handler. Tells how many settlements wait to be told.
fn end_unit(pool: &Pool, cell: &Cell) -> usize {
    let mut hands = cell.hands.lock();
    let gathered = hands.outbox.len();
    let lane = if hands.taken.is_empty() { hands.leave_lane() } else { super::lanes::PLAIN };
    drop(hands);
    pool.leave_lane(lane);
    gathered
}

/// Lets a handler whose reply has come go on first.
async fn make_way(core: &Arc<Core>, pool: &Pool, cell: &Cell) {
    pool.flush(core, cell, None);
    pool.put_back(core, cell);
    cell.permitted.store(false, Ordering::Relaxed);
    pool.permits.add_permits(1);
    wait_for_permit(pool, cell).await;
    cell.permitted.store(true, Ordering::Relaxed);
}

/// Waits for a permit. A worker that does is not stuck.
pub(super) async fn wait_for_permit(pool: &Pool, cell: &Cell) {
    cell.moved.store(0, Ordering::Relaxed);
    pool.permit().await;
    pool.mark_moved(cell);
}

/// Runs one handler to its end and notes what it came to.
async fn run(
    core: &Arc<Core>,
    pool: &Pool,
    cell: &Cell,
    sample: &Sample,
    running: Arc<Running>,
) -> Ran {
    let token = running.token();
    let mut ran = Ran { awaited: false, handled: 1, failed: false };
    let Some(entry) = pool.handlers.find(&running.delivery) else {
        let inbox = &running.delivery.inbox;
        let reason = format!("the agent has no handler for what comes by {inbox}");
        cell.hands.lock().settle(token, Outcome::Reject { reason });
        return ran;
    };
    if let Some(error) = running.unreadable() {
        cell.hands.lock().settle(token, Outcome::Reject { reason: cut(error) });
        return ran;
    }
    let task = Task { running: Arc::clone(&running) };
    let begun = catch_unwind(AssertUnwindSafe(|| entry.handler.handle(task)));
    let end = match begun {
        Err(panic) => Err(panic),
        Ok(mut future) => {
            match poll_fn(|context| Poll::Ready(poll_caught(&mut future, context))).await {
                Poll::Ready(end) => end,
                Poll::Pending => {
                    ran.awaited = true;
                    let begun = Instant::now();
                    sample.interrupt(cell, begun);
                    // Others must not wait for this handler, neither work nor those who are to
                    // be told.
                    pool.flush(core, cell, running.start());
                    let awaiting = Awaiting::begin(core, pool, cell, begun);
                    let grace = entry.handler.cancel_grace();
                    let end = finish(cell, &running, future, grace).await;
                    drop(awaiting);
                    pool.pace.record(begun.elapsed());
                    end
                }
            }
        }
    };
    match end {
        Ok(outcome) => cell.hands.lock().end(token, running.ending(outcome)),
        Err(panic) => {
            ran.failed = true;
            note_panic(cell, &running, &text_of(&panic));
        }
    }
    take_back_permit(core, pool, cell, &running).await;
    ran
}

/// A worker that awaits its handler, for as long as it does.
pub(super) struct Awaiting<'a> {
    pool: &'a Pool,
    cell: &'a Cell,
}

impl<'a> Awaiting<'a> {
    /// From `begun` on. Others take over what the worker has not begun.
    pub(super) fn begin(core: &Arc<Core>, pool: &'a Pool, cell: &'a Cell, begun: Instant) -> Self {
        cell.awaits_since.store(pool.micros(begun), Ordering::Relaxed);
        cell.moved.store(0, Ordering::Relaxed);
        pool.awaiting.fetch_add(1, Ordering::Relaxed);
        pool.put_back(core, cell);
        Self { pool, cell }
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.cell.awaits_since.store(0, Ordering::Relaxed);
        self.pool.awaiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// If the handler ended while its permit was lent, the worker waits for one.
pub(super) async fn take_back_permit(
    core: &Arc<Core>,
    pool: &Pool,
    cell: &Cell,
    running: &Arc<Running>,
) {
    if !running.finish() {
        pool.flush(core, cell, None);
        cell.permitted.store(false, Ordering::Relaxed);
        wait_for_permit(pool, cell).await;
        cell.permitted.store(true, Ordering::Relaxed);
    }
}

/// Awaits a handler until it ends, or is called off and its grace is over.
async fn finish(
    cell: &Cell,
    running: &Running,
    mut future: HandlerFuture,
    grace: Duration,
) -> Result<Outcome, Panic> {
    tokio::select! {
        biased;
        () = running.given_up(grace) => Ok(Outcome::Release),
        end = poll_fn(|context| poll_noted(cell, &mut future, context)) => end,
    }
}

/// Has a delivery tried again whose handler or worker panicked.
pub(super) fn note_panic(cell: &Cell, running: &Running, text: &str) {
    tracing::warn!(task = %running.delivery.publish.envelope.id, text, "a handler panicked");
    let reason = cut(format_args!("the handler panicked: {text}"));
    let mut hands = cell.hands.lock();
    hands.tally.panics += 1;
    hands.settle(running.token(), Outcome::Retry { reason, delay: None });
}
