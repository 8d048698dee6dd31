//! Admission of an envelope: checked, routed, recorded, placed.

use super::frame::Answered;
use super::keys::{KeyRow, fingerprint};
use crate::effect::Output;
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::queue::{Entry, Link, Place};
use crate::record::{AcceptedRecord, EntryId, Record};
use crate::table::{EntryKey, InboxKey, SessionKey, TenantKey};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Accepted;
use trunkline_types::{
    Absent, Destination, Durability, Publish, Refusal, RefusalCode, SessionId, WallTime,
};

impl Engine {
    /// Takes in an envelope, or says why not.
    pub(crate) fn publish(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        publish: &Arc<Publish>,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let tenant = self.sessions[session].tenant;
        let result = self.admit(now, session, operation, publish, out);
        if result.is_err() {
            self.tenants[tenant].tally.refused += 1;
        }
        result
    }

    fn admit(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        publish: &Arc<Publish>,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let tenant = self.sessions[session].tenant;
        self.check_publish(session, publish)?;
        if let Some(answered) = self.repeated_key(now, tenant, operation, publish)? {
            return Ok(answered);
        }
        let envelope = &publish.envelope;
        if publish.options.absent == Absent::Fail && !self.is_known(tenant, &envelope.destination) {
            return Err(nobody(&envelope.destination));
        }
        let mut targets = self.targets(tenant, envelope, envelope.source.as_ref())?;
        let unserved = targets.sessions.is_empty()
            && !targets.inboxes.iter().any(|&inbox| self.is_served(inbox));
        if unserved && publish.options.absent == Absent::Fail {
            return Err(nobody(&envelope.destination));
        }
        // Only what lies in an inbox can outlive the process: a bare subscription cannot.
        let logged = self.config.logged && !targets.inboxes.is_empty();
        let level = if logged { publish.durability() } else { Durability::Ephemeral };
        self.keep_within_bounds(publish, level, &mut targets)?;
        if level.is_logged() {
            self.check_log()?;
        }

        let first = self.next_entry;
        let sender = self.sessions[session].id;
        if level.is_logged() {
            let inboxes = targets.inboxes.iter().filter_map(|&inbox| self.address(inbox)).collect();
            let record = AcceptedRecord {
                publish: publish.clone(),
                session: sender,
                operation,
                at: now.wall,
                first_entry: first,
                inboxes,
            };
            self.emit(Record::Accepted(Box::new(record)), out);
        }
        self.apply_key(tenant, publish, now.wall);
        let tally = &mut self.tenants[tenant].tally;
        tally.accepted += 1;
        let reached = targets.inboxes.len() + targets.sessions.len();
        tally.unrouted += u64::from(reached == 0 && targets.dropped == 0);
        for &inbox in &targets.inboxes {
            let (key, id) = self.apply_accepted(inbox, publish, sender, now.wall, level);
            self.hold(now, level, Held::Ready(key, id), out);
        }
        for &session in &targets.sessions {
            if !self.queue_event(now, session, publish, out) {
                targets.dropped += 1;
            }
        }
        let one =
            matches!(publish.envelope.destination, Destination::Agent(_) | Destination::Skill(_));
        if one {
            return Ok(Answered::Done(level));
        }
        let targets_reached = u32::try_from(reached).unwrap_or(u32::MAX);
        let accepted = Accepted {
            operation,
            id: publish.envelope.id,
            duplicate: false,
            targets: targets_reached,
            dropped: targets.dropped,
        };
        Ok(Answered::Accepted(level, accepted))
    }

    /// Whether the destination was heard of before, so that looking at it makes nothing new.
    fn is_known(&self, tenant: TenantKey, destination: &Destination) -> bool {
        let tenant = &self.tenants[tenant];
        match destination {
            Destination::Agent(id) => tenant.agent_inboxes.contains_key(id),
            Destination::Skill(skill) => tenant.skill_inboxes.contains_key(skill),
            Destination::Topic(_) | Destination::All | Destination::Agents(_) => true,
        }
    }

    /// Whether the log can take new work.
    pub(crate) fn check_log(&self) -> Result<(), Refusal> {
        if !self.ample {
            let message = "the disk has no room for new work; what was accepted goes on";
            let refusal = Refusal::new(RefusalCode::DiskFull, message);
            return Err(refusal.retry_after(Duration::from_secs(1)));
        }
        if self.congested {
            let message = "the disk is as far behind what was accepted as it may be";
            let refusal = Refusal::new(RefusalCode::Unavailable, message);
            return Err(refusal.retry_after(self.config.full_hint));
        }
        Ok(())
    }

    fn check_publish(&self, session: SessionKey, publish: &Publish) -> Result<(), Refusal> {
        publish.check(&self.config.limits)?;
        let envelope = &publish.envelope;
        let row = &self.sessions[session];
        let tenant = &self.tenants[row.tenant].id;
        if envelope.tenant != *tenant {
            let message = format!(
                "the envelope is of tenant '{}', but the session acts for '{tenant}'",
                envelope.tenant
            );
            return Err(Refusal::new(RefusalCode::Forbidden, message));
        }
        let agent = row.agent.map(|agent| &self.agents[agent].id);
        if envelope.source.as_ref().is_some_and(|source| Some(source) != agent) {
            let source = envelope.source.as_ref().map_or("", |source| source.as_str());
            let message = format!("the source is agent '{source}', which this session is not");
            return Err(Refusal::new(RefusalCode::Forbidden, message));
        }
        if envelope.id.partition() != self.config.partition {
            let (is, ours) = (envelope.id.partition().0, self.config.partition.0);
            let message = format!("the message id names partition {is}, this is partition {ours}");
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if publish.is_task() && self.tasks.ids.contains_key(&envelope.id) {
            let message = format!("there is a task {} already; make a new id", envelope.id);
            return Err(Refusal::new(RefusalCode::AlreadyTaken, message));
        }
        Ok(())
    }

    /// The answer to a publish whose key was used before.
    fn repeated_key(
        &mut self,
        now: Now,
        tenant: TenantKey,
        operation: u64,
        publish: &Publish,
    ) -> Result<Option<Answered>, Refusal> {
        let Some(key) = &publish.envelope.idempotency_key else { return Ok(None) };
        let bound = self.config.keys;
        let tenant = &mut self.tenants[tenant];
        let Some(row) = tenant.keys.get(key, now.wall) else {
            if tenant.keys.len() >= bound {
                let message = format!(
                    "the tenant has {bound} idempotency keys, which is the limit; they expire {:?} \
                     after their use",
                    self.config.key_window
                );
                return Err(Refusal::new(RefusalCode::KeyCap, message));
            }
            return Ok(None);
        };
        if row.fingerprint != fingerprint(publish) {
            let message = format!(
                "idempotency key '{key}' was used for message {} with another kind, destination \
                 or payload",
                row.id
            );
            return Err(Refusal::new(RefusalCode::KeyReused, message));
        }
        tenant.tally.duplicates += 1;
        let accepted = Accepted { operation, id: row.id, duplicate: true, targets: 0, dropped: 0 };
        Ok(Some(Answered::Accepted(Durability::Synced, accepted)))
    }

    fn is_served(&self, inbox: InboxKey) -> bool {
        let servers = &self.inboxes[inbox].servers;
        servers.iter().any(|&session| {
            let row = &self.sessions[session];
            row.connection.is_some() && !row.draining
        })
    }

    /// Refuses what goes to one full inbox; leaves out full inboxes among several.
    fn keep_within_bounds(
        &self,
        publish: &Publish,
        level: Durability,
        targets: &mut crate::route::Targets,
    ) -> Result<(), Refusal> {
        let size = publish.envelope.payload.data.len() as u64;
        let full = |inbox: InboxKey| {
            let inbox = &self.inboxes[inbox];
            if level.is_logged() {
                let limit = self.config.inbox_logged;
                return (inbox.logged() >= limit).then(|| format!("{limit} durable envelopes"));
            }
            let (count, bytes) = (self.config.inbox_ephemeral, self.config.inbox_ephemeral_bytes);
            if inbox.ephemeral >= count {
                return Some(format!("{count} ephemeral envelopes"));
            }
            let over = inbox.ephemeral_bytes + size > bytes;
            over.then(|| format!("{bytes} bytes of ephemeral envelopes"))
        };
        let refuse = |limit: String| {
            let message = format!(
                "the inbox of '{}' is full: it may hold {limit}",
                publish.envelope.destination
            );
            Refusal::new(RefusalCode::InboxFull, message).retry_after(self.config.full_hint)
        };
        if let [only] = targets.inboxes[..]
            && targets.sessions.is_empty()
        {
            return full(only).map_or(Ok(()), |limit| Err(refuse(limit)));
        }
        let before = targets.inboxes.len();
        targets.inboxes.retain(|&inbox| full(inbox).is_none());
        targets.dropped += u32::try_from(before - targets.inboxes.len()).unwrap_or(u32::MAX);
        Ok(())
    }

    /// The state after a key was used; shared by live commands and replay.
    pub(crate) fn apply_key(&mut self, tenant: TenantKey, publish: &Publish, at: WallTime) {
        let Some(key) = &publish.envelope.idempotency_key else { return };
        let row = KeyRow {
            id: publish.envelope.id,
            fingerprint: fingerprint(publish),
            expires_at: at.after(self.config.key_window),
        };
        self.tenants[tenant].keys.insert(key.clone(), row);
    }

    /// The state after an inbox got an entry; shared by live commands and replay.
    pub(crate) fn apply_accepted(
        &mut self,
        inbox: InboxKey,
        publish: &Arc<Publish>,
        sender: SessionId,
        at: WallTime,
        level: Durability,
    ) -> (EntryKey, EntryId) {
        let id = self.next_entry;
        self.next_entry = EntryId(id.0 + 1);
        let key = self.entries.insert(Entry {
            id,
            publish: publish.clone(),
            inbox,
            place: Place::Staged,
            durability: level,
            attempts: 0,
            deliveries: 0,
            losses: 0,
            returned: false,
            accepted_at: at,
            expires_at: publish.envelope.ttl.map(|ttl| at.after(ttl)),
            due: publish.options.delay.map_or(WallTime(0), |delay| at.after(delay)),
            timer: None,
            lease: None,
            link: Link::default(),
            task: None,
            sender,
            notes: Vec::new(),
            messages: Vec::new(),
        });
        let row = &mut self.inboxes[inbox];
        row.counters.accepted += 1;
        row.places[Place::Staged as usize] += 1;
        if !level.is_logged() {
            row.ephemeral += 1;
            row.ephemeral_bytes += publish.envelope.payload.data.len() as u64;
        }
        let tenant = row.tenant;
        if publish.envelope.ordering_key.is_some() {
            self.key_join(key);
        }
        if publish.is_task() {
            let task = self.task_accepted(tenant, publish, (key, id), at);
            self.entries[key].task = Some(task);
        }
        if !self.replaying && publish.envelope.ttl.is_some() {
            self.set_timer(key);
        }
        (key, id)
    }
}

fn nobody(destination: &Destination) -> Refusal {
    let message = format!("nobody serves '{destination}' at the moment");
    Refusal::new(RefusalCode::NobodyThere, message)
}
