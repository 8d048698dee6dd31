//! When messages of an open loop are due: at times set beforehand, whether or not earlier ones are
//! done. Whoever is late sends at once, and the message still counts from when it was due.

use crate::clock::Clock;
use std::time::Duration;

/// How long before a message is due the wait stops sleeping: a timer may be as late as that.
const WAKE: u64 = 1_500_000;
/// How much later the first message is due, so that setting up does not count as being late.
const AHEAD: u64 = 10_000_000;
/// A second in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// How exactly a message is sent when it is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// As exactly as a timer is, which is about a millisecond.
    Timer,
    /// As exactly as the processor can: it is kept busy for the last of the time.
    Exact,
}

/// Times at which messages are due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    clock: Clock,
    start: u64,
    rate: u32,
    wait: Wait,
}

impl Pace {
    /// So many a second from now on.
    pub(crate) fn new(clock: Clock, rate: u32, wait: Wait) -> Self {
        Self { clock, start: clock.nanos() + AHEAD, rate: rate.max(1), wait }
    }

    /// How many are due within some time.
    pub(crate) fn count(&self, seconds: f64) -> u64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is positive and far below 2^52"
        )]
        let count = (f64::from(self.rate) * seconds).ceil() as u64;
        count
    }

    /// When the message with this number, from 0, is due in nanoseconds on the load's clock.
    pub(crate) fn due(&self, number: u64) -> u64 {
        let rate = u64::from(self.rate);
        // Whole seconds apart, so that no product grows past its bounds.
        self.start + number / rate * SECOND + number % rate * SECOND / rate
    }

    /// Waits until a message is due, and tells when that was.
    pub(crate) async fn wait(&self, number: u64) -> u64 {
        let due = self.due(number);
        loop {
            let now = self.clock.nanos();
            let left = due.saturating_sub(now);
            match self.wait {
                _ if left == 0 => return due,
                Wait::Timer => tokio::time::sleep(Duration::from_nanos(left)).await,
                Wait::Exact if left > 2 * WAKE => {
                    tokio::time::sleep(Duration::from_nanos(left - WAKE)).await;
                }
                Wait::Exact => tokio::task::yield_now().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_due_at_even_times_and_never_sent_before() {
        let clock = Clock::new();
        for wait in [Wait::Timer, Wait::Exact] {
            let pace = Pace::new(clock, 300, wait);
            assert_eq!(pace.count(0.5), 150);
            assert_eq!(pace.due(300) - pace.due(0), SECOND);
            assert_eq!(pace.due(301) - pace.due(300), SECOND / 300);
            assert_eq!(pace.due(3_000_000_000) - pace.due(0), 10_000_000 * SECOND);
            let due = pace.wait(2).await;
            assert_eq!(due, pace.due(2));
            assert!(clock.nanos() >= due);
        }
    }

    #[tokio::test]
    async fn who_is_late_sends_at_once_and_counts_from_when_it_was_due() {
        let clock = Clock::new();
        let pace = Pace { clock, start: 0, rate: 1_000_000_000, wait: Wait::Timer };
        assert_eq!(pace.wait(1).await, 1);
    }
}
