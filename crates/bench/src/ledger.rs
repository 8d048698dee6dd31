//! The ledger: what was sent, what was seen at the handler, what was confirmed, and whether all
//! of it agrees.
//!
//! Sending draws numbers from it; handlers mark each number, see [`Seen`]. It refuses to forgive: a
//! number that is missing, seen twice or damaged is a disagreement, and a report with one has no
//! rate.

use crate::payload::Stamp;
use crate::seen::{Arrived, Seen};
use parking_lot::Mutex;
use std::ops::{Range, Sub};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use trunkline_agent::BatchOutcome;
use trunkline_types::{Counters, Gauges, Refusal};

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    seen: Seen,
    /// What arrived in another process; what was whole there is marked as seen.
    elsewhere: Mutex<Arrived>,
    accepted: AtomicU64,
    refused: AtomicU64,
    again: AtomicU64,
    refusal: OnceLock<String>,
}

/// The counts of the load, at one moment or over a phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Counts {
    /// Handed to the broker.
    pub(crate) sent: u64,
    /// Accepted by it.
    pub(crate) accepted: u64,
    /// Refused by it, for good.
    pub(crate) refused: u64,
    /// Refused by it until later, and sent again then: what is counted is a refusal, so that one
    /// message may count several times.
    pub(crate) again: u64,
    /// Different payloads seen whole at a handler.
    pub(crate) handled: u64,
    /// Payloads seen again.
    pub(crate) doubled: u64,
    /// Payloads of which a byte was not what it was.
    pub(crate) corrupt: u64,
    /// Whole payloads that this run never sent.
    pub(crate) foreign: u64,
    /// Settlements that the broker confirmed.
    pub(crate) confirmed: u64,
    /// Settlements that it refused.
    pub(crate) unconfirmed: u64,
}

impl Ledger {
    /// A ledger for payloads of `size` bytes.
    pub(crate) fn new(run: u64, size: usize) -> Self {
        Self {
            seen: Seen::new(run, size),
            elsewhere: Mutex::default(),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            again: AtomicU64::new(0),
            refusal: OnceLock::new(),
        }
    }

    /// How large payloads are, in bytes.
    pub(crate) fn payload_size(&self) -> usize {
        self.seen.payload_size()
    }

    /// How many numbers were drawn.
    pub(crate) fn sent(&self) -> u64 {
        self.seen.sent()
    }

    /// Draws up to `count` numbers below `limit`; none is left when the range is empty.
    pub(crate) fn draw(&self, count: u64, limit: u64) -> Range<u64> {
        self.seen.draw(count, limit)
    }

    /// The stamp of a number, sent now or due at `at`.
    pub(crate) fn stamp(&self, number: u64, at: u64) -> Stamp {
        self.seen.stamp(number, at)
    }

    /// A handler has this payload, see [`Seen::see`].
    pub(crate) fn see(&self, payload: &[u8], copy: u64) -> Option<Stamp> {
        self.seen.see(payload, copy)
    }

    /// Which run it is of.
    pub(crate) fn run(&self) -> u64 {
        self.stamp(0, 0).run
    }

    /// Takes in what handlers in another process had, which is at its end: the numbers of the
    /// payloads that were whole, each once, and what else arrived there. Returns how many of the
    /// numbers a handler here had as well.
    pub(crate) fn join(&self, whole: impl IntoIterator<Item = u64>, arrived: &Arrived) -> u64 {
        let mut elsewhere = self.elsewhere.lock();
        elsewhere.doubled += arrived.doubled;
        elsewhere.corrupt += arrived.corrupt;
        elsewhere.foreign += arrived.foreign;
        drop(elsewhere);
        let again = whole.into_iter().filter(|number| self.seen.mark(*number) == Some(false));
        again.count() as u64
    }

    /// A batch of publishes was answered, each of them for so many agents: counts what was accepted
    /// of it, and nothing of what was refused.
    pub(crate) fn answered(&self, outcome: &BatchOutcome, copies: u32) {
        self.accepted.fetch_add(outcome.accepted * u64::from(copies), Ordering::Relaxed);
    }

    /// A publish for so many agents was refused.
    pub(crate) fn note_refusals(&self, copies: u32, refusal: &Refusal) {
        for _ in 0..copies {
            self.note_refusal(refusal.to_string());
        }
    }

    /// A publish for so many agents was refused until later, and is sent again then.
    pub(crate) fn note_again(&self, copies: u32) {
        self.again.fetch_add(u64::from(copies), Ordering::Relaxed);
    }

    /// One publish was accepted, for so many recipients.
    pub(crate) fn note_accepted(&self, recipients: u64) {
        self.accepted.fetch_add(recipients, Ordering::Relaxed);
    }

    /// The reply to a request is not what was asked to be sent back.
    pub(crate) fn note_damaged_reply(&self) {
        self.seen.note_damaged();
    }

    /// One delivery was refused.
    pub(crate) fn note_refusal(&self, refusal: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        // The first one tells enough.
        let _ = self.refusal.set(refusal);
    }

    /// Why the first refused publish was refused.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.get().map(String::as_str)
    }

    /// The counts up to now; what was confirmed is counted elsewhere.
    pub(crate) fn counts(&self) -> Counts {
        let Arrived { handled, doubled, corrupt, foreign } = self.seen.arrived();
        let elsewhere = *self.elsewhere.lock();
        Counts {
            sent: self.sent(),
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            again: self.again.load(Ordering::Relaxed),
            handled,
            doubled: doubled + elsewhere.doubled,
            corrupt: corrupt + elsewhere.corrupt,
            foreign: foreign + elsewhere.foreign,
            confirmed: 0,
            unconfirmed: 0,
        }
    }
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            accepted: self.accepted - before.accepted,
            refused: self.refused - before.refused,
            again: self.again - before.again,
            handled: self.handled - before.handled,
            doubled: self.doubled - before.doubled,
            corrupt: self.corrupt - before.corrupt,
            foreign: self.foreign - before.foreign,
            confirmed: self.confirmed - before.confirmed,
            unconfirmed: self.unconfirmed - before.unconfirmed,
        }
    }
}

/// What does not agree between the load's counts, the broker's counters over the same phase, and
/// what the broker still holds after it. Empty when all is well.
pub(crate) fn disagreements(
    load: &Counts,
    broker: &Counters,
    left: &Gauges,
    refusal: Option<&str>,
) -> Vec<String> {
    let mut found = Vec::new();
    let mut none = |count: u64, what: &str| {
        if count > 0 {
            found.push(format!("{count} {what}"));
        }
    };
    none(load.doubled, "payloads reached a handler twice");
    none(load.corrupt, "payloads reached a handler damaged");
    none(load.foreign, "payloads reached a handler that were never sent");
    none(load.unconfirmed, "settlements were refused");
    none(left.total(), "messages are still with the broker");
    none(broker.canceled + broker.dropped + broker.lost, "messages were canceled or dropped");
    if load.refused > 0 {
        let why = refusal.unwrap_or("no reason given");
        found.push(format!("{} publishes were refused, the first one: {why}", load.refused));
    }
    let mut equal = |left: u64, what: &str, right: u64, other: &str| {
        if left != right {
            found.push(format!("{what} {left}, {other} {right}"));
        }
    };
    let ended = load.confirmed + broker.dead_lettered + broker.expired;
    equal(load.sent, "sent", ended, "settled, dead and expired together");
    equal(load.sent, "sent", load.accepted, "acceptances received");
    equal(load.accepted, "acceptances received", broker.accepted, "accepted by the broker's count");
    equal(load.confirmed, "settlements confirmed", broker.settled, "settled by the broker's count");
    equal(load.handled, "different payloads handled", load.confirmed, "settlements confirmed");
    found
}

/// What does not agree between what was sent to a server of which nothing else is known, and its
/// answers. Empty when all is well.
pub(crate) fn unanswered(load: &Counts, refusal: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    if load.corrupt > 0 {
        found.push(format!("{} answers are not what was sent", load.corrupt));
    }
    if load.refused > 0 {
        let why = refusal.unwrap_or("no reason given");
        found.push(format!("{} messages were refused, the first one: {why}", load.refused));
    }
    if load.sent != load.accepted {
        found.push(format!("sent {}, answered {}", load.sent, load.accepted));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 64;

    /// Sends `count` payloads through `change` to a handler and tells what disagrees when the
    /// broker has settled as many as the handler had.
    fn run(count: u64, change: impl Fn(u64, Vec<u8>) -> Vec<Vec<u8>>) -> Vec<String> {
        let ledger = Ledger::new(77, SIZE);
        let numbers = ledger.draw(count, u64::MAX);
        let mut settled = 0;
        for number in numbers {
            ledger.note_accepted(1);
            let payload = ledger.stamp(number, 0).payload(SIZE).to_vec();
            for arrived in change(number, payload) {
                ledger.see(&arrived, 0);
                settled += 1;
            }
        }
        let counts = Counts { confirmed: settled, ..ledger.counts() };
        let broker = Counters { accepted: count, settled, ..Counters::default() };
        disagreements(&counts, &broker, &Gauges::default(), None)
    }

    #[test]
    fn what_all_arrives_once_agrees() {
        assert_eq!(run(5_000, |_, payload| vec![payload]), Vec::<String>::new());
    }

    #[test]
    fn a_lost_payload_is_noticed() {
        let found =
            run(5_000, |number, payload| if number == 4_711 { vec![] } else { vec![payload] });
        assert_eq!(found, ["sent 5000, settled, dead and expired together 4999"]);
    }

    #[test]
    fn a_doubled_payload_is_noticed_even_where_another_is_lost() {
        let found = run(100, |number, payload| match number {
            3 => vec![payload.clone(), payload],
            4 => vec![],
            _ => vec![payload],
        });
        assert_eq!(
            found,
            [
                "1 payloads reached a handler twice",
                "different payloads handled 99, settlements confirmed 100"
            ]
        );
    }

    #[test]
    fn a_corrupted_payload_is_noticed() {
        let found = run(100, |number, mut payload| {
            payload[40] ^= u8::from(number == 9);
            vec![payload]
        });
        assert_eq!(
            found,
            [
                "1 payloads reached a handler damaged",
                "different payloads handled 99, settlements confirmed 100"
            ]
        );
    }

    #[test]
    fn a_payload_of_another_run_is_noticed() {
        let ledger = Ledger::new(1, SIZE);
        let numbers = ledger.draw(10, u64::MAX);
        let other = Ledger::new(2, SIZE);
        assert_eq!(ledger.see(&other.stamp(3, 0).payload(SIZE), 0), None);
        assert_eq!(ledger.see(&ledger.stamp(numbers.end, 0).payload(SIZE), 0), None);
        assert_eq!(ledger.counts().foreign, 2);
    }

    #[test]
    fn settled_without_a_confirmation_is_noticed() {
        let counts =
            Counts { sent: 10, accepted: 10, handled: 10, confirmed: 9, ..Counts::default() };
        let broker = Counters { accepted: 10, settled: 10, ..Counters::default() };
        let found = disagreements(&counts, &broker, &Gauges::default(), None);
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn dead_and_expired_messages_are_part_of_the_sum_and_waiting_ones_are_told() {
        let counts =
            Counts { sent: 10, accepted: 10, handled: 7, confirmed: 7, ..Counts::default() };
        let broker = Counters {
            accepted: 10,
            settled: 7,
            dead_lettered: 1,
            expired: 2,
            ..Counters::default()
        };
        let left = Gauges::default();
        assert_eq!(disagreements(&counts, &broker, &left, None), Vec::<String>::new());
        let left = Gauges { leased: 1, ..left };
        let found = disagreements(&counts, &broker, &left, None);
        assert_eq!(found, ["1 messages are still with the broker"]);
    }

    #[test]
    fn numbers_are_drawn_once_and_only_up_to_the_limit() {
        let ledger = Ledger::new(1, SIZE);
        assert_eq!(ledger.draw(6, 10), 0..6);
        assert_eq!(ledger.draw(6, 10), 6..10);
        assert!(ledger.draw(6, 10).is_empty());
        assert_eq!(ledger.sent(), 10);
    }
}
