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
        let Some(_waiting) = self.wait() else {
            self.put_off.fetch_add(1, Ordering::Relaxed);
            return Err(self.full());
        };
        Ok(self.places.acquire().await.expect("nobody closes the places"))
    }

    /// One more waits, unless as many wait as may: then nobody is counted, not even for a moment,
    /// in which another would be put off for nothing.
    fn wait(&self) -> Option<Waiting<'_>> {
        let one_more = |waiting| (waiting < self.most_waiting).then_some(waiting + 1);
        let counted = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        counted.is_ok().then(|| Waiting(&self.waiting))
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

#[cfg(test)]
mod tests {
    use super::Welcomes;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn whoever_is_put_off_is_never_counted_among_those_who_wait() {
        const TIMES: u64 = 20_000;
        let welcomes = Welcomes::new(1, 1);
        let mut context = Context::from_waker(Waker::noop());
        let mut first = pin!(welcomes.place());
        let first = first.as_mut().poll(&mut context);
        assert!(first.is_ready());
        let mut second = pin!(welcomes.place());
        assert!(second.as_mut().poll(&mut context).is_pending());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut context = Context::from_waker(Waker::noop());
                for _ in 0..TIMES {
                    let third = pin!(welcomes.place()).poll(&mut context);
                    assert!(matches!(third, Poll::Ready(Err(_))));
                }
            });
            while welcomes.put_off() < TIMES {
                assert_eq!(welcomes.waiting(), 1);
            }
        });
    }
}
