//! What was sent, and what of it was seen whole: each payload once.
//!
//! Sending draws numbers; handlers mark each number in a bitmap. It knows nothing of who carries
//! the payloads, so that the comparison with others counts in the same way.

use crate::payload::Stamp;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many numbers one piece of the bitmap holds.
const PIECE: u64 = 1 << 20;
/// How many pieces there may be.
const PIECES: u64 = 1 << 14;
/// Most messages of one run.
pub(crate) const MOST: u64 = PIECE * PIECES;

/// See the module.
#[derive(Debug)]
pub(crate) struct Seen {
    run: u64,
    size: usize,
    next: AtomicU64,
    pieces: Box<[OnceLock<Box<[AtomicU64]>>]>,
    doubled: AtomicU64,
    corrupt: AtomicU64,
    foreign: AtomicU64,
}

/// What arrived, up to a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Arrived {
    /// Different payloads, whole.
    pub(crate) handled: u64,
    /// Payloads that came again.
    pub(crate) doubled: u64,
    /// Payloads of which a byte was not what it was.
    pub(crate) corrupt: u64,
    /// Whole payloads that this run never sent.
    pub(crate) foreign: u64,
}

impl Seen {
    /// Nothing sent yet of payloads of `size` bytes.
    pub(crate) fn new(run: u64, size: usize) -> Self {
        Self {
            run,
            size,
            next: AtomicU64::new(0),
            pieces: (0..PIECES).map(|_| OnceLock::new()).collect(),
            doubled: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
        }
    }

    /// How large payloads are, in bytes.
    pub(crate) fn payload_size(&self) -> usize {
        self.size
    }

    /// How many numbers were drawn.
    pub(crate) fn sent(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Draws up to `count` numbers below `limit`; none is left when the range is empty.
    pub(crate) fn draw(&self, count: u64, limit: u64) -> Range<u64> {
        let limit = limit.min(MOST);
        let take = |next: u64| (next < limit).then(|| (next + count).min(limit));
        match self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(first) => first..(first + count).min(limit),
            Err(end) => end..end,
        }
    }

    /// The stamp of a number, sent now or due at `at`.
    pub(crate) fn stamp(&self, number: u64, at: u64) -> Stamp {
        Stamp { run: self.run, number, at }
    }

    /// A handler has this payload. Tells its stamp if it is whole and seen for the first time.
    /// Where several handlers have the same payload each is a copy with a number of its own, which
    /// is `copy` after that of the stamp.
    pub(crate) fn see(&self, payload: &[u8], copy: u64) -> Option<Stamp> {
        let Some(stamp) = Stamp::check(payload, self.size) else {
            self.note_damaged();
            return None;
        };
        if stamp.run != self.run {
            self.foreign.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let is_first = self.mark(stamp.number.saturating_add(copy))?;
        if !is_first {
            self.doubled.fetch_add(1, Ordering::Relaxed);
        }
        is_first.then_some(stamp)
    }

    /// Marks a number as seen. Tells whether it is for the first time; `None` if it was never sent,
    /// which counts as foreign.
    pub(crate) fn mark(&self, number: u64) -> Option<bool> {
        if number >= self.sent() {
            self.foreign.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let piece = self.pieces[index(number / PIECE)]
            .get_or_init(|| (0..PIECE / 64).map(|_| AtomicU64::new(0)).collect());
        let bit = 1 << (number % 64);
        let before = piece[index(number % PIECE / 64)].fetch_or(bit, Ordering::Relaxed);
        Some(before & bit == 0)
    }

    /// A payload came that is not what was sent.
    pub(crate) fn note_damaged(&self) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
    }

    /// How many of the numbers below a limit were seen.
    pub(crate) fn below(&self, limit: u64) -> u64 {
        let mut left = limit;
        let mut sum = 0;
        for piece in &self.pieces {
            if left == 0 {
                break;
            }
            let words = piece.get().into_iter().flatten();
            for (word, first) in words.zip((0..PIECE).step_by(64)) {
                let bits = match left.saturating_sub(first) {
                    0 => break,
                    64.. => u64::MAX,
                    some => (1 << some) - 1,
                };
                sum += u64::from((word.load(Ordering::Relaxed) & bits).count_ones());
            }
            left = left.saturating_sub(PIECE);
        }
        sum
    }

    /// What has arrived.
    pub(crate) fn arrived(&self) -> Arrived {
        Arrived {
            handled: self.below(MOST),
            doubled: self.doubled.load(Ordering::Relaxed),
            corrupt: self.corrupt.load(Ordering::Relaxed),
            foreign: self.foreign.load(Ordering::Relaxed),
        }
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("numbers are below MOST, which a usize holds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_below_a_limit_is_counted_over_words_and_pieces() {
        let seen = Seen::new(1, 64);
        let sent = PIECE + 130;
        seen.draw(sent, u64::MAX);
        let numbers = [0, 63, 64, 127, 128, PIECE - 1, PIECE, PIECE + 129];
        for number in numbers {
            assert!(seen.see(&seen.stamp(number, 0).payload(64), 0).is_some());
        }
        for limit in [0, 1, 63, 64, 65, 128, 129, PIECE - 1, PIECE, PIECE + 1, sent, MOST] {
            let expected = numbers.iter().filter(|number| **number < limit).count() as u64;
            assert_eq!(seen.below(limit), expected, "{limit}");
        }
    }
}
