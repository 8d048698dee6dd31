//! Whether this process was alive: the load is an agent too, and one that was not scheduled for a
//! while has been silent, which must not be held against the broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often it beats.
const BEAT: Duration = Duration::from_millis(20);

/// See the module. Beats on a thread of its own until it is dropped.
#[derive(Debug)]
pub(super) struct Pulse {
    /// The longest time between two beats, in milliseconds.
    longest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Pulse {
    /// Begins to watch.
    pub(super) fn start() -> Self {
        let pulse = Self { longest: Arc::default(), stop: Arc::default() };
        let (longest, stop) = (Arc::clone(&pulse.longest), Arc::clone(&pulse.stop));
        std::thread::spawn(move || {
            let mut last = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                std::thread::sleep(BEAT);
                let gap = u64::try_from(last.elapsed().as_millis()).unwrap_or(u64::MAX);
                longest.fetch_max(gap, Ordering::Relaxed);
                last = Instant::now();
            }
        });
        pulse
    }

    /// The longest time for which this process did nothing since it was last asked.
    pub(super) fn longest(&self) -> Duration {
        Duration::from_millis(self.longest.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
