//! What one worker has in its hands, visible to those who renew leases and call work off.

use super::running::Running;
use crate::AgentStats;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use trunkline_types::session::{Delivery, Operation};
use trunkline_types::{Outcome, Settle, Token};

/// See the module.
#[derive(Default)]
pub(super) struct Cell {
    /// The worker's own lock, hardly ever contended.
    pub(super) hands: Mutex<Hands>,
    /// When the worker last went on, in microseconds since the pool began; 0 while it rests.
    pub(super) moved: AtomicU64,
}

/// A worker's hands.
#[derive(Default)]
pub(super) struct Hands {
    /// Taken from the pool's queue, not begun.
    pub(super) taken: VecDeque<Delivery>,
    /// At work.
    pub(super) current: Option<Arc<Running>>,
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
}

impl Hands {
    /// The current delivery ends without a word: the broker ends it by itself.
    pub(super) fn leave(&mut self) {
        self.current = None;
        self.tally.released += 1;
    }

    /// The current delivery ends. Returns how many settlements wait to be told.
    pub(super) fn settle(&mut self, token: Token, outcome: Outcome) -> usize {
        self.current = None;
        self.tally.count(&outcome);
        self.outbox.push(Operation::Settle(Settle { token, outcome }));
        self.outbox.len()
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
        let Self { completed, failed, retried, dead_lettered, released, panics } = other;
        self.completed += completed;
        self.failed += failed;
        self.retried += retried;
        self.dead_lettered += dead_lettered;
        self.released += released;
        self.panics += panics;
    }

    pub(super) fn into_stats(self) -> AgentStats {
        let Self { completed, failed, retried, dead_lettered, released, panics } = self;
        AgentStats {
            handled: completed + failed + retried + dead_lettered + released,
            completed,
            failed,
            retried,
            dead_lettered,
            released,
            panics,
            ..AgentStats::default()
        }
    }
}
