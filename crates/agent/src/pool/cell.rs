//! What one worker has in its hands, visible to those who renew leases and call work off.

use super::lanes::PLAIN;
use super::running::Running;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use trunkline_types::session::{Delivery, Operation};
use trunkline_types::{Outcome, Settle, Token};

/// See the module. Times are in microseconds since the pool began.
pub(super) struct Cell {
    /// Counts the pool's workers, from 1.
    pub(super) number: u32,
    pub(super) began: u64,
    /// The worker's own lock, hardly ever contended.
    pub(super) hands: Mutex<Hands>,
    /// When the worker last went on; 0 while it rests or awaits a handler.
    pub(super) moved: AtomicU64,
    /// Since when it awaits a handler; 0 if it does not.
    pub(super) awaits_since: AtomicU64,
    /// Since when it has had something to do; 0 while it rests.
    busy_since: AtomicU64,
    /// For how long it was busy before.
    busy: AtomicU64,
    /// Whether it has taken one of the pool's permits.
    pub(super) permitted: AtomicBool,
    /// How often it failed and began anew.
    pub(super) restarts: AtomicU32,
}

/// A worker's hands.
#[derive(Default)]
pub(super) struct Hands {
    /// Taken from the pool's queue, not begun.
    pub(super) taken: VecDeque<Delivery>,
    /// The lane of what it has.
    pub(super) lane: usize,
    /// At work; several in a batch.
    pub(super) current: Vec<Arc<Running>>,
    /// Settled, not yet told.
    pub(super) outbox: Vec<Operation>,
    /// What the worker has done.
    pub(super) tally: Tally,
}

/// Counts of how deliveries ended.
#[derive(Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) retried: u64,
    pub(super) dead_lettered: u64,
    pub(super) released: u64,
    pub(super) panics: u64,
    /// Handlers that were given several deliveries at once or might have been.
    pub(super) batches: u64,
    /// How often it held its thread for long.
    pub(super) blocked: u64,
}

impl Cell {
    pub(super) fn new(number: u32, began: u64) -> Self {
        Self {
            number,
            began,
            hands: Mutex::default(),
            moved: AtomicU64::new(0),
            awaits_since: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            permitted: AtomicBool::new(false),
            restarts: AtomicU32::new(0),
        }
    }

    /// The worker has something to do from `now` on.
    pub(super) fn begin(&self, now: u64) {
        self.busy_since.store(now, Ordering::Relaxed);
    }

    /// The worker has nothing to do. What it did last was at the time of its last move, so that
    /// no clock is read.
    pub(super) fn end(&self) {
        let since = self.busy_since.swap(0, Ordering::Relaxed);
        let moved = self.moved.load(Ordering::Relaxed);
        if since > 0 {
            self.busy.fetch_add(moved.saturating_sub(since), Ordering::Relaxed);
        }
    }

    /// For how long it was busy until `now`, in microseconds.
    pub(super) fn busy_until(&self, now: u64) -> u64 {
        let since = self.busy_since.load(Ordering::Relaxed);
        let current = if since > 0 { now.saturating_sub(since) } else { 0 };
        self.busy.load(Ordering::Relaxed) + current
    }
}

impl Hands {
    /// A delivery at work ends without a word: the broker ends it by itself.
    pub(super) fn leave(&mut self, token: Token) {
        self.drop_current(token);
        self.tally.released += 1;
    }

    /// A delivery at work ends.
    pub(super) fn settle(&mut self, token: Token, outcome: Outcome) {
        self.drop_current(token);
        self.tally.count(&outcome);
        self.outbox.push(Operation::Settle(Settle { token, outcome }));
    }

    /// A delivery at work ends as it was decided; `None` leaves it to the broker.
    pub(super) fn end(&mut self, token: Token, outcome: Option<Outcome>) {
        match outcome {
            Some(outcome) => self.settle(token, outcome),
            None => self.leave(token),
        }
    }

    fn drop_current(&mut self, token: Token) {
        // A batch ends in the order in which it began.
        match self.current.iter().position(|running| running.token() == token) {
            Some(0) if self.current.len() == 1 => self.current.clear(),
            Some(at) => {
                self.current.remove(at);
            }
            None => {}
        }
    }

    /// Whether a delivery has not ended.
    pub(super) fn is_at_work(&self, running: &Arc<Running>) -> bool {
        self.current.iter().any(|other| Arc::ptr_eq(other, running))
    }

    /// The worker is done with what it had from a lane, which is told.
    pub(super) fn leave_lane(&mut self) -> usize {
        std::mem::replace(&mut self.lane, PLAIN)
    }

    /// The tokens of everything that it holds.
    pub(super) fn tokens(&self, into: &mut Vec<Token>) {
        into.extend(self.current.iter().map(|running| running.token()));
        into.extend(self.taken.iter().map(|delivery| delivery.token));
    }
}

impl Tally {
    fn count(&mut self, outcome: &Outcome) {
        let count = match outcome {
            Outcome::Complete { .. } => &mut self.completed,
            Outcome::Fail { .. } | Outcome::Reject { .. } => &mut self.failed,
            Outcome::Retry { .. } => &mut self.retried,
            Outcome::DeadLetter { .. } => &mut self.dead_lettered,
            Outcome::Release | Outcome::Pause { .. } => &mut self.released,
        };
        *count += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        let Self { completed, failed, retried, dead_lettered, released, panics, batches, blocked } =
            other;
        self.completed += completed;
        self.failed += failed;
        self.retried += retried;
        self.dead_lettered += dead_lettered;
        self.released += released;
        self.panics += panics;
        self.batches += batches;
        self.blocked += blocked;
    }

    /// How many deliveries have ended.
    pub(super) fn handled(&self) -> u64 {
        self.completed + self.failed + self.retried + self.dead_lettered + self.released
    }

    /// How many deliveries came to something that went wrong.
    pub(super) fn errors(&self) -> u64 {
        self.failed + self.retried + self.dead_lettered
    }
}
