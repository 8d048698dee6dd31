//! When to try again, and how much to keep meanwhile.

use crate::ClientConfig;
use backon::{BackoffBuilder, ExponentialBuilder};
use std::time::Duration;

/// What a session takes from the settings of its client.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(super) connect_timeout: Duration,
    pub(super) max_outstanding: usize,
    /// The largest bound of a delay.
    pub(super) longest_delay: Duration,
    backoff: ExponentialBuilder,
}

/// Delays before attempts to reconnect.
pub(super) type Delays = Box<dyn Iterator<Item = Duration> + Send + Sync>;

impl Policy {
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let backoff = ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(config.backoff_min)
            .with_max_delay(config.backoff_max)
            .without_max_times();
        Self {
            connect_timeout: config.connect_timeout,
            max_outstanding: config.max_outstanding,
            longest_delay: config.backoff_max,
            backoff,
        }
    }

    /// Delays before each attempt, the first included, each anywhere between nothing and its
    /// bound: clients that lost the same broker do not come back in step.
    pub(super) fn delays(&self) -> Delays {
        Box::new(self.backoff.build().map(|bound| bound.mul_f64(fastrand::f64())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_bounds_that_double_up_to_the_largest() {
        let config = ClientConfig {
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_millis(350),
            ..ClientConfig::new("http://localhost")
        };
        for _ in 0..100 {
            let bounds = [100, 200, 350, 350, 350].map(Duration::from_millis);
            for (delay, bound) in Policy::new(&config).delays().zip(bounds) {
                assert!(delay <= bound, "{delay:?} is over {bound:?}");
            }
        }
        assert_eq!(Policy::new(&config).delays().take(10_000).count(), 10_000);
    }

    #[test]
    fn clients_that_lost_the_same_broker_come_back_spread_over_the_whole_delay() {
        let bound = Duration::from_secs(1);
        let config = ClientConfig { backoff_min: bound, ..ClientConfig::new("http://localhost") };
        let mut tenths = [0_u32; 10];
        for _ in 0..2_000 {
            let delay = Policy::new(&config).delays().next().unwrap();
            // The bound itself belongs to the last tenth.
            let tenth = delay.as_millis().min(999) / 100;
            tenths[usize::try_from(tenth).unwrap()] += 1;
        }
        // Each has 200 of them if they are drawn evenly, and hardly ever half of that.
        assert!(tenths.iter().all(|&drawn| drawn > 100), "{tenths:?}");
    }
}
