//! Payloads that have left the engine's memory are read from the log, whenever the disk gets to it:
//! before it was cleaned or after, and not at all if the broker is gone by then. Now and then the
//! disk fails to read one.

use super::broker::Mood;
use super::{Event, World};
use crate::check::{Check, Violation};
use crate::laws::spilling::{self, Where};
use crate::totals::Count;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use trunkline_engine::{Carried, Command, End, EntryId, PayloadStore, Record};
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
    pub(crate) fn plan_load(&mut self, places: Vec<Sequence>) -> Check {
        for &at in &places {
            let number = self.entry_at(at).ok_or_else(|| spilling::nothing_there(at))?;
            let tenant = self.tenant_of_entry(number);
            spilling::asked(&mut self.models[tenant], at, number.0)?;
        }
        let most = if self.rng.bool() { 200_000 } else { 20_000_000 };
        let at = self.clock.time + self.rng.u64(0..=most);
        self.calendar.plan(at, Event::Load(places));
        Ok(())
    }

    /// The entry whose payload the record at a place has.
    fn entry_at(&self, at: Sequence) -> Option<EntryId> {
        let (place, record) = self.broker.journal_from(at).first()?;
        match record {
            _ if *place != at => None,
            Record::Accepted(accepted) => Some(accepted.first_entry),
            Record::Fired { accepted, .. } | Record::Redriven { accepted, .. } => {
                Some(accepted.first_entry)
            }
            Record::Carried(carried) => match &**carried {
                Carried::Entry(said) => Some(said.entry),
                _ => None,
            },
            _ => None,
        }
    }

    /// The disk gets to it.
    pub(crate) fn load(&mut self, places: Vec<Sequence>) -> Check {
        if matches!(self.broker.mood, Mood::Paused { .. }) {
            self.calendar.plan(self.clock.time + 2_000_000, Event::Load(places));
            return Ok(());
        }
        self.totals.add_many(Count::Loads, places.len() as u64);
        self.at_moment();
        let store = self.broker.payloads.clone();
        let mut payloads = Vec::new();
        for at in places {
            let fails = !self.quiet && self.chance(self.plan.faults.unread);
            self.totals.add_many(Count::Unread, u64::from(fails));
            self.notice(|model| spilling::came(model, at, !fails));
            let read = if fails { Err("the disk fails".to_owned()) } else { store.read(at) };
            payloads.push((at, read));
        }
        self.command(Command::Loaded { payloads })
    }

    /// Whatever the disk has not failed to read is there.
    pub(crate) fn check_readable(&self, record: &Record) -> Check {
        match record {
            Record::Settled { entry, end: End::DeadLettered { reason, .. }, .. }
                if reason.contains("cannot be read from the log")
                    && self.models.iter().all(|model| !model.unread.contains(&entry.0)) =>
            {
                Err(Violation::new("spilling", reason.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Checks where payloads are said to be.
    pub(crate) fn check_payloads(&self) -> Check {
        if self.broker.written != self.broker.latest() {
            // What was read to be said again stays in memory until that is written.
            return Ok(());
        }
        let found = self.broker.engine.payloads();
        let found = Where { memory: found.memory_bytes, disk: found.disk_bytes };
        spilling::figures(&self.models, found)
    }
}
