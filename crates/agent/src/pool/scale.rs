//! How many workers the work wants, from what is measured.
//!
//! By Little's law, deliveries that arrive at rate `λ` and take `s` each keep `λ·s` workers busy.
//! What waits already, `B` deliveries that take `B·s`, is to be begun within a target `T`, which
//! takes `B·s / T` workers more. Handlers that have run for longer than `T` will not take part,
//! so they count besides:
//!
//! ```text
//! workers wanted = at work for longer than T + ⌈λ·s + B·s / T⌉      within [least, most]
//! ```
//!
//! Handlers that take `T` or longer so get a worker for each delivery that waits; shorter ones
//! share. The pool grows at once, and only while something waits. It shrinks by idleness alone:
//! the worker that rested last is woken first, and one that was not needed for a while ends, so
//! that a gap between two bursts ends nobody.

use std::time::{Duration, Instant};

/// Arrivals are counted at least this long before their rate is taken.
const WINDOW: Duration = Duration::from_millis(5);

/// How far back the rate of arrivals looks, in seconds.
const MEMORY: f64 = 0.1;

/// Measures the rate of arrivals.
pub(super) struct Arrivals {
    /// Since the rate was taken.
    count: u64,
    taken_at: Option<Instant>,
    /// A second.
    rate: f64,
}

impl Arrivals {
    pub(super) const fn new() -> Self {
        Self { count: 0, taken_at: None, rate: 0.0 }
    }

    pub(super) fn count(&mut self, arrived: usize) {
        self.count += arrived as u64;
    }

    /// How many arrive a second, as a moving mean.
    #[allow(clippy::cast_precision_loss, reason = "a rate needs no more precision")]
    pub(super) fn rate(&mut self, now: Instant) -> f64 {
        let Some(taken_at) = self.taken_at else {
            self.taken_at = Some(now);
            self.count = 0;
            return self.rate;
        };
        let span = now.saturating_duration_since(taken_at);
        if span >= WINDOW {
            let span = span.as_secs_f64();
            let weight = span / (span + MEMORY);
            self.rate += weight * (self.count as f64 / span - self.rate);
            self.count = 0;
            self.taken_at = Some(now);
        }
        self.rate
    }
}

/// What the formula of the module is made of.
pub(super) struct Load {
    /// Arrivals a second.
    pub(super) rate: f64,
    /// How long a delivery takes.
    pub(super) service: Duration,
    /// Deliveries that wait and could be begun.
    pub(super) backlog: usize,
    /// Workers that have been at one handler for longer than the target.
    pub(super) occupied: u32,
}

impl Load {
    /// How many workers it wants, if what waits is to be begun within `target`.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from a float saturates, and the sum is positive"
    )]
    pub(super) fn workers(&self, target: Duration) -> u32 {
        let service = self.service.as_secs_f64();
        let steady = self.rate * service;
        let draining = self.backlog as f64 * service / target.as_secs_f64();
        // An error of rounding must not call for a worker.
        let wanted = (steady + draining - 1e-9).ceil().max(0.0) as u32;
        self.occupied.saturating_add(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: Duration = Duration::from_millis(10);

    fn wanted(rate: f64, service_ms: u64, backlog: usize, occupied: u32) -> u32 {
        let service = Duration::from_millis(service_ms);
        Load { rate, service, backlog, occupied }.workers(TARGET)
    }

    #[test]
    fn workers_follow_the_rate_the_service_time_and_the_backlog() {
        assert_eq!(wanted(0.0, 1, 0, 0), 0);
        assert_eq!(wanted(3000.0, 1, 0, 0), 3, "3,000 a second of 1 ms keep three busy");
        assert_eq!(wanted(3000.0, 2, 0, 0), 6);
        assert_eq!(wanted(0.0, 1, 20, 0), 2, "20 ms of work within 10 ms");
        assert_eq!(wanted(0.0, 10, 4, 0), 4, "one each when one takes the whole target");
        assert_eq!(wanted(1000.0, 1, 10, 5), 7, "those that will not take part count besides");
    }

    #[test]
    fn the_rate_is_that_of_the_last_moments() {
        let mut arrivals = Arrivals::new();
        let mut now = Instant::now();
        arrivals.rate(now);
        let mut pass = |arrivals: &mut Arrivals, count| {
            (0..100).for_each(|_| {
                now += Duration::from_millis(10);
                arrivals.count(count);
                arrivals.rate(now);
            });
            arrivals.rate(now)
        };
        let busy = pass(&mut arrivals, 20);
        assert!((busy - 2000.0).abs() < 10.0, "{busy}");
        let quiet = pass(&mut arrivals, 0);
        assert!(quiet < 10.0, "{quiet}");
    }
}
