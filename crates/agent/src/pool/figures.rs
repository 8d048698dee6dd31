//! The pool's figures.

use super::queue::Pool;
use crate::{AgentStats, WorkerStats};
use std::sync::atomic::Ordering;
use std::time::Duration;

impl Pool {
    pub(crate) fn stats(&self) -> AgentStats {
        let now = self.elapsed_micros();
        let queue = self.queue.lock();
        let mut tally = queue.retired;
        let mut restarts = queue.retired_restarts;
        let mut queued = queue.lanes.len();
        let mut workers = Vec::with_capacity(queue.cells.len());
        for cell in &queue.cells {
            let hands = cell.hands.lock();
            tally.add(&hands.tally);
            queued += hands.taken.len();
            let again = cell.restarts.load(Ordering::Relaxed);
            restarts += u64::from(again);
            workers.push(WorkerStats {
                number: cell.number,
                messages: hands.tally.handled(),
                batches: hands.tally.batches,
                errors: hands.tally.errors(),
                restarts: again,
                busy: Duration::from_micros(cell.busy_until(now)),
                age: Duration::from_micros(now.saturating_sub(cell.began)),
            });
        }
        AgentStats {
            handled: tally.handled(),
            completed: tally.completed,
            failed: tally.failed,
            retried: tally.retried,
            dead_lettered: tally.dead_lettered,
            released: tally.released,
            panics: tally.panics,
            batches: tally.batches,
            blocked: tally.blocked,
            restarts,
            queued: queued as u64,
            workers,
            idle: queue.idle,
            lent: queue.lent,
            credit: self.credit.current(),
            handler_time: self.pace.mean(),
            healthy: self.healthy.load(Ordering::Relaxed),
        }
    }
}
