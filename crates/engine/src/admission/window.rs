//! Which operations of a session have been done, so that what is sent again is done once.

use crate::engine::Engine;
use crate::now::Now;
use std::collections::BTreeMap;
use trunkline_types::session::REACH;
use trunkline_types::{MessageId, Sequence, SessionId, WallTime};

/// The numbers of the operations that were done, as ranges.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Window {
    /// Disjoint, ascending, not adjacent.
    ranges: Vec<(u64, u64)>,
    /// Which envelope had come first, for the publishes that repeated an idempotency key: when
    /// its window is over, the key itself tells it no longer.
    repeats: BTreeMap<u64, MessageId>,
}

impl Window {
    #[inline]
    pub(crate) fn contains(&self, number: u64) -> bool {
        // Nearly always it is the next one.
        self.ranges.last().is_some_and(|&(_, last)| number <= last) && self.is_within(number)
    }

    fn is_within(&self, number: u64) -> bool {
        let after = self.ranges.partition_point(|&(first, _)| first <= number);
        after > 0 && self.ranges[after - 1].1 >= number
    }

    #[inline]
    pub(crate) fn insert(&mut self, number: u64) {
        match self.ranges.last_mut() {
            Some(last) if last.1 + 1 == number => last.1 = number,
            _ => self.insert_apart(number),
        }
    }

    /// Adds a number that need not follow the latest.
    fn insert_apart(&mut self, number: u64) {
        if self.contains(number) {
            return;
        }
        let after = self.ranges.partition_point(|&(first, _)| first <= number);
        self.ranges.insert(after, (number, number));
        if after + 1 < self.ranges.len() && self.ranges[after + 1].0 == number + 1 {
            self.ranges[after].1 = self.ranges[after + 1].1;
            self.ranges.remove(after + 1);
        }
        if after > 0 && self.ranges[after - 1].1 + 1 == number {
            self.ranges[after - 1].1 = self.ranges[after].1;
            self.ranges.remove(after);
        }
        self.forget_before(number.saturating_sub(REACH));
    }

    /// Forgets everything below a number.
    pub(crate) fn forget_before(&mut self, number: u64) {
        let gone = self.ranges.partition_point(|&(_, last)| last < number);
        self.ranges.drain(..gone);
        while self.repeats.first_key_value().is_some_and(|(&first, _)| first < number) {
            self.repeats.pop_first();
        }
    }

    /// Notes that a publish repeated the idempotency key of an envelope that had come first.
    pub(crate) fn insert_repeat(&mut self, number: u64, first: MessageId) {
        self.repeats.insert(number, first);
        self.forget_before(number.saturating_sub(REACH));
    }

    /// Which envelope had come first, if a publish repeated an idempotency key.
    pub(crate) fn repeat_of(&self, number: u64) -> Option<MessageId> {
        self.repeats.get(&number).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The numbers as ranges, in ascending order.
    pub(crate) fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// A window of these ranges, if they are in ascending order and apart.
    pub(crate) fn of_ranges(ranges: Vec<(u64, u64)>) -> Option<Self> {
        let whole = ranges.iter().all(|(first, last)| first <= last && *last < u64::MAX);
        let apart = whole && ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
        apart.then_some(Self { ranges, ..Self::default() })
    }
}

/// The window of a session that is gone, and until when it is remembered.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Which of its operations were done; empty for what is known from the log only.
    window: Window,
    /// Which of them a restart must know of.
    pub(crate) lasting: Window,
    /// The oldest record that a replay needs to rebuild it; none while that is not known.
    pub(crate) base: Sequence,
    /// When the session was heard of last; while records are replayed, when the latest of its
    /// operations was accepted.
    pub(crate) used_at: WallTime,
}

impl Engine {
    /// Remembers the operations of a session that is gone.
    pub(crate) fn remember_window(
        &mut self,
        now: Now,
        id: SessionId,
        (window, lasting): (Window, Window),
    ) {
        if window.is_empty() {
            return;
        }
        let base = Sequence(0);
        self.windows.insert(id, Remembered { window, lasting, base, used_at: now.wall });
        self.forgetting.push_back((now.wall, id));
        self.forget_windows(now);
    }

    /// Notes an operation that a replayed record says was done.
    pub(crate) fn replay_operation(&mut self, id: SessionId, operation: u64, at: WallTime) {
        let known = self.windows.entry(id).or_default();
        known.lasting.insert(operation);
        known.used_at = known.used_at.max(at);
    }

    /// What is known of a session that comes back: the operations that it has done, and those of
    /// them that a restart must know of.
    pub(crate) fn recall(&mut self, id: SessionId) -> (Window, Window) {
        let Remembered { window, lasting, .. } = self.windows.remove(&id).unwrap_or_default();
        if window.is_empty() { (lasting.clone(), lasting) } else { (window, lasting) }
    }

    /// Orders what was replayed by age, so that the oldest is forgotten first.
    pub(crate) fn order_windows(&mut self, now: Now) {
        let mut known: Vec<_> = self.windows.iter().map(|(&id, it)| (it.used_at, id)).collect();
        known.sort_unstable();
        self.forgetting = known.into();
        self.forget_windows(now);
    }

    /// Forgets the operations of sessions that have been gone for long, or that are too many.
    pub(crate) fn forget_windows(&mut self, now: Now) {
        let memory = self.config.session_memory;
        while let Some(&(used_at, id)) = self.forgetting.front() {
            let young = used_at.after(memory) > now.wall;
            if young && self.forgetting.len() <= self.config.remembered_sessions {
                return;
            }
            self.forgetting.pop_front();
            // A session that came back and went again is further behind in the queue.
            if self.windows.get(&id).is_some_and(|known| known.used_at == used_at) {
                self.windows.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn a_window_is_a_set_of_numbers_in_whatever_order_they_come() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut numbers: Vec<u64> = (1..=40).filter(|_| rng.bool()).collect();
            rng.shuffle(&mut numbers);
            let mut window = Window::default();
            for &number in &numbers {
                window.insert(number);
            }
            for number in 0..=42 {
                assert_eq!(window.contains(number), numbers.contains(&number), "seed {seed}");
            }
            let apart = window.ranges().windows(2).all(|pair| pair[0].1 + 1 < pair[1].0);
            assert!(apart, "seed {seed}: {window:?}");
        }
    }
}
