//! What the driver does beside commands and records: evaluates filters, feeds the index, and brings other settings into force.

use super::World;
use super::broker::Mood;
use crate::check::Check;
use crate::model::wants;
use crate::plan;
use crate::totals::Count;
use std::time::Duration;
use trunkline_engine::{Command, Past, Verdict, Verdicts};
use trunkline_types::session::{ClientFrame, Operation};
use trunkline_types::{Destination, Filter, MessageId, Routing, TopicPattern, WhenFull};

impl World {
    /// Evaluates filters for the events of a frame, now and then, and now and then only some.
    pub(crate) fn verdicts(&mut self, tenant: usize, frame: &ClientFrame) -> Verdicts {
        let ClientFrame::Operations { operations, .. } = frame else { return Vec::new() };
        if self.broker.filters.is_empty() || !self.chance(self.plan.verdicts) {
            return Vec::new();
        }
        let mut verdicts = Vec::new();
        for (place, operation) in operations.iter().enumerate() {
            let Operation::Publish(publish) = operation else { continue };
            let Destination::Topic(topic) = &publish.envelope.destination else { continue };
            let matching = self.broker.filters.iter().filter(|(pattern, _)| pattern.matches(topic));
            let mut known: Vec<(Filter, Verdict)> = matching
                .map(|(_, filter)| (filter.clone(), wants::wants(filter, publish).into()))
                .collect();
            if !known.is_empty() && self.rng.u8(..) < 200 {
                self.leave_out(tenant, publish.envelope.id, &mut known);
                self.totals.add(Count::Verdicts);
                verdicts.push((place, known));
            }
        }
        verdicts
    }

    /// Leaves the rest of some filters out, as if nothing were left of the work there may be with
    /// one event.
    fn leave_out(&mut self, tenant: usize, id: MessageId, known: &mut [(Filter, Verdict)]) {
        if !self.chance(200) {
            return;
        }
        let first = self.rng.usize(..known.len());
        for (filter, verdict) in &mut known[first..] {
            self.totals.add(Count::Costly);
            *verdict = Verdict::LeftOut;
            self.models[tenant].leave_out(id, filter);
        }
    }

    /// A subscription with a filter came or went.
    pub(crate) fn note_filter(&mut self, pattern: TopicPattern, filter: Filter, wanted: bool) {
        let filters = &mut self.broker.filters;
        if wanted {
            filters.push((pattern, filter));
        } else if let Some(at) =
            filters.iter().position(|row| *row == (pattern.clone(), filter.clone()))
        {
            filters.swap_remove(at);
        }
    }

    /// The index takes in some of the records that are on disk, and the engine is told.
    pub(crate) fn feed_index(&mut self) -> Check {
        if !self.plan.indexed || self.broker.mood != Mood::Up {
            return Ok(());
        }
        let through = self.broker.index.through;
        let synced = self.broker.synced;
        let new = self.broker.journal.iter().filter(|(at, _)| *at > through && *at <= synced);
        let count = new.clone().count();
        if count == 0 {
            return Ok(());
        }
        let window = self.broker.config.key_window;
        let some = self.rng.usize(1..=count);
        let (mut keys, mut last) = (0, through);
        for (at, record) in new.take(some) {
            if let Some(row) = record.key_row(window) {
                self.broker.index.insert(row);
                keys += 1;
            }
            last = *at;
        }
        while let Some(past) = self.broker.past.pop_front_if(|past| past.place() <= last) {
            if let Past::Ended(_) = &past {
                self.totals.add(Count::History);
            }
            self.broker.index.insert_past(past);
        }
        self.broker.index.through = last;
        for _ in 0..keys {
            self.totals.add(Count::Indexed);
        }
        self.at_moment();
        self.command(Command::Indexed { through: last })
    }

    /// Other settings are in force from now on, as after a reload of the configuration.
    pub(crate) fn configure(&mut self) -> Check {
        self.totals.add(Count::Configured);
        let lease = self.lease();
        let rng = &mut self.rng;
        let config = &mut self.broker.config;
        // Never longer than planned: how often the machine stands still is drawn for that.
        config.lease = Duration::from_nanos(rng.u64(lease / 2..=lease));
        config.losses = rng.u32(0..=4);
        config.priority_weights = [1, 2, 4, 8].map(|most| rng.u8(1..=most));
        config.when_full = WhenFull::ALL[rng.usize(..WhenFull::ALL.len())];
        config.wait = Duration::from_millis(rng.u64(1..=400));
        config.warning = rng.u8(30..=100);
        config.routing = Routing::ALL[rng.usize(..Routing::ALL.len())];
        config.breaker_failures = if rng.bool() { 0 } else { rng.u32(2..=6) };
        config.breaker_window = Duration::from_millis(rng.u64(100..=2000));
        config.breaker_open = Duration::from_millis(rng.u64(20..=600));
        config.backoff_base = Duration::from_millis(rng.u64(1..=60));
        config.backoff_cap = Duration::from_millis(rng.u64(20..=400));
        if config.payload_memory < plan::SPILLS {
            config.payload_memory = rng.u64(0..=300);
        }
        let config = self.broker.config.clone();
        self.at_moment();
        self.notice(|model| model.configure(plan::rules(&config)));
        self.command(Command::Configure(Box::new(config)))
    }
}
