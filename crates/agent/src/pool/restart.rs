//! What becomes of a worker that fails: what it held goes on without it, and it begins anew.

use super::attend::text_of;
use super::cell::Cell;
use super::queue::Pool;
use super::worker::{End, note_panic, work};
use crate::core::Core;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

/// The pause after a second failure in a row; each one more doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Has a worker work until the pool has enough of it. One whose handler panics, or that panics
/// itself, gives up what it held and begins anew: at once, but after a pause if it has handled
/// nothing since it failed before.
pub(super) async fn supervise(core: Arc<Core>, cell: Arc<Cell>) {
    let Some(pool) = &core.pool else { return };
    let mut in_a_row = 0;
    loop {
        let before = good(&cell);
        let mut work = Box::pin(work(&core, pool, &cell));
        let end = poll_fn(|context| {
            match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(end)) => Poll::Ready(Ok(end)),
                Err(panic) => Poll::Ready(Err(panic)),
            }
        });
        let end = end.await;
        drop(work);
        match end {
            Ok(End::Retired) => return,
            Ok(End::Failed) => {}
            Err(panic) => recover(pool, &cell, &text_of(&panic)),
        }
        pool.flush(&core, &cell, None);
        pool.put_back(&core, &cell);
        pool.leave_lane(cell.hands.lock().leave_lane());
        cell.end();
        cell.moved.store(0, Ordering::Relaxed);
        cell.restarts.fetch_add(1, Ordering::Relaxed);
        // The delivery that failed is counted, but not as good.
        in_a_row = if good(&cell) > before { 1 } else { in_a_row + 1 };
        let pause = pause(in_a_row);
        if !pause.is_zero() {
            tracing::warn!(worker = cell.number, ?pause, "a worker failed again and pauses");
            let _ = tokio::time::timeout(pause, pool.stopping()).await;
        }
    }
}

/// How many deliveries a worker has handled without a panic.
fn good(cell: &Cell) -> u64 {
    let tally = cell.hands.lock().tally;
    tally.handled() - tally.panics
}

/// How long a worker pauses that has failed so often in a row.
fn pause(in_a_row: u32) -> Duration {
    match in_a_row.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_PAUSE.saturating_mul(1 << doublings.min(16)).min(LONGEST_PAUSE),
    }
}

/// Ends what a worker had at work that panicked outside of its handler, and returns its permit.
fn recover(pool: &Pool, cell: &Cell, text: &str) {
    tracing::error!(worker = cell.number, text, "a worker panicked");
    let current = cell.hands.lock().current.clone();
    let mut held = cell.permitted.swap(false, Ordering::Relaxed);
    for running in current {
        held &= running.finish();
        note_panic(cell, &running, text);
    }
    if held {
        pool.permits.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_pauses_longer_the_more_often_it_fails_in_a_row() {
        let millis = |span: Duration| span.as_millis();
        assert_eq!([0, 1, 2, 3, 4, 100].map(|n| millis(pause(n))), [0, 0, 100, 200, 400, 5000]);
    }
}
