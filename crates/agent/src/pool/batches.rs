//! Handlers that have several deliveries at once, each of which ends on its own.

use super::attend::{Panic, poll_caught, poll_noted, text_of};
use super::cell::Cell;
use super::queue::Pool;
use super::running::Running;
use super::sample::Sample;
use super::worker::{Awaiting, Ran, note_panic, take_back_permit};
use crate::core::Core;
use crate::handler::cut;
use crate::{BatchFuture, Task};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};
use trunkline_types::Outcome;

/// A delivery of the batch that may be called off by itself.
type Call<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Runs a handler for a batch and notes what each delivery came to.
pub(super) async fn run(
    core: &Arc<Core>,
    pool: &Pool,
    cell: &Cell,
    sample: &Sample,
    mut members: Vec<Arc<Running>>,
) -> Ran {
    let handled = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let mut ran = Ran { awaited: false, handled, failed: false };
    cell.hands.lock().tally.batches += 1;
    let lead = Arc::clone(&members[0]);
    let Some(entry) = pool.handlers.find(&lead.delivery) else {
        // Only deliveries with a handler are in a lane of batches.
        return ran;
    };
    members.retain(|running| {
        let Some(error) = running.unreadable() else { return true };
        let outcome = Outcome::Reject { reason: cut(error) };
        cell.hands.lock().settle(running.token(), outcome);
        false
    });
    if members.is_empty() {
        return ran;
    }
    let tasks = members.iter().map(|running| Task { running: Arc::clone(running) }).collect();
    let end = match catch_unwind(AssertUnwindSafe(|| entry.handler.handle_batch(tasks))) {
        Err(panic) => Err(panic),
        Ok(mut future) => {
            match poll_fn(|context| Poll::Ready(poll_caught(&mut future, context))).await {
                Poll::Ready(end) => end.map(Some),
                Poll::Pending => {
                    ran.awaited = true;
                    let begun = Instant::now();
                    sample.interrupt(cell, begun);
                    pool.flush(core, cell, None);
                    core.tell(members.iter().filter_map(|running| running.start()));
                    let awaiting = Awaiting::begin(core, pool, cell, begun);
                    let grace = entry.handler.cancel_grace();
                    let end = finish(core, pool, cell, &members, future, grace).await;
                    drop(awaiting);
                    pool.pace.record(begun.elapsed() / handled);
                    end
                }
            }
        }
    };
    match end {
        Ok(outcomes) => settle(cell, &members, outcomes),
        Err(panic) => {
            ran.failed = true;
            let text = text_of(&panic);
            each_at_work(cell, &members, |running| note_panic(cell, running, &text));
        }
    }
    take_back_permit(core, pool, cell, &lead).await;
    ran
}

/// Awaits the handler until it ends or every delivery is given up, `None` then. One that is given
/// up ends there and then; the others go on.
async fn finish(
    core: &Arc<Core>,
    pool: &Pool,
    cell: &Cell,
    members: &[Arc<Running>],
    mut future: BatchFuture,
    grace: Duration,
) -> Result<Option<Vec<Outcome>>, Panic> {
    let calls = members.iter().map(|running| Some(Box::pin(running.given_up(grace)) as Call<'_>));
    let mut calls: Vec<_> = calls.collect();
    poll_fn(|context| {
        let mut given_up = false;
        for (call, running) in calls.iter_mut().zip(members) {
            if call.as_mut().is_some_and(|call| call.as_mut().poll(context).is_ready()) {
                *call = None;
                given_up = true;
                let ending = running.ending(Outcome::Release);
                cell.hands.lock().end(running.token(), ending);
            }
        }
        if given_up {
            pool.flush(core, cell, None);
            cell.moved.store(0, Ordering::Relaxed);
            if calls.iter().all(Option::is_none) {
                return Poll::Ready(Ok(None));
            }
        }
        poll_noted(cell, &mut future, context).map(|end| end.map(Some))
    })
    .await
}

/// Ends the deliveries that are still at work as their handler says.
fn settle(cell: &Cell, members: &[Arc<Running>], outcomes: Option<Vec<Outcome>>) {
    let Some(outcomes) = outcomes else { return };
    if outcomes.len() == members.len() {
        let mut outcomes = outcomes.into_iter();
        for running in members {
            let Some(outcome) = outcomes.next() else { return };
            let mut hands = cell.hands.lock();
            if hands.is_at_work(running) {
                hands.end(running.token(), running.ending(outcome));
            }
        }
        return;
    }
    // Nobody knows which result is whose.
    let (given, wanted) = (outcomes.len(), members.len());
    let reason = format!("the handler gave {given} results for a batch of {wanted}");
    each_at_work(cell, members, |running| {
        let outcome = Outcome::Retry { reason: reason.clone(), delay: None };
        cell.hands.lock().settle(running.token(), outcome);
    });
}

fn each_at_work(cell: &Cell, members: &[Arc<Running>], end: impl Fn(&Running)) {
    for running in members {
        let at_work = cell.hands.lock().is_at_work(running);
        if at_work {
            end(running);
        }
    }
}
