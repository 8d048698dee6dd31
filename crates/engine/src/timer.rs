//! Timers: a heap in which superseded entries are left behind and swept when they prevail.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Timers on one clock. Who is to be woken, and whether a timer is still wanted, is known by the
/// owner of `K`: a timer that fires is checked there against the time it was set for.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(u64, K)>>,
    /// How many of the timers in the heap are wanted.
    armed: usize,
}

impl<K: Ord + Copy> Timers<K> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), armed: 0 }
    }

    /// Sets a timer.
    pub(crate) fn arm(&mut self, at: u64, key: K) {
        self.armed += 1;
        self.heap.push(Reverse((at, key)));
    }

    /// One timer is no longer wanted. Sweeps with `wanted` when most of the heap is stale, so
    /// that its size stays within twice what is armed.
    pub(crate) fn disarm(&mut self, wanted: impl Fn(u64, K) -> bool) {
        self.armed -= 1;
        if self.heap.len() > 2 * self.armed + 1024 {
            self.heap.retain(|&Reverse((at, key))| wanted(at, key));
        }
    }

    /// The next timer that is due at `now`, if any; it may be stale. The caller calls
    /// [`Self::fired`] if it was wanted.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(u64, K)> {
        let &Reverse((at, _)) = self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer)
    }

    /// A popped timer was wanted and is no longer armed.
    pub(crate) fn fired(&mut self) {
        self.armed -= 1;
    }

    /// When the next timer is due. It may be a stale one, which costs a wake-up for nothing but
    /// never a missed one.
    pub(crate) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|&Reverse((at, _))| at)
    }
}

#[cfg(test)]
mod tests {
    use super::Timers;

    #[test]
    fn stale_timers_never_prevail() {
        let mut timers = Timers::new();
        timers.arm(1_000_000, u64::MAX);
        for at in 0..10_000 {
            timers.arm(at, at);
            timers.disarm(|_, key| key == u64::MAX);
            assert!(timers.heap.len() <= 2 + 1024 + 1);
        }
        while let Some((_, key)) = timers.pop_due(999_999) {
            assert_ne!(key, u64::MAX);
        }
        assert_eq!(timers.next(), Some(1_000_000));
    }
}
