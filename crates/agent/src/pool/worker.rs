//! A worker: takes deliveries, runs their handlers, gathers what they came to.
//!
//! Settlements are told when nothing waits locally, when 64 have gathered, before the worker
//! awaits a handler, and one by one while handlers are slow. A timer is there only for a handler
//! that blocks its worker while others' settlements have gathered.

use super::cell::Cell;
use super::queue::{Next, Pool};
use super::running::Running;
use crate::core::{Core, now};
use crate::handler::cut;
use crate::{HandlerFuture, Task};
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use trunkline_types::Outcome;

/// How many settlements are told at once.
const BATCH: usize = 64;

/// How many fast handlers make one measurement of time.
const SAMPLE: u32 = 16;

/// How many fast handlers run before other tasks of the thread get their turn.
const TURN: u32 = 128;

/// Works until the pool has enough of it.
pub(super) async fn work(core: Arc<Core>, cell: Arc<Cell>) {
    let Some(pool) = &core.pool else { return };
    loop {
        if !pool.try_permit() {
            pool.permit().await;
        }
        work_off(&core, pool, &cell).await;
        pool.permits.add_permits(1);
        if let Next::Retire = pool.idle(&cell).await {
            return;
        }
    }
}

/// Works until nothing waits. Begins and ends with a permit.
async fn work_off(core: &Arc<Core>, pool: &Pool, cell: &Arc<Cell>) {
    let mut turn = 0;
    // Settlements that are not told.
    let mut gathered = 0;
    let mut sample = Sample::begin();
    loop {
        let next = cell.hands.lock().begin(core);
        let Some(running) = next else {
            if pool.refill(core, cell) {
                continue;
            }
            sample.end(pool);
            pool.flush(core, cell, None);
            gathered = 0;
            // In process, what was told may have brought new work by now.
            if pool.refill(core, cell) {
                sample = Sample::begin();
                continue;
            }
            return;
        };
        if gathered > 0 {
            pool.ask_for_glance(core);
        }
        let waited = run(core, pool, cell, running).await;
        if waited {
            sample = Sample::begin();
        } else {
            sample.count(pool);
        }
        gathered = cell.hands.lock().outbox.len();
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
            sample.end(pool);
            pool.mark_moved(cell);
            tokio::task::yield_now().await;
            sample = Sample::begin();
        }
    }
}

/// Lets a handler whose reply has come go on first.
async fn make_way(core: &Arc<Core>, pool: &Pool, cell: &Cell) {
    pool.flush(core, cell, None);
    pool.put_back(core, cell);
    pool.permits.add_permits(1);
    pool.permit().await;
}

/// Runs one handler to its end and notes what it came to. Tells whether it had to be awaited.
async fn run(core: &Arc<Core>, pool: &Pool, cell: &Cell, running: Arc<Running>) -> bool {
    let token = running.token();
    let Some(handler) = pool.handlers.find(&running.delivery) else {
        let inbox = &running.delivery.inbox;
        let reason = format!("the agent has no handler for what comes by {inbox}");
        cell.hands.lock().settle(token, Outcome::Reject { reason });
        return false;
    };
    let task = Task { running: Arc::clone(&running) };
    let mut future = match catch_unwind(AssertUnwindSafe(|| handler.handle(task))) {
        Ok(future) => future,
        Err(panic) => {
            note_panic(cell, &running, &panic);
            return false;
        }
    };
    let first = poll_fn(|context| Poll::Ready(poll_caught(&mut future, context))).await;
    let (end, waited) = match first {
        Poll::Ready(end) => (end.map(Some), false),
        Poll::Pending => {
            let begun = Instant::now();
            // Others must not wait for this handler, neither work nor those who are to be told.
            pool.flush(core, cell, running.start());
            cell.moved.store(0, Ordering::Relaxed);
            pool.put_back(core, cell);
            let end = finish(&running, future, handler.cancel_grace()).await;
            pool.pace.record(begun.elapsed());
            (end, true)
        }
    };
    match end {
        Ok(Some(outcome)) => {
            cell.hands.lock().settle(token, outcome);
        }
        Ok(None) => cell.hands.lock().leave(),
        Err(panic) => note_panic(cell, &running, &panic),
    }
    if !running.finish() {
        // The handler ended while its permit was lent.
        pool.flush(core, cell, None);
        pool.permit().await;
    }
    waited
}

type Panic = Box<dyn Any + Send>;

fn poll_caught(
    future: &mut HandlerFuture,
    context: &mut Context<'_>,
) -> Poll<Result<Outcome, Panic>> {
    match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(outcome)) => Poll::Ready(Ok(outcome)),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

/// Awaits a handler until it ends, or is called off and its grace is over. `None` if there is
/// nothing to be said of the delivery, because its time to live has ended: the broker, whose clock
/// it is, ends it by itself. Given back instead, it would come again at once to an agent whose
/// clock is wrong.
async fn finish(
    running: &Running,
    mut future: HandlerFuture,
    grace: Duration,
) -> Result<Option<Outcome>, Panic> {
    let mut work = poll_fn(|context| poll_caught(&mut future, context));
    let called_off = async {
        match running.deadline() {
            None => running.cancelled().await,
            Some(deadline) => {
                let remaining = deadline.since(now());
                let late = tokio::time::timeout(remaining, running.cancelled()).await.is_err();
                if late {
                    running.cancel();
                }
                return late;
            }
        }
        false
    };
    let late = tokio::select! {
        biased;
        late = called_off => late,
        end = &mut work => return end.map(Some),
    };
    let outcome = if grace.is_zero() {
        Outcome::Release
    } else {
        tokio::time::timeout(grace, work).await.unwrap_or(Ok(Outcome::Release))?
    };
    Ok(Some(outcome).filter(|outcome| !(late && *outcome == Outcome::Release)))
}

fn note_panic(cell: &Cell, running: &Running, panic: &Panic) {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "of an unknown kind".to_owned());
    tracing::warn!(task = %running.delivery.publish.envelope.id, text, "a handler panicked");
    let reason = cut(format_args!("the handler panicked: {text}"));
    let mut hands = cell.hands.lock();
    hands.tally.panics += 1;
    hands.settle(running.token(), Outcome::Retry { reason, delay: None });
}

impl super::cell::Hands {
    /// Begins the next delivery that was taken.
    fn begin(&mut self, core: &Arc<Core>) -> Option<Arc<Running>> {
        let delivery = self.taken.pop_front()?;
        let running = Arc::new(Running::new(Arc::clone(core), delivery));
        self.current = Some(Arc::clone(&running));
        Some(running)
    }
}

/// Measures handlers that are not awaited: each one while they are slow, several together while
/// they are fast, because reading the clock is not free.
struct Sample {
    since: Instant,
    count: u32,
}

impl Sample {
    fn begin() -> Self {
        Self { since: Instant::now(), count: 0 }
    }

    fn count(&mut self, pool: &Pool) {
        self.count += 1;
        if self.count >= SAMPLE || !pool.pace.is_fast() {
            self.end(pool);
        }
    }

    fn end(&mut self, pool: &Pool) {
        if self.count > 0 {
            let now = Instant::now();
            pool.pace.record(now.duration_since(self.since) / self.count);
            *self = Self { since: now, count: 0 };
        }
    }
}
