//! Payloads that have left the engine's memory are read from the log, whenever the disk gets to it:
//! before it was cleaned or after, and not at all if the broker is gone by then.

use super::broker::Mood;
use super::{Event, World};
use crate::check::{Check, Violation};
use crate::totals::Count;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use trunkline_engine::{Command, End, PayloadStore, Record};
use trunkline_log::{Reader, Storage};
use trunkline_types::{Publish, Sequence};

/// The log's records, as far as they are kept.
#[derive(Debug)]
pub(crate) struct Payloads {
    reader: Reader,
    /// The place of the first record that is kept. What is before may still be on the disk.
    kept_from: AtomicU64,
}

impl Payloads {
    pub(crate) fn new(storage: Arc<dyn Storage>, kept_from: Sequence) -> Self {
        Self { reader: Reader::new(storage, 0), kept_from: AtomicU64::new(kept_from.0) }
    }

    /// Records before a place are given up.
    pub(crate) fn keep_from(&self, place: Sequence) {
        self.kept_from.store(place.0, Ordering::Relaxed);
    }
}

impl PayloadStore for Payloads {
    fn read(&self, at: Sequence) -> Result<Arc<Publish>, String> {
        if at.0 < self.kept_from.load(Ordering::Relaxed) {
            return Err(format!("record {} was given up", at.0));
        }
        let mut result = Err("nothing was found".to_owned());
        self.reader.read(&[at.0], |_, found| {
            let decoded = found.map_err(|error| error.to_string()).and_then(|(tag, body)| {
                Record::decode(tag, body).map_err(|error| error.to_string())
            });
            let published = decoded.map(Record::into_publish);
            result = published.and_then(|it| it.ok_or("it published nothing".to_owned()));
        });
        result
    }
}

impl World {
    /// The engine wants payloads back.
    pub(crate) fn plan_load(&mut self, places: Vec<Sequence>) {
        let most = if self.rng.bool() { 200_000 } else { 20_000_000 };
        let at = self.clock.time + self.rng.u64(0..=most);
        self.calendar.plan(at, Event::Load(places));
    }

    /// The disk gets to it.
    pub(crate) fn load(&mut self, places: Vec<Sequence>) -> Check {
        if matches!(self.broker.mood, Mood::Paused { .. }) {
            self.calendar.plan(self.clock.time + 2_000_000, Event::Load(places));
            return Ok(());
        }
        self.totals.add_many(Count::Loads, places.len() as u64);
        let store = self.broker.payloads.clone();
        let payloads = places.into_iter().map(|at| (at, store.read(at))).collect();
        self.at_moment();
        self.command(Command::Loaded { payloads })
    }

    /// No disk of these fails to read what was written.
    pub(crate) fn check_readable(record: &Record) -> Check {
        match record {
            Record::Settled { end: End::DeadLettered { reason, .. }, .. }
                if reason.contains("cannot be read from the log") =>
            {
                Err(Violation::new("2 replay", reason.clone()))
            }
            _ => Ok(()),
        }
    }
}
