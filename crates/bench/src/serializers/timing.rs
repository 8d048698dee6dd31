//! How long something takes: the median of runs, within a bound.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Long enough that reading the clock does not count.
const SAMPLE: Duration = Duration::from_micros(20);
/// For how long one thing is measured, unless it takes that long to do it three times.
const BUDGET: Duration = Duration::from_millis(200);
/// Samples of which the median is taken, at least and at most.
const SAMPLES: std::ops::RangeInclusive<usize> = 3..=2_001;
/// Runs in one sample at most.
const RUNS: u32 = 10_000;

/// What measuring came to.
pub(super) struct Timing {
    /// How long one run took: the median over the samples.
    pub(super) each: Duration,
    /// How many runs there were.
    pub(super) runs: u64,
}

/// Runs something until enough is known about how long it takes. What it gives is not optimized
/// away.
///
/// # Errors
/// The first that a run gives.
pub(super) fn median<T, E>(work: impl Fn() -> Result<T, E>) -> Result<Timing, E> {
    // The first run warms up caches and tells how many make a sample.
    let begun = Instant::now();
    black_box(work()?);
    let once = begun.elapsed().max(Duration::from_nanos(1));
    let per_sample = u32::try_from(SAMPLE.as_nanos() / once.as_nanos()).unwrap_or(RUNS);
    let per_sample = per_sample.clamp(1, RUNS);
    let mut samples = Vec::new();
    let begun = Instant::now();
    while samples.len() < *SAMPLES.start()
        || (samples.len() < *SAMPLES.end() && begun.elapsed() < BUDGET)
    {
        let sample = Instant::now();
        for _ in 0..per_sample {
            black_box(work()?);
        }
        samples.push(sample.elapsed() / per_sample);
    }
    samples.sort_unstable();
    let runs = samples.len() as u64 * u64::from(per_sample);
    Ok(Timing { each: samples[samples.len() / 2], runs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn something_slow_is_run_few_times_and_an_error_ends_it() {
        let count = Cell::new(0_u64);
        let timing = median(|| {
            count.set(count.get() + 1);
            std::thread::sleep(BUDGET / 2);
            Ok::<_, ()>(())
        });
        let Ok(Timing { each, runs }) = timing else { panic!("no run fails") };
        assert!(each >= BUDGET / 2);
        assert_eq!((runs, count.get()), (3, 4));
        assert!(median(|| Err::<(), _>("broken")).is_err());
    }
}
