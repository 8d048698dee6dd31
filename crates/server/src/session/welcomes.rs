//! Pacing: how many sessions are welcomed at the same time, who waits for it, and who is told to
//! come back later.
//!
//! After a restart thousands of clients say hello within a moment. Each hello may be a record, a
//! flush and a directory's news, and all of them at once would delay those who are back already.
//! So some are let through, the rest wait in the order in which they came, up to a bound, and
//! whoever comes beyond it is told when to try again.

use crate::entropy::random;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use trunkline_types::{Refusal, RefusalCode};

/// The least and the most after which those who are put off are told to come back; drawn for each,
/// so that they do not come back in step.
const COME_BACK: [u64; 2] = [500, 1_500];

/// The places of those who are welcomed at the same time.
#[derive(Debug)]
pub(crate) struct Welcomes {
    /// Given to those who wait in the order in which they came.
    places: Semaphore,
    at_once: usize,
    waiting: AtomicUsize,
    most_waiting: usize,
    put_off: AtomicU64,
}

impl Welcomes {
    /// So many at once, and so many that wait.
    pub(crate) fn new(at_once: usize, most_waiting: usize) -> Self {
        Self {
            places: Semaphore::new(at_once),
            at_once,
            waiting: AtomicUsize::new(0),
            most_waiting,
            put_off: AtomicU64::new(0),
        }
    }

    /// Waits for a place, which is given back when it is dropped.
    ///
    /// # Errors
    /// As many wait as may: the refusal says when to come back.
    pub(crate) async fn place(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        // While somebody waits, none is free.
        if let Ok(place) = self.places.try_acquire() {
            return Ok(place);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.most_waiting {
            self.put_off.fetch_add(1, Ordering::Relaxed);
            return Err(self.full());
        }
        Ok(self.places.acquire().await.expect("nobody closes the places"))
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many were told to come back.
    pub(crate) fn put_off(&self) -> u64 {
        self.put_off.load(Ordering::Relaxed)
    }

    fn full(&self) -> Refusal {
        let [least, most] = COME_BACK;
        let span = Duration::from_millis(least + random() % (most - least));
        let Self { at_once, most_waiting, .. } = self;
        let message = format!(
            "{at_once} sessions are being welcomed and {most_waiting} wait for it, which is the \
             limit; come back in {span:?}"
        );
        Refusal::new(RefusalCode::Unavailable, message).retry_after(span)
    }
}

/// Counts one that waits, also if it gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
