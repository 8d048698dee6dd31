//! Recovery: records make an engine what the one that wrote them was, in all that is durable.

use crate::admission::NO_SESSION;
use crate::defect::Defect;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::{Inbox, Place};
use crate::record::{AcceptedRecord, EntryId, Record};
use crate::settle::Use;
use crate::table::{EntryKey, SessionKey};
use smol_str::SmolStr;
use thiserror::Error;
use trunkline_types::{AgentId, Epoch, InboxAddress, ScheduleName, Sequence, SessionId, WallTime};

/// Why a record cannot follow the ones before it. The log is whole, so this means that it was
/// written by something else than this engine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReplayError {
    /// The record's place is not the next one.
    #[error("record {found:?} follows record {last:?}; one is missing")]
    Gap {
        /// The place of the record before.
        last: Sequence,
        /// The place of this record.
        found: Sequence,
    },
    /// The record speaks of an entry that does not exist.
    #[error("record {at:?} speaks of entry {entry:?}, which does not exist")]
    UnknownEntry {
        /// The place of the record.
        at: Sequence,
        /// The entry.
        entry: EntryId,
    },
    /// The record does not fit the state that the ones before it lead to.
    #[error("record {at:?} does not fit what came before: {problem}")]
    Contradiction {
        /// The place of the record.
        at: Sequence,
        /// What does not fit.
        problem: &'static str,
    },
}

impl Engine {
    /// Takes in a record of the log.
    ///
    /// # Errors
    /// [`ReplayError`] if it does not fit the ones before it. The engine is then of no use.
    #[allow(clippy::too_many_lines, reason = "one arm for each kind of record")]
    pub fn replay(&mut self, sequence: Sequence, record: Record) -> Result<(), ReplayError> {
        if self.origins.first.is_none() {
            self.origins.first = Some(sequence);
        } else if sequence != self.sequence.next() {
            return Err(ReplayError::Gap { last: self.sequence, found: sequence });
        }
        self.sequence = sequence;
        let before = self.origins.saying.take();
        match record {
            Record::Boot { epoch, at } => {
                self.replay_boot(epoch, at);
                if !self.planted(Defect::RepeatedToken) {
                    self.epoch = epoch;
                }
            }
            Record::Carried(record) => self.replay_carried(sequence, *record, before)?,
            Record::Agent(record) => {
                self.apply_agent(*record);
            }
            Record::Subscribed { tenant, agent, subscription } => {
                let tenant = self.tenant_key(&tenant);
                let agent = self.agent_key(tenant, &agent);
                self.apply_subscribed(agent, &subscription, true);
            }
            Record::Unsubscribed { tenant, agent, subscription } => {
                let tenant = self.tenant_key(&tenant);
                let agent = self.agent_key(tenant, &agent);
                self.apply_subscribed(agent, &subscription, false);
            }
            Record::Accepted(record) => self.replay_accepted(*record),
            Record::Leased { entry, token, session, agent, at } => {
                let Some(key) = self.entry_key(sequence, entry)? else { return Ok(()) };
                let session = self.replay_session(key, session, &agent);
                let id = self.sessions[session].id;
                let Some(agent) = self.sessions[session].agent else {
                    let problem = "a session without an agent holds a lease";
                    return Err(ReplayError::Contradiction { at: sequence, problem });
                };
                self.judge_lease(key, token);
                self.unqueue(key);
                self.apply_leased(key, token, session, id, agent, at);
            }
            Record::Begun { entry } => {
                let Some(key) = self.entry_key(sequence, entry)? else { return Ok(()) };
                if let Some(lease) = self.lease_mut(key) {
                    lease.begun = true;
                }
            }
            Record::Ran { entry, ran } => {
                let Some(key) = self.entry_key(sequence, entry)? else { return Ok(()) };
                self.apply_ran(key, ran);
            }
            Record::Returned(record) => {
                let Some(key) = self.entry_key(sequence, record.entry)? else { return Ok(()) };
                if !record.token_stays {
                    self.use_up_token(key, Some(Use::GivenBack));
                }
                self.apply_returned(key, *record);
            }
            Record::Paused { entry, reason, message, at } => {
                let Some(key) = self.entry_key(sequence, entry)? else { return Ok(()) };
                self.use_up_token(key, Some(Use::Paused));
                self.apply_paused(key, reason, message, at);
            }
            Record::Continued { entry, payload, from, session, operation, at } => {
                self.replay_operation(session, operation, at);
                let Some(key) = self.entry_key(sequence, entry)? else { return Ok(()) };
                if self.entries[key].place != Place::Paused {
                    let problem = "an entry is continued that was not paused";
                    return Err(ReplayError::Contradiction { at: sequence, problem });
                }
                self.apply_continued(key, payload, from, at);
            }
            Record::Settled { entry, end, at } => {
                let Some(key) = self.entry_key(sequence, entry)? else { return Ok(()) };
                self.replay_ids.remove(&entry);
                self.use_up_token(key, Use::of_end(&end));
                self.apply_ended(key, end, at);
            }
            Record::Artifact { entry, session, operation, chunk, at } => {
                self.replay_operation(session, operation, at);
                let Some(key) = self.entry_key(sequence, entry)? else { return Ok(()) };
                if let Some(task) = self.entries[key].task.get() {
                    self.task_artifact(task, chunk, at);
                }
            }
            Record::Lost { tenant, inbox, count } => {
                let tenant = self.tenant_key(&tenant);
                let inbox = match inbox {
                    Some(address) => self.inbox(tenant, &address),
                    None => self.pending_inbox(tenant),
                };
                self.apply_lost(inbox, count);
            }
            Record::InboxSet { tenant, inbox, settings, session, operation, at } => {
                self.replay_operation(session, operation, at);
                let tenant = self.tenant_key(&tenant);
                let inbox = self.inbox(tenant, &inbox);
                self.apply_inbox_set(inbox, *settings);
            }
            Record::AgentSet { tenant, agent, control, session, operation, at } => {
                self.replay_operation(session, operation, at);
                let tenant = self.tenant_key(&tenant);
                let agent = self.agent_key(tenant, &agent);
                if !self.planted(Defect::ForgottenControl) {
                    self.apply_agent_set(agent, control);
                }
            }
            Record::AgentGone { tenant, agent, session, operation, at } => {
                let tenant = self.tenant_key(&tenant);
                let agent = self.agent_key(tenant, &agent);
                self.replay_operation(session, operation, at);
                self.apply_agent_gone(agent);
            }
            Record::Scheduled(record) => {
                if record.session != NO_SESSION {
                    self.replay_operation(record.session, record.operation, record.at);
                }
                self.apply_scheduled(*record);
            }
            Record::Unscheduled { tenant, name, session, operation, at } => {
                self.replay_operation(session, operation, at);
                let tenant = self.tenant_key(&tenant);
                self.apply_unscheduled(tenant, &name);
            }
            Record::Fired { name, due, next, accepted } => {
                self.replay_fired(sequence, &name, due, next, *accepted)?;
            }
            Record::Redriven { letter, inbox, accepted } => {
                let tenant = self.tenant_key(&accepted.publish.envelope.tenant);
                self.forget_past(accepted.at);
                let at = accepted.at;
                self.replay_accepted(*accepted);
                self.replay_cleared(at, tenant, letter, inbox);
                self.tenants[tenant].tally.recorded.redriven += 1;
            }
            Record::Purged { tenant, letter, inbox, session, operation, at } => {
                self.replay_operation(session, operation, at);
                self.forget_past(at);
                let tenant = self.tenant_key(&tenant);
                self.replay_cleared(at, tenant, letter, inbox);
                self.tenants[tenant].tally.recorded.purged += 1;
            }
            Record::Routed { entry, first_entry, inboxes, at: _ } => {
                self.replay_routed(sequence, entry, first_entry, &inboxes)?;
            }
        }
        Ok(())
    }

    /// Ends recovery and begins an epoch. The record that says so must be durable before
    /// anything else is handled.
    pub fn start(&mut self, now: Now, out: &mut Output) {
        self.finish_carried();
        self.recall_letters();
        self.replaying = false;
        self.replay_ids = crate::map::map(self.config.seed);
        self.written = self.sequence;
        self.synced = self.sequence;
        self.epoch = Epoch(self.epoch.0 + 1);
        self.started_at = now.wall;
        self.forget_past(now.wall);
        self.last_seen = now.mono;
        self.resume_delays(now);
        if self.config.logged {
            self.emit(Record::Boot { epoch: self.epoch, at: now.wall }, out);
            self.replay_boot(self.epoch, now.wall);
            out.flush = true;
        }
        self.order_windows(now);
        self.live_bytes = self.measure();
        self.await_sessions(now, out);
        self.arm_schedules();
        self.rewind_schedules(now, out);
        self.latest_wall = now.wall;
        self.tell_recovered_filters(out);
        self.number_entries();
        let mut entries: Vec<_> = self.entries.iter().map(|(key, entry)| (entry.id, key)).collect();
        entries.sort_unstable();
        for (id, key) in entries {
            let forgotten = self.planted(Defect::LostPending) && self.is_pending(key);
            // Making room for an event that was pending may have ended it.
            if forgotten || self.entries.get(key).is_none_or(|entry| entry.id != id) {
                continue;
            }
            self.set_timer(key);
            if self.entries[key].place == Place::Staged {
                self.make_ready(now, key, out);
            }
        }
        if self.planted(Defect::FirstNotAsked) {
            self.inboxes.iter_mut().for_each(Inbox::unlist);
        }
        self.work_off_unblocked(now, out);
        self.tell_handed(out);
    }

    fn replay_accepted(&mut self, record: AcceptedRecord) {
        let AcceptedRecord { publish, session, operation, at, first_entry, inboxes, pending } =
            record;
        let tenant = self.tenant_key(&publish.envelope.tenant);
        if session != NO_SESSION {
            self.replay_operation(session, operation, at);
        }
        if !self.planted(Defect::ForgottenKey) {
            self.apply_key(tenant, &publish, at, true);
        }
        self.tenants[tenant].tally.recorded.accepted += 1;
        self.origins.accepted(first_entry);
        self.next_entry = first_entry;
        let mut inboxes: Vec<_> =
            inboxes.iter().map(|address| self.inbox(tenant, address)).collect();
        if pending {
            inboxes.push(self.pending_inbox(tenant));
        }
        for inbox in inboxes {
            let level = publish.durability();
            let (key, id) = self.apply_accepted(inbox, &publish, session, at, level);
            self.replay_ids.insert(id, key);
        }
    }

    fn replay_fired(
        &mut self,
        at: Sequence,
        name: &ScheduleName,
        due: WallTime,
        next: Option<WallTime>,
        accepted: AcceptedRecord,
    ) -> Result<(), ReplayError> {
        let envelope = &accepted.publish.envelope;
        let (tenant, id) = (self.tenant_key(&envelope.tenant), envelope.id);
        if !self.tenants[tenant].schedules.contains(name) && !self.is_cleaned() {
            let problem = "a schedule fired that does not exist";
            return Err(ReplayError::Contradiction { at, problem });
        }
        self.replay_accepted(accepted);
        if !self.planted(Defect::RepeatedFiring) {
            self.apply_fired(tenant, name, id, due, next);
        }
        Ok(())
    }

    fn replay_routed(
        &mut self,
        at: Sequence,
        entry: EntryId,
        first: EntryId,
        inboxes: &[InboxAddress],
    ) -> Result<(), ReplayError> {
        let Some(key) = self.entry_key(at, entry)? else {
            // What it said is not known yet; its copies are said again like itself.
            self.origins.missing.extend((first.0..).take(inboxes.len()).map(EntryId));
            self.next_entry = EntryId(first.0.saturating_add(inboxes.len() as u64));
            return Ok(());
        };
        if !self.is_pending(key) {
            let problem = "an entry is routed that did not wait for that";
            return Err(ReplayError::Contradiction { at, problem });
        }
        self.replay_ids.remove(&entry);
        let tenant = self.inboxes[self.entries[key].inbox].tenant;
        self.next_entry = first;
        let inboxes: Vec<_> = inboxes.iter().map(|address| self.inbox(tenant, address)).collect();
        for (key, id) in self.apply_routed(key, &inboxes) {
            self.replay_ids.insert(id, key);
        }
        Ok(())
    }

    /// Numbers what is there from 1 in each inbox, in order of acceptance.
    fn number_entries(&mut self) {
        let mut entries: Vec<_> = self.entries.iter().map(|(key, entry)| (entry.id, key)).collect();
        entries.sort_unstable();
        self.inboxes.iter_mut().for_each(|inbox| inbox.arrived = 0);
        for (_, key) in entries {
            let entry = &mut self.entries[key];
            let inbox = &mut self.inboxes[entry.inbox];
            inbox.arrived += 1;
            entry.number = inbox.arrived;
        }
    }

    /// The entry that a record speaks of; `None` if it was accepted before what was kept of the
    /// log, and was not said again yet: it then will be, or has ended.
    fn entry_key(&self, at: Sequence, entry: EntryId) -> Result<Option<EntryKey>, ReplayError> {
        let known = self.replay_ids.get(&entry).copied();
        if known.is_none() && !(self.is_cleaned() && self.origins.precedes(entry)) {
            return Err(ReplayError::UnknownEntry { at, entry });
        }
        Ok(known)
    }

    /// What a session says again about this token after the restart has been done.
    fn use_up_token(&mut self, key: EntryKey, used: Option<Use>) {
        if let (Some(lease), Some(used)) = (self.lease(key).copied(), used) {
            let base = self.entries[key].base;
            self.used_tokens.insert(base, lease.token, lease.agent, used);
        }
    }

    /// The row of a session that held something when the broker stopped.
    pub(crate) fn replay_session(
        &mut self,
        entry: EntryKey,
        id: SessionId,
        agent: &AgentId,
    ) -> SessionKey {
        if let Some(&session) = self.session_keys.get(&id) {
            return session;
        }
        let tenant = self.inboxes[self.entries[entry].inbox].tenant;
        let agent = self.agent_key(tenant, agent);
        let registration = self.agents[agent].registration.as_ref();
        let owner = registration.map_or_else(SmolStr::default, |known| known.owner.clone());
        let session = self.new_session(id, tenant, owner, Some(agent));
        self.sessions[session].recovered = true;
        session
    }

    /// Gives sessions that held something a full lease to come back; forgets the others.
    fn await_sessions(&mut self, now: Now, out: &mut Output) {
        let sessions: Vec<_> = self.sessions.iter().map(|(key, _)| key).collect();
        let until = self.present(now).after(self.config.lease);
        for session in sessions {
            let row = &mut self.sessions[session];
            if row.leases.is_empty() {
                self.end_session(now, session, crate::settle::Loss::Session, out);
                continue;
            }
            row.lost_until = Some(until);
            let (id, agent) = (row.id, row.agent);
            let (window, lasting) = self.recall(id);
            // Who owns the agent may have been said after what it holds.
            let known = agent.and_then(|agent| self.agents[agent].registration.as_ref());
            let owner = known.map(|known| known.owner.clone());
            let row = &mut self.sessions[session];
            (row.window, row.lasting) = (window, lasting);
            if let Some(owner) = owner {
                row.owner = owner;
            }
            self.bar_session(session);
            let leases: Vec<_> = self.sessions[session].leases.iter(&self.entries).collect();
            for key in leases {
                if let Some(lease) = self.lease_mut(key) {
                    lease.deadline = until;
                }
                self.start_run(now, key);
            }
            self.arm_session(session);
        }
    }
}
