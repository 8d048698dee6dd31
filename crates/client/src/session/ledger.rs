//! Operations that have no answer yet, in order.
//!
//! The layer above numbers its operations; the ledger numbers those that go out. The two differ
//! once an operation has been refused here, because a broker expects numbers without gaps.
//! Answers may come in any order, so an answered operation in the middle leaves a hole until
//! everything before it is answered. What is sent again after a reconnect fills holes with an
//! operation that does nothing: a broker that kept the session has the number done already, and
//! one that forgot it must not do the old operation twice.

use std::collections::VecDeque;
use trunkline_proto::FRAME_FULL_BYTES;
use trunkline_types::session::{self, Operation};
use trunkline_types::{MessageId, Partition};

/// How many places the ledger may have for each operation that may be unanswered, holes included.
const PLACES_PER_OPERATION: usize = 16;

/// How far apart the first and the last operation may be that are sent and not retired, as
/// [`session::REACH`] says. One that is answered late (a publish that waits outside a full inbox)
/// holds up nothing that is nearer than this.
#[allow(clippy::cast_possible_truncation, reason = "it is far below what 32 bits hold")]
const REACH: usize = session::REACH as usize;

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    slots: VecDeque<Slot>,
    /// The number on the wire of the first slot.
    base: u64,
    /// How many slots have been sent on the present connection.
    sent: usize,
    /// The number on the wire of the first slot that was never sent on any connection. A broker
    /// may answer what it was sent on an earlier one.
    untold: u64,
    /// How many slots have no answer.
    unanswered: usize,
    /// How many may have none.
    most: usize,
}

#[derive(Debug)]
struct Slot {
    /// The layer's number.
    number: u64,
    bytes: usize,
    /// `None` once answered.
    operation: Option<Operation>,
}

impl Ledger {
    /// An empty ledger whose first operation will have the number `first` on the wire.
    pub(super) fn new(first: u64, most: usize) -> Self {
        Self { slots: VecDeque::new(), base: first, sent: 0, untold: first, unanswered: 0, most }
    }

    /// Whether there is room for the operation.
    pub(super) fn admits(&self, operation: &Operation) -> bool {
        let exempt = matches!(operation, Operation::Settle(_));
        (exempt || self.unanswered < self.most)
            && self.slots.len() < self.most.saturating_mul(PLACES_PER_OPERATION)
    }

    /// The number on the wire of what is added next.
    pub(super) fn next_added(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// Adds an operation.
    pub(super) fn add(&mut self, number: u64, bytes: usize, operation: Operation) {
        self.slots.push_back(Slot { number, bytes, operation: Some(operation) });
        self.unanswered += 1;
    }

    /// The number on the wire of the first operation without an answer.
    pub(super) fn next_operation(&self) -> u64 {
        self.base
    }

    /// Whether the operation with this number on the wire has no answer.
    pub(super) fn is_unanswered(&self, wire: u64) -> bool {
        self.index(wire)
            .and_then(|index| self.slots.get(index))
            .is_some_and(|slot| slot.operation.is_some())
    }

    /// Whether the operation with this number on the wire was sent on any connection.
    pub(super) fn was_told(&self, wire: u64) -> bool {
        wire < self.untold
    }

    fn index(&self, wire: u64) -> Option<usize> {
        usize::try_from(wire.checked_sub(self.base)?).ok()
    }

    /// Takes note of the answer to a range of numbers on the wire. What was sent and had no
    /// answer yet is handed to `each` with the layer's number.
    pub(super) fn answer(&mut self, first: u64, last: u64, mut each: impl FnMut(u64, Operation)) {
        let Some(last) = self.untold.checked_sub(1).map(|told| told.min(last)) else { return };
        let Some(end) = self.index(last).map(|last| last + 1) else { return };
        let start = self.index(first).unwrap_or(0).min(end);
        for slot in self.slots.range_mut(start..end) {
            if let Some(operation) = slot.operation.take() {
                self.unanswered -= 1;
                each(slot.number, operation);
            }
        }
        self.retire();
    }

    /// Lets go of what is answered at the front. What the present connection has not carried yet
    /// stays, because its numbers must begin where the hello said.
    fn retire(&mut self) {
        while self.sent > 0 && self.slots.front().is_some_and(|slot| slot.operation.is_none()) {
            self.slots.pop_front();
            self.base += 1;
            self.sent -= 1;
        }
    }

    /// Whether something waits to be sent until answers bring it within reach.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.sent >= REACH && self.sent < self.slots.len()
    }

    /// Takes what fits a frame of what has not been sent and is within reach, with the number of
    /// the first.
    pub(super) fn take_unsent(&mut self, most: usize) -> Option<(u64, Vec<Operation>)> {
        let most = most.min(REACH.saturating_sub(self.sent));
        let unsent = self.slots.len() - self.sent;
        if unsent == 0 || most == 0 {
            return None;
        }
        let first = self.base + self.sent as u64;
        let mut operations = Vec::with_capacity(unsent.min(most));
        let mut bytes = 0;
        for slot in self.slots.range(self.sent..).take(most) {
            operations.push(slot.operation.clone().unwrap_or_else(nothing));
            bytes += slot.bytes;
            if bytes >= FRAME_FULL_BYTES {
                break;
            }
        }
        self.sent += operations.len();
        self.untold = self.untold.max(first + operations.len() as u64);
        self.retire();
        Some((first, operations))
    }

    /// The connection broke: everything without an answer is to be sent again.
    pub(super) fn unsend(&mut self) {
        self.sent = 0;
    }
}

/// An operation that does nothing: nobody watches the task whose id is the smallest.
fn nothing() -> Operation {
    Operation::Unwatch { task: MessageId::from_parts(0, Partition(0), 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(unique: u64) -> Operation {
        Operation::Watch { task: MessageId::from_parts(1, Partition(0), unique), after: 0 }
    }

    fn ledger(count: u64) -> Ledger {
        let mut ledger = Ledger::new(1, 100);
        for number in 1..=count {
            ledger.add(number, 10, operation(number));
        }
        ledger
    }

    fn answered(ledger: &mut Ledger, first: u64, last: u64) -> Vec<u64> {
        let mut numbers = Vec::new();
        ledger.answer(first, last, |number, _| numbers.push(number));
        numbers
    }

    #[test]
    fn what_is_sent_again_keeps_its_numbers_and_never_repeats_what_was_answered() {
        let mut ledger = ledger(5);
        assert_eq!(ledger.take_unsent(4096).unwrap().1.len(), 5);
        assert_eq!(answered(&mut ledger, 1, 1), [1]);
        assert_eq!(answered(&mut ledger, 3, 4), [3, 4]);
        ledger.unsend();
        assert_eq!(ledger.next_operation(), 2);
        let again = vec![operation(2), nothing(), nothing(), operation(5)];
        assert_eq!(ledger.take_unsent(4096), Some((2, again)));
        assert_eq!(answered(&mut ledger, 2, 5), [2, 5]);
        assert_eq!(ledger.next_operation(), 6);
    }

    #[test]
    fn an_answer_may_come_on_a_later_connection_before_its_operation_is_sent_again() {
        let mut ledger = ledger(3);
        assert_eq!(ledger.take_unsent(2).unwrap().1.len(), 2);
        ledger.unsend();
        assert_eq!(answered(&mut ledger, 1, 3), [1, 2], "the third was never sent");
        assert_eq!(ledger.next_operation(), 1, "the hello has said so");
        let again = vec![nothing(), nothing(), operation(3)];
        assert_eq!(ledger.take_unsent(4096), Some((1, again)));
        assert_eq!(ledger.next_operation(), 3);
        assert_eq!(answered(&mut ledger, 1, 3), [3]);
    }

    #[test]
    fn answers_to_what_was_not_sent_or_is_answered_already_are_nothing() {
        let mut ledger = ledger(3);
        assert_eq!(ledger.take_unsent(2).unwrap().1.len(), 2);
        assert_eq!(answered(&mut ledger, 1, u64::MAX), [1, 2]);
        assert_eq!(answered(&mut ledger, 0, 2), [0; 0]);
        assert!(ledger.is_unanswered(3) && !ledger.is_unanswered(2) && !ledger.is_unanswered(4));
        assert_eq!(ledger.take_unsent(2), Some((3, vec![operation(3)])));
        assert_eq!(ledger.take_unsent(2), None);
    }

    #[test]
    fn nothing_is_sent_that_is_too_far_from_what_may_be_sent_again() {
        let mut ledger = Ledger::new(1, 2 * REACH);
        for number in 1..=REACH as u64 + 2 {
            ledger.add(number, 1, operation(number));
        }
        assert_eq!(ledger.take_unsent(usize::MAX).unwrap().1.len(), REACH);
        assert_eq!(ledger.take_unsent(usize::MAX), None);
        assert_eq!(answered(&mut ledger, 2, 3), [2, 3]);
        assert!(ledger.is_out_of_reach(), "the first is still to be answered");
        assert_eq!(answered(&mut ledger, 1, 1), [1]);
        assert!(!ledger.is_out_of_reach());
        assert_eq!(ledger.take_unsent(usize::MAX).unwrap().1.len(), 2);
    }

    #[test]
    fn a_frame_is_closed_when_it_is_full() {
        let mut ledger = Ledger::new(1, 100);
        for number in 1..=3 {
            ledger.add(number, FRAME_FULL_BYTES / 2, operation(number));
        }
        assert_eq!(ledger.take_unsent(4096).unwrap().1.len(), 2);
        assert_eq!(ledger.take_unsent(4096).unwrap().0, 3);
        assert_eq!(ledger.take_unsent(4096), None);
    }
}
