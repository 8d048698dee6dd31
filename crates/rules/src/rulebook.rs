//! The rules as the engine asks for them.

use crate::cron::Timetables;
use crate::filter::{EVENT_WORK, Event, Programs, Read};
use parking_lot::Mutex;
use std::sync::Arc;
use trunkline_engine::{Rules, Verdict};
use trunkline_types::{Filter, Publish, WallTime};

/// Reads filters and cron expressions. What was compiled is kept, up to a bound, so that each is
/// read once; share one rulebook for that.
///
/// ```
/// use trunkline_engine::Rules;
/// use trunkline_rules::Rulebook;
/// use trunkline_types::{Filter, WallTime};
///
/// let rules = Rulebook::new();
/// let error = rules.check_filter(&Filter::new("hedders.env == 'prod'")?).unwrap_err();
/// assert_eq!(error, "unknown variable 'hedders' at column 1; did you mean 'headers'?");
/// assert_eq!(rules.next_due("0 12 * * *", "", WallTime(0)), Ok(Some(WallTime(43_200_000))));
/// # Ok::<(), trunkline_types::FilterError>(())
/// ```
#[derive(Debug, Default)]
pub struct Rulebook {
    programs: Programs,
    timetables: Timetables,
    /// The payload that was read last for [`Rules::matches`], which is asked about one event for
    /// many filters in a row. Short: it is taken out and put back.
    latest: Mutex<Option<Arc<Read>>>,
}

/// What filters say of an event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Judged {
    /// Each filter with what it says of the event, in the order in which they were asked.
    pub verdicts: Vec<(Filter, Verdict)>,
    /// For how many of them nothing was left of the work that there may be with an event.
    pub left_out: usize,
}

impl Rulebook {
    /// A rulebook that has not compiled anything yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many cron expressions are kept as they were read, for who watches that they are.
    pub fn expressions(&self) -> usize {
        self.timetables.len()
    }

    /// Which of some filters want an event. Its payload is read at most once, and only if one of
    /// them looks into it. A filter that does not compile wants nothing. They share a bound on the
    /// work with the event, some two tenths of a second at worst; those with the least work come
    /// first.
    pub fn verdicts(&self, publish: &Publish, filters: impl IntoIterator<Item = Filter>) -> Judged {
        let event = Event::new(publish);
        let mut judged = Judged::default();
        let mut programs = Vec::new();
        for (place, filter) in filters.into_iter().enumerate() {
            if let Ok(program) = self.programs.get(&filter) {
                programs.push((program.cost(&event), place, program));
            }
            judged.verdicts.push((filter, Verdict::Unwanted));
        }
        programs.sort_unstable_by_key(|&(cost, place, _)| (cost, place));
        let mut left = EVENT_WORK;
        for (cost, place, program) in programs {
            if let Some(rest) = left.checked_sub(cost) {
                left = rest;
                judged.verdicts[place].1 = program.wants(&event).into();
            } else {
                judged.verdicts[place].1 = Verdict::LeftOut;
                judged.left_out += 1;
            }
        }
        judged
    }
}

impl Rules for Rulebook {
    fn check_filter(&self, filter: &Filter) -> Result<(), String> {
        self.programs.get(filter).map(drop)
    }

    /// Bounded for each filter alone, because the answer depends on nothing but the arguments.
    fn matches(&self, filter: &Filter, publish: &Publish) -> bool {
        let Ok(program) = self.programs.get(filter) else { return false };
        let event = Event::known(publish, self.latest.lock().take());
        let wanted = program.wants(&event);
        *self.latest.lock() = event.read();
        wanted
    }

    fn next_due(
        &self,
        cron: &str,
        zone: &str,
        after: WallTime,
    ) -> Result<Option<WallTime>, String> {
        self.timetables.next_due(cron, zone, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{Destination, Envelope, Kind, MessageId, Partition, Payload};

    fn event(payload: &str) -> Publish {
        let id = MessageId::from_parts(1, Partition(0), 1);
        let to = Destination::Topic("t".parse().unwrap());
        let payload = Payload::new("application/json", payload.to_owned());
        Publish::new(Envelope::new(id, Kind::Event, to, payload))
    }

    fn filter(text: &str) -> Filter {
        Filter::new(text).unwrap()
    }

    #[test]
    fn a_payload_is_read_once_for_all_who_ask_about_it_in_a_row() {
        let rules = Rulebook::new();
        let (first, second) = (event("[1]"), event("[1]"));
        let read = || rules.latest.lock().clone().unwrap();
        assert!(rules.matches(&filter("payload[0] == 1"), &first));
        let before = read();
        assert!(rules.matches(&filter("size(payload) == 1"), &first.clone()));
        assert!(Arc::ptr_eq(&before, &read()), "the same bytes, wherever they are named");
        assert!(rules.matches(&filter("payload[0] == 1"), &second));
        assert!(!Arc::ptr_eq(&before, &read()), "other bytes, although they say the same");
        let mut typed = second.clone();
        typed.envelope.payload.content_type = "application/octet-stream".into();
        assert!(!rules.matches(&filter("payload[0] == 1"), &typed), "and not of that type");
    }

    #[test]
    fn the_filters_of_an_event_share_a_bound_and_the_cheap_ones_come_first() {
        let rules = Rulebook::new();
        let many = vec!["1"; 4000].join(",");
        let large = event(&format!("[{many}]"));
        // Each within its own bound, which is a quarter of what all may have.
        let long =
            |n| filter(&format!("payload.all(x, x == 1 && x != {n} && x > 0) && size > {n}"));
        let mut filters: Vec<_> = (2..30).map(long).collect();
        assert!(filters.iter().all(|filter| rules.matches(filter, &large)));
        filters.push(filter("topic == 't'"));
        filters.push(filter("topic =="));
        let judged = rules.verdicts(&large, filters.clone());
        let count = |of| judged.verdicts.iter().filter(|&&(_, verdict)| verdict == of).count();
        let wanted = count(Verdict::Wanted);
        assert!(judged.left_out > 0 && wanted > 1);
        assert_eq!(count(Verdict::LeftOut), judged.left_out);
        assert_eq!(wanted + judged.left_out + 1, filters.len(), "one does not compile");
        assert_eq!(
            judged.verdicts[28].1,
            Verdict::Wanted,
            "the cheap one is judged whatever the others take"
        );
        assert!(judged.verdicts.iter().map(|(filter, _)| filter).eq(&filters));
        let small = rules.verdicts(&event("[1]"), filters);
        assert_eq!(small.left_out, 0);
    }
}
