//! Recovery of a log with damaged places: records that are missing, and what rests on them.
//!
//! What was in a damaged place is lost; what stands behind it is not. A record behind a gap may
//! speak of an entry whose acceptance is among the missing: nothing is left to apply it to, so it
//! is skipped. Everything else is applied as far as it goes. Decides nothing about undamaged logs:
//! those go through [`Engine::replay`], which refuses whatever does not fit.

use crate::engine::Engine;
use crate::queue::Place;
use crate::record::{AcceptedRecord, EntryId, Record};
use crate::replay::ReplayError;
use crate::table::TenantKey;
use crate::task::Outcomes;
use std::collections::BTreeMap;
use trunkline_types::{Epoch, ScheduleName, Sequence, TaskState, TenantId};

impl Engine {
    /// Takes note that the records up to a place are missing, if they are.
    pub fn replay_gap(&mut self, through: Sequence) {
        self.sequence = self.sequence.max(through);
        self.origins.gap();
    }

    /// Takes note that epochs up to this one may have been begun, though no record is left of it,
    /// so that no token is given twice.
    pub fn skip_epochs(&mut self, through: Epoch) {
        self.epoch = Epoch(self.epoch.0.max(through.0));
    }

    /// Takes in a record behind a gap. `false` if it speaks of an entry that is unknown because the
    /// record of its acceptance is missing: the record is then left out.
    ///
    /// # Errors
    /// [`ReplayError`] as [`Engine::replay`], except for an unknown entry.
    pub fn replay_behind_gap(
        &mut self,
        sequence: Sequence,
        record: Record,
    ) -> Result<bool, ReplayError> {
        let record = match record {
            // The schedule is missing; the message that it made is not.
            Record::Fired { name, accepted, .. }
                if !self.is_cleaned() && !self.knows_schedule(&name, &accepted) =>
            {
                Record::Accepted(accepted)
            }
            other => {
                self.bridge(&other);
                other
            }
        };
        match self.replay(sequence, record) {
            Ok(()) => Ok(true),
            Err(ReplayError::UnknownEntry { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Evens out the figures of inboxes and tenants once all has been read, for records that said them in full
    /// may be missing: what is there was accepted, and what is neither there nor has ended was
    /// lost. Does nothing where they add up.
    pub fn mend_figures(&mut self) {
        for inbox in self.inboxes.iter_mut() {
            let totals = inbox.totals();
            let known = totals.ended() + inbox.gauges().total();
            inbox.counters.accepted += known.saturating_sub(totals.accepted);
            inbox.counters.lost += totals.accepted.saturating_sub(known);
        }
        self.mend_tallies();
    }

    /// Evens out the figures of tenants: what memory and the index have did end.
    fn mend_tallies(&mut self) {
        let before = self.indexed.next();
        let mut known: BTreeMap<TenantKey, Outcomes> = BTreeMap::new();
        for &(key, _) in &self.tasks.ended[0].queue {
            let task = &self.tasks.rows[key];
            if self.is_indexed(task.more().place) {
                continue;
            }
            known.entry(task.tenant).or_default().add(task.state, 1);
        }
        if let Some(index) = self.config.task_index.clone() {
            // Whose only record is missing is not known but for this one.
            self.tenant_key(&TenantId::default());
            for (key, tenant) in self.tenants.iter() {
                // What cannot be read is nowhere else.
                let outcomes = index.outcomes(&tenant.id, before).unwrap_or_default();
                let sums = known.entry(key).or_default();
                sums.completed += outcomes.completed;
                sums.failed += outcomes.failed;
                sums.canceled += outcomes.canceled;
            }
        }
        for (key, Outcomes { completed, failed, canceled }) in known {
            let recorded = &mut self.tenants[key].tally.recorded;
            recorded.completed = recorded.completed.max(completed);
            recorded.failed = recorded.failed.max(failed);
            recorded.canceled = recorded.canceled.max(canceled);
            let ended = recorded.completed + recorded.failed + recorded.canceled;
            recorded.accepted = recorded.accepted.max(ended);
        }
    }

    fn knows_schedule(&mut self, name: &ScheduleName, accepted: &AcceptedRecord) -> bool {
        let tenant = self.tenant_key(&accepted.publish.envelope.tenant);
        self.tenants[tenant].schedules.contains(name)
    }

    /// Brings an entry to where it must have been for a record to follow, should the record be
    /// missing that did so.
    fn bridge(&mut self, record: &Record) {
        match record {
            Record::Continued { entry, .. } => self.make_paused(*entry),
            Record::Leased { entry, .. }
            | Record::Paused { entry, .. }
            | Record::Settled { entry, .. } => self.make_continued(*entry),
            Record::Returned(record) => self.make_continued(record.entry),
            _ => {}
        }
    }

    /// An entry that is continued was paused before.
    fn make_paused(&mut self, entry: EntryId) {
        let Some(&key) = self.replay_ids.get(&entry) else { return };
        if self.entries[key].place != Place::Paused {
            self.unqueue(key);
            self.put(key, Place::Paused);
            self.forget_token(key);
            // Nobody is told in replay whose turn it is; a start sees to that.
            let _ = self.key_leave(key);
        }
    }

    /// A paused entry of which anything else is told was continued before. What its caller said is
    /// missing.
    fn make_continued(&mut self, entry: EntryId) {
        let Some(&key) = self.replay_ids.get(&entry) else { return };
        if self.entries[key].place == Place::Paused {
            self.put(key, Place::Staged);
            self.key_rejoin(key);
            if let Some(task) = self.entries[key].task.get() {
                self.tasks.rows[task].state = TaskState::Submitted;
            }
        }
    }
}
