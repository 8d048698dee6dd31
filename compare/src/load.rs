//! The load of a rival: payloads that prove themselves, a window, and counts that must agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::seen::{Arrived, Seen};

/// Bytes of each payload.
pub(crate) const PAYLOAD: usize = 256;
/// How many messages a sender makes at once, as Trunkline's does.
pub(crate) const BATCH: u32 = 256;
/// How many settlements are given back to the window at once.
const LUMP: u64 = 64;
/// How long the last messages may take to be settled before they count as lost.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether they are.
const LOOK: Duration = Duration::from_micros(200);

/// What a turn came to.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// How many were done a second.
    pub(crate) rate_per_s: f64,
    /// The median time of one in microseconds, where each was timed.
    pub(crate) p50_us: Option<f64>,
}

/// What senders and handlers share.
#[derive(Debug)]
pub(crate) struct Load {
    seen: Seen,
    begun: Instant,
    settled: AtomicU64,
    window: Semaphore,
    spans: Mutex<Histogram<u64>>,
    patience: Duration,
}

impl Load {
    /// A load with so many in flight at most, where the rival has no bound of its own.
    pub(crate) fn new(window: u32) -> Arc<Self> {
        Arc::new(Self {
            seen: Seen::new(fastrand::u64(..), PAYLOAD),
            begun: Instant::now(),
            settled: AtomicU64::new(0),
            window: Semaphore::new(window as usize),
            spans: Mutex::new(Histogram::new(3).expect("three digits are allowed")),
            patience: PATIENCE,
        })
    }

    /// The next payloads, as many as `count`.
    pub(crate) fn make(&self, count: u32) -> impl Iterator<Item = Bytes> + use<'_> {
        let at = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let numbers = self.seen.draw(u64::from(count), u64::MAX);
        numbers.map(move |number| self.seen.stamp(number, at).payload(self.seen.payload_size()))
    }

    /// One payload for `copies` receivers, each of which will see a number of its own.
    pub(crate) fn make_one(&self, copies: u32) -> Bytes {
        let first = self.seen.draw(u64::from(copies), u64::MAX).start;
        let at = u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.seen.stamp(first, at).payload(PAYLOAD)
    }

    /// Waits for room in the window.
    pub(crate) async fn room(&self, count: u32) {
        if let Ok(permits) = self.window.acquire_many(count).await {
            permits.forget();
        }
    }

    /// A handler has a payload.
    pub(crate) fn see(&self, payload: &[u8], copy: u32) {
        self.seen.see(payload, u64::from(copy));
    }

    /// A handler is done with some. Gives back their room.
    pub(crate) fn settle(&self, count: u64) {
        let before = self.settled.fetch_add(count, Ordering::AcqRel);
        let lumps = (before + count) / LUMP - before / LUMP;
        if lumps > 0 {
            self.window.add_permits(usize::try_from(lumps * LUMP).unwrap_or(usize::MAX));
        }
    }

    /// A handler has one and is done with it.
    pub(crate) fn handle(&self, payload: &[u8]) {
        self.see(payload, 0);
        self.settle(1);
    }

    /// A reply came: it must be what was asked.
    pub(crate) fn reply(&self, asked: &[u8], reply: &[u8], span: Duration) {
        if asked == reply {
            self.note(span);
        } else {
            self.seen.note_damaged();
        }
    }

    /// One took so long.
    pub(crate) fn note(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        // It grows as it must; only a histogram with a fixed range refuses.
        let _ = self.spans.lock().record(nanos);
    }

    /// How many are sent and not settled.
    pub(crate) fn open(&self) -> u64 {
        self.seen.sent().saturating_sub(self.settled.load(Ordering::Acquire))
    }

    /// Warms up for a quarter of the time, at most a second, and measures. `work` offers load
    /// until an instant, and has sent all of it when it returns; the turn ends when all is settled.
    ///
    /// # Errors
    /// The work fails, or the counts do not agree.
    pub(crate) async fn measure(
        &self,
        seconds: f64,
        work: impl AsyncFn(Instant) -> Result<()>,
    ) -> Result<Turn> {
        self.phase((seconds / 4.0).min(1.0), &work).await?;
        self.spans.lock().reset();
        let before = self.settled.load(Ordering::Acquire);
        let span = self.phase(seconds, &work).await?;
        let done = self.settled.load(Ordering::Acquire) - before;
        Ok(self.turn(done, span))
    }

    async fn phase(
        &self,
        seconds: f64,
        work: &impl AsyncFn(Instant) -> Result<()>,
    ) -> Result<Duration> {
        let begun = Instant::now();
        work(begun + Duration::from_secs_f64(seconds)).await?;
        self.all_settled().await?;
        Ok(begun.elapsed())
    }

    /// What so many in that time come to.
    pub(crate) fn turn(&self, done: u64, span: Duration) -> Turn {
        let spans = self.spans.lock();
        #[allow(clippy::cast_precision_loss, reason = "both are far below 2^52")]
        Turn {
            rate_per_s: done as f64 / span.as_secs_f64(),
            p50_us: (!spans.is_empty()).then(|| spans.value_at_quantile(0.5) as f64 / 1e3),
        }
    }

    /// Waits until all that was sent is settled, and checks that each was seen once and whole.
    ///
    /// # Errors
    /// Something is missing, doubled, damaged or foreign.
    pub(crate) async fn all_settled(&self) -> Result<()> {
        let mut patience = Instant::now() + self.patience;
        let mut open = u64::MAX;
        while self.open() > 0 && Instant::now() < patience {
            if self.open() < open {
                open = self.open();
                patience = Instant::now() + self.patience;
            }
            tokio::time::sleep(LOOK).await;
        }
        let (sent, settled) = (self.seen.sent(), self.settled.load(Ordering::Acquire));
        let arrived = self.seen.arrived();
        let right = Arrived { handled: sent, ..Arrived::default() };
        if arrived != right || settled != sent {
            bail!("the counts do not agree: sent {sent}, settled {settled}, {arrived:?}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Handler = fn(&Load, &Bytes);

    #[tokio::test]
    async fn what_is_missing_doubled_or_damaged_has_no_figure() {
        let twice = |load: &Load, payload: &Bytes| {
            load.handle(payload);
            load.handle(payload);
        };
        let damaged = |load: &Load, payload: &Bytes| {
            let mut bytes = payload.to_vec();
            bytes[99] ^= 1;
            load.handle(&bytes);
        };
        let well = |load: &Load, payload: &Bytes| load.handle(payload);
        let lost = |_: &Load, _: &Bytes| {};
        let handlers: [(Handler, bool); 4] =
            [(well, true), (lost, false), (twice, false), (damaged, false)];
        for (handle, agrees) in handlers {
            let mut load = Load::new(1);
            Arc::get_mut(&mut load).unwrap().patience = Duration::ZERO;
            for payload in load.make(10).collect::<Vec<_>>() {
                handle(&load, &payload);
            }
            assert_eq!(load.all_settled().await.is_ok(), agrees);
        }
    }

    #[tokio::test]
    async fn room_comes_back_with_what_is_settled() {
        let load = Load::new(64);
        load.room(64).await;
        load.settle(63);
        assert_eq!(load.window.available_permits(), 0);
        load.settle(1);
        load.room(64).await;
    }

    #[tokio::test]
    async fn each_receiver_of_a_copy_has_its_own_number() {
        let load = Load::new(1);
        let payload = load.make_one(3);
        for copy in 0..3 {
            load.see(&payload, copy);
        }
        load.settle(3);
        load.all_settled().await.unwrap();
        load.see(&payload, 3);
        load.all_settled().await.unwrap_err();
    }
}
