//! Which numbers were dropped and are still to be told.

use trunkline_types::session::NumberRange;

/// How many ranges are kept; beyond that the oldest are told as one, with what lies between.
const RANGES: usize = 64;

/// Numbers that were dropped, as ranges in ascending order. Boxed because most inboxes have none.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "every inbox is as large as the largest")]
pub(crate) struct Missed(Option<Box<Vec<NumberRange>>>);

impl Missed {
    /// Notes a number.
    pub(crate) fn push(&mut self, number: u64) {
        self.add(NumberRange { first: number, last: number });
    }

    /// Notes what was told but perhaps not heard.
    pub(crate) fn put_back(&mut self, told: &[NumberRange]) {
        for &range in told {
            self.add(range);
        }
    }

    fn add(&mut self, new: NumberRange) {
        let ranges = self.0.get_or_insert_default();
        // Those that the new one touches become one with it.
        let from = ranges.partition_point(|range| range.last.saturating_add(1) < new.first);
        let to = ranges.partition_point(|range| range.first <= new.last.saturating_add(1));
        let touched = &ranges[from..to];
        let first = touched.first().map_or(new.first, |range| range.first.min(new.first));
        let last = touched.last().map_or(new.last, |range| range.last.max(new.last));
        ranges.splice(from..to, [NumberRange { first, last }]);
        if ranges.len() > RANGES {
            ranges[1].first = ranges[0].first;
            ranges.remove(0);
        }
    }

    /// What is to be told now; it is then told.
    pub(crate) fn take(&mut self) -> Vec<NumberRange> {
        self.0.take().map_or(Vec::new(), |ranges| *ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_ranges_whatever_their_order_and_the_oldest_are_merged() {
        let mut missed = Missed::default();
        for number in [5, 3, 4, 9, 4] {
            missed.push(number);
        }
        let ranges = [NumberRange { first: 3, last: 5 }, NumberRange { first: 9, last: 9 }];
        assert_eq!(missed.take(), ranges);
        assert!(missed.take().is_empty(), "they are told once");
        missed.push(4);
        missed.put_back(&ranges);
        assert_eq!(missed.take(), ranges, "what is told again joins what came since");
        for number in (0..200).step_by(2) {
            missed.push(number);
        }
        let ranges = missed.take();
        assert_eq!(ranges.len(), RANGES);
        assert_eq!(ranges[0], NumberRange { first: 0, last: 72 });
        assert_eq!(ranges[RANGES - 1], NumberRange { first: 198, last: 198 });
    }
}
