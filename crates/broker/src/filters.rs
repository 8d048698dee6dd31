//! Filters and cron expressions, as the edge of the broker sees them: compiled when they come, so
//! that the partition finds them compiled, and filters evaluated on events before these take up the
//! partition.
//!
//! An event that waits for its time, for room or for a first subscriber meets its filters within
//! the partition, when its turn comes: who subscribes by then is known only there. What that may
//! take is bounded for each filter, and its payload is read once.

use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trunkline_engine::{Rules, Verdict, Verdicts};
use trunkline_rules::Rulebook;
use trunkline_types::session::{ClientFrame, Operation, Subscription};
use trunkline_types::{
    Destination, Filter, PatternTree, Publish, Schedule, TenantId, Topic, TopicPattern, WallTime,
};

/// Which filters there are for which topics. It follows the engine, one step behind: what it
/// misses the engine evaluates itself, and what it has too much of does no harm.
#[derive(Debug)]
pub(crate) struct FilterTable {
    rules: Arc<Rulebook>,
    /// How many subscriptions with filters there are; without any, nothing else is looked at.
    count: AtomicUsize,
    /// A lock rather than a queue to the engine, because events of all sessions read it at once
    /// and only subscriptions write it.
    tenants: RwLock<Tenants>,
}

/// The filters of each tenant, by the patterns they are for.
type Tenants = HashMap<TenantId, PatternTree<Filters>>;

/// Filters, with how many subscriptions have each.
type Filters = HashMap<Filter, usize>;

impl FilterTable {
    pub(crate) fn new(rules: Arc<Rulebook>) -> Self {
        Self { rules, count: AtomicUsize::new(0), tenants: RwLock::default() }
    }

    /// Takes note of a filter that came or went.
    pub(crate) fn note(
        &self,
        tenant: TenantId,
        pattern: &TopicPattern,
        filter: Filter,
        wanted: bool,
    ) {
        let mut tenants = self.tenants.write();
        if wanted {
            let patterns = tenants.entry(tenant).or_default();
            *patterns.get_or_insert(pattern).entry(filter).or_default() += 1;
            self.count.fetch_add(1, Ordering::Relaxed);
        } else if let Some(patterns) = tenants.get_mut(&tenant)
            && remove(patterns, pattern, &filter)
        {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Compiles the filters of subscriptions that are about to be made, so that the partition
    /// finds them compiled. What is wrong with one it finds out again, and says.
    pub(crate) fn prepare<'a>(&self, subscriptions: impl IntoIterator<Item = &'a Subscription>) {
        for filter in subscriptions.into_iter().filter_map(|one| one.filter.as_ref()) {
            let _ = self.rules.check_filter(filter);
        }
    }

    /// Reads the cron expression of a schedule and finds out when it is due after `now`, so that
    /// the partition, which asks the same, has the answer at once.
    fn prepare_schedule(&self, schedule: &Schedule, now: WallTime) {
        let _ = self.rules.next_due(&schedule.cron, &schedule.zone, now);
    }

    /// Which filters want the events in a frame. `now` is asked for schedules only, because it is
    /// of no use to most frames.
    pub(crate) fn judge(
        &self,
        tenant: &TenantId,
        frame: &ClientFrame,
        now: impl Fn() -> WallTime,
    ) -> Verdicts {
        let ClientFrame::Operations { operations, .. } = frame else { return Verdicts::new() };
        let any = self.count.load(Ordering::Relaxed) > 0;
        let mut verdicts = Verdicts::new();
        for (place, operation) in operations.iter().enumerate() {
            match operation {
                Operation::Publish(publish) if any => {
                    let judged = self.judge_one(tenant, publish);
                    if !judged.is_empty() {
                        verdicts.push((place, judged));
                    }
                }
                Operation::Subscribe(subscription) => self.prepare([subscription]),
                Operation::SetSchedule(schedule) => self.prepare_schedule(schedule, now()),
                _ => {}
            }
        }
        verdicts
    }

    fn judge_one(&self, tenant: &TenantId, publish: &Publish) -> Vec<(Filter, Verdict)> {
        match &publish.envelope.destination {
            Destination::Topic(topic) => {
                let judged = self.rules.verdicts(publish, self.filters_for(tenant, topic));
                if judged.left_out > 0 {
                    tracing::warn!(%topic, event = %publish.envelope.id, filters = judged.left_out,
                        "an event has so many filters that take long that some are not evaluated; \
                         their subscribers miss it");
                }
                judged.verdicts
            }
            _ => Vec::new(),
        }
    }

    /// The filters of every pattern that matches a topic, each once.
    fn filters_for(&self, tenant: &TenantId, topic: &Topic) -> Vec<Filter> {
        let tenants = self.tenants.read();
        let Some(patterns) = tenants.get(tenant) else { return Vec::new() };
        let filters = patterns.matching(topic).into_iter().flat_map(HashMap::keys);
        let mut filters: Vec<_> = filters.cloned().collect();
        filters.sort_unstable();
        filters.dedup();
        filters
    }
}

/// Takes one subscription with a filter away; whether there was one.
fn remove(patterns: &mut PatternTree<Filters>, pattern: &TopicPattern, filter: &Filter) -> bool {
    let Some(filters) = patterns.get_mut(pattern) else { return false };
    let Some(count) = filters.get_mut(filter) else { return false };
    *count -= 1;
    if *count == 0 {
        filters.remove(filter);
    }
    if filters.is_empty() {
        patterns.remove(pattern);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{Envelope, Kind, MessageId, Partition, Payload};

    fn event(topic: &str, payload: &str) -> Operation {
        let id = MessageId::from_parts(1, Partition(0), 1);
        let to = Destination::Topic(topic.parse().unwrap());
        let payload = Payload::new("application/json", payload.to_owned());
        Operation::Publish(Arc::new(Publish::new(Envelope::new(id, Kind::Event, to, payload))))
    }

    fn judge(table: &FilterTable, operations: Vec<Operation>) -> Vec<(usize, Vec<(String, bool)>)> {
        let frame = ClientFrame::Operations { first: 1, operations };
        let verdicts = table.judge(&TenantId::default(), &frame, || WallTime(0)).into_iter();
        let text =
            |(filter, verdict): (Filter, Verdict)| (filter.to_string(), verdict == Verdict::Wanted);
        verdicts.map(|(place, list)| (place, list.into_iter().map(text).collect())).collect()
    }

    fn note(table: &FilterTable, pattern: &str, filter: &str, wanted: bool) {
        let (pattern, filter) = (pattern.parse().unwrap(), filter.parse().unwrap());
        table.note(TenantId::default(), &pattern, filter, wanted);
    }

    #[test]
    fn an_event_is_judged_by_the_filters_of_its_topic_and_no_others() {
        let table = FilterTable::new(Arc::default());
        assert_eq!(judge(&table, vec![event("a.b", "1")]), []);
        note(&table, "a.b", "payload > 1", true);
        note(&table, "a.*", "payload > 2", true);
        note(&table, "c", "payload > 3", true);
        let verdicts = judge(&table, vec![event("x", "9"), event("a.b", "2"), event("a.c", "3")]);
        let both = vec![("payload > 1".to_owned(), true), ("payload > 2".to_owned(), false)];
        let one = vec![("payload > 2".to_owned(), true)];
        assert_eq!(verdicts, [(1, both), (2, one)]);
        let frame = ClientFrame::Operations { first: 1, operations: vec![event("c", "9")] };
        assert_eq!(table.judge(&"other".parse().unwrap(), &frame, || WallTime(0)), []);
    }

    #[test]
    fn a_filter_stays_until_its_last_subscription_goes() {
        let table = FilterTable::new(Arc::default());
        for pattern in ["a", "*"] {
            note(&table, pattern, "size > 0", true);
            note(&table, pattern, "size > 0", true);
            note(&table, pattern, "size > 0", false);
            assert_eq!(judge(&table, vec![event("a", "1")]).len(), 1);
            note(&table, pattern, "size > 0", false);
            note(&table, pattern, "size > 0", false);
            assert_eq!(judge(&table, vec![event("a", "1")]), []);
        }
        let tenants = table.tenants.read();
        assert!(tenants.values().all(PatternTree::is_empty));
        assert_eq!(table.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_cron_expression_of_a_schedule_is_read_before_the_partition_is_taken_up() {
        let rules = Arc::new(Rulebook::new());
        let table = FilterTable::new(rules.clone());
        let Operation::Publish(publish) = event("a", "1") else { unreachable!() };
        let schedule = |cron: &str| {
            let (name, zone) = ("s".parse().unwrap(), "Europe/Berlin".into());
            let publish = publish.clone();
            Operation::SetSchedule(Box::new(Schedule { name, cron: cron.into(), zone, publish }))
        };
        let operations = vec![schedule("0 12 * * *"), schedule("0 25 * * *")];
        assert_eq!(rules.expressions(), 0);
        judge(&table, operations);
        assert_eq!(rules.expressions(), 2, "also one that is wrong");
    }
}
