//! Admission of an envelope: checked, routed, recorded, placed.

use super::frame::Answered;
use super::full::Room;
use super::keys::fingerprint;
use super::origin::{Cause, Origin};
use crate::defect::Defect;
use crate::dispatch::EventCopy;
use crate::effect::Output;
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::queue::{Entry, Owner, Place};
use crate::record::{AcceptedRecord, EntryId};
use crate::route::Targets;
use crate::table::{EntryKey, InboxKey, Maybe, SessionKey, TenantKey};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Accepted;
use trunkline_types::{
    Absent, Destination, Durability, Envelope, Publish, Refusal, RefusalCode, SessionId, Span,
    WallTime, WhenFull,
};

/// What was decided about an envelope before it is taken in.
#[derive(Debug)]
struct Placed {
    /// The durability in force.
    level: Durability,
    /// Whether a record tells of it, which that of a schedule and that of an idempotency key do
    /// in any case.
    recorded: bool,
    targets: Box<Targets>,
    /// Whether it waits for its time or for a first subscriber.
    pending: bool,
}

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
        self.counted_publish(now, session, (operation, now.wall), publish, false, out)
    }

    /// Takes in an envelope that has waited outside since it came, and whose turn has come.
    pub(crate) fn publish_in_turn(
        &mut self,
        now: Now,
        session: SessionKey,
        came: (u64, WallTime),
        publish: &Arc<Publish>,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        self.counted_publish(now, session, came, publish, true, out)
    }

    fn counted_publish(
        &mut self,
        now: Now,
        session: SessionKey,
        (operation, at): (u64, WallTime),
        publish: &Arc<Publish>,
        in_turn: bool,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let row = &self.sessions[session];
        let (tenant, id) = (row.tenant, row.id);
        let sender = Some(session);
        let cause = Cause::Sender;
        let origin = Origin { tenant, session: id, operation, at, sender, in_turn, cause };
        let checked = self.check_publish(session, publish);
        let checked = checked.and_then(|()| Self::check_headers(&publish.envelope));
        let checked = checked.and_then(|()| self.check_new_id(publish));
        let result = checked.and_then(|()| self.admit(now, &origin, publish, out));
        if result.is_err() {
            self.tenants[tenant].tally.refused += 1;
        }
        result
    }

    /// Takes in an envelope that was checked, wherever it comes from.
    pub(crate) fn admit(
        &mut self,
        now: Now,
        origin: &Origin,
        publish: &Arc<Publish>,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let (tenant, operation) = (origin.tenant, origin.operation);
        if let Some(answered) = self.repeated_key(now, tenant, operation, publish)? {
            return Ok(answered);
        }
        self.check_not_open(tenant, publish)?;
        if let Some(gather) = publish.options.gather {
            return self.gather(now, origin, publish, gather, out);
        }
        let envelope = &publish.envelope;
        let absent = publish.absent();
        // Looking for somebody who need not be there makes no inbox for nobody.
        let unknown = absent != Absent::Park && !self.is_known(tenant, &envelope.destination);
        if unknown && absent == Absent::Fail {
            return Err(nobody(&envelope.destination));
        }
        let mut targets = if unknown {
            Box::default()
        } else {
            self.targets(tenant, publish, envelope.source.as_ref())?
        };
        self.check_deadlock(tenant, publish, &targets)?;
        // What is parked anyway need not be looked for.
        let unserved = absent != Absent::Park
            && targets.sessions.is_empty()
            && !targets.inboxes.iter().any(|&inbox| self.is_served(inbox));
        if unserved && absent == Absent::Fail {
            return Err(nobody(&envelope.destination));
        }
        if let Destination::Agents(_) = &envelope.destination {
            self.settle_absent(publish, &mut targets)?;
        }
        let sent = publish;
        let shortened = self.with_ttl_of_inbox(sent, &targets)?;
        let publish = shortened.as_ref().unwrap_or(sent);
        let envelope = &publish.envelope;
        // What agents have subscribed to is kept for them, and so is what goes to all.
        let kept = matches!(envelope.destination, Destination::Topic(_) | Destination::All);
        if unserved && absent == Absent::Discard && !kept {
            targets.inboxes.clear();
        }
        let is_topic = matches!(envelope.destination, Destination::Topic(_));
        let pending = (is_topic && publish.due(now.wall) > now.wall)
            || (targets.is_empty() && absent == Absent::Park);
        // Only what lies in an inbox can outlive the process: a bare subscription cannot.
        let logged = self.config.logged && (pending || !targets.inboxes.is_empty());
        let level = if logged { publish.durability() } else { Durability::Ephemeral };
        // That a schedule has fired is written even if its message is not, and so is that an
        // idempotency key was used.
        let lasts = origin.is_schedule() || envelope.idempotency_key.is_some();
        let recorded = level.is_logged() || (lasts && self.config.logged);
        if recorded {
            self.check_log()?;
        }
        if pending {
            self.check_room_for_pending(tenant, publish, level)?;
            targets = Box::default();
        }
        if level.is_logged() {
            self.check_copies(publish, &targets)?;
        }
        match self.make_room(now, origin, publish, level, &mut targets, out)? {
            Room::Enough => {}
            Room::Outside(inbox, session) => {
                self.note_pressure(inbox, session, level, out);
                return self.wait_outside(now, inbox, session, origin, sent);
            }
        }
        let placed = Placed { level, recorded, targets, pending };
        Ok(self.take_in(now, origin, publish, placed, out))
    }

    /// Takes in an envelope that may come in: records it, places its copies.
    fn take_in(
        &mut self,
        now: Now,
        origin: &Origin,
        publish: &Arc<Publish>,
        placed: Placed,
        out: &mut Output,
    ) -> Answered {
        let Placed { level, recorded, mut targets, pending } = placed;
        let (sender, tenant) = (origin.session, origin.tenant);
        if recorded {
            let kept = if level.is_logged() { &targets.inboxes[..] } else { &[] };
            let pending = pending && level.is_logged();
            self.record_acceptance(origin, publish, (kept, pending), out);
        }
        let at = origin.at;
        self.apply_key(tenant, publish, at, recorded);
        targets.dropped += self.miss_left_out(tenant, &targets.left_out);
        let tally = &mut self.tenants[tenant].tally;
        *tally.accepted_of(recorded) += 1;
        tally.unrouted += u64::from(targets.is_empty() && targets.dropped == 0 && !pending);
        let reached = targets.reached();
        let mut accepted = Accepted {
            operation: origin.operation,
            id: publish.envelope.id,
            duplicate: false,
            targets: reached,
            dropped: targets.dropped,
            parked: u32::from(pending),
        };
        // What a schedule makes is seen only once it can no longer be made again. An acceptance
        // under a key promises that the key will be known, and so rests on its record.
        let keyed = recorded && publish.envelope.idempotency_key.is_some();
        let (seen, told) = match level {
            _ if recorded && origin.is_schedule() => (Durability::Synced, Durability::Synced),
            _ if keyed => (publish.durability(), publish.durability().max(Durability::Buffered)),
            level => (level, level),
        };
        if pending {
            let inbox = self.pending_inbox(tenant);
            let (key, id) = self.apply_accepted(inbox, publish, sender, at, level);
            self.count_delay_from(now, key, at);
            self.hold_ready(now, seen, (key, id), out);
        }
        for &inbox in &targets.inboxes {
            accepted.parked += u32::from(!self.is_served(inbox));
            let (key, id) = self.apply_accepted(inbox, publish, sender, at, level);
            self.count_delay_from(now, key, at);
            self.hold_ready(now, seen, (key, id), out);
            if let Some(session) = origin.sender {
                self.note_pressure(inbox, session, level, out);
            }
        }
        for &(subscriber, when_full) in &targets.sessions {
            let event = EventCopy::new(publish, at, when_full);
            // What is dropped at once can still be told to the sender.
            let drops = || when_full == WhenFull::Reject && self.is_event_full(subscriber, publish);
            if seen.is_logged() && !drops() {
                let serial = self.sessions[subscriber].serial;
                self.hold(now, seen, Held::Event(subscriber, serial, event), out);
            } else if !self.queue_event(now, subscriber, event, out) {
                accepted.dropped += 1;
            }
        }
        self.reuse(targets);
        let one =
            matches!(publish.envelope.destination, Destination::Agent(_) | Destination::Skill(_));
        if one && reached == 1 && accepted.parked == 0 {
            return Answered::Done(told);
        }
        Answered::Accepted(told, accepted)
    }

    /// Writes that an envelope was accepted, and into which inboxes a replay is to put it.
    pub(crate) fn record_acceptance(
        &mut self,
        origin: &Origin,
        publish: &Arc<Publish>,
        (inboxes, pending): (&[InboxKey], bool),
        out: &mut Output,
    ) {
        let record = AcceptedRecord {
            publish: publish.clone(),
            session: origin.session,
            operation: origin.operation,
            at: origin.at,
            first_entry: self.next_entry,
            inboxes: inboxes.iter().filter_map(|&inbox| self.address(inbox)).collect(),
            pending,
        };
        self.emit(origin.record(record), out);
    }

    /// The same with the time to live of the one inbox that it goes to, if that is set and the
    /// sender has not said less. It is written into the envelope, so that it stays as it was when
    /// the inbox is set anew, and who gets the envelope sees it.
    fn with_ttl_of_inbox(
        &self,
        publish: &Arc<Publish>,
        targets: &Targets,
    ) -> Result<Option<Arc<Publish>>, Refusal> {
        let &[inbox] = &targets.inboxes[..] else { return Ok(None) };
        let ttl = self.ttl_in(inbox, publish);
        let Some(ttl) = ttl.filter(|_| ttl != publish.envelope.ttl) else { return Ok(None) };
        let to = &publish.envelope.destination;
        if let Some(delay) = publish.options.delay.filter(|&delay| ttl <= delay) {
            let message = format!(
                "the time to live of the inbox of '{to}' is {} and delay is {}: it would expire \
                 before it is due; both count from its arrival",
                Span(ttl),
                Span(delay)
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let mut shortened = Publish::clone(publish);
        shortened.envelope.ttl = Some(ttl);
        Ok(Some(Arc::new(shortened)))
    }

    /// How long an envelope is of use in an inbox: as long as its sender says, and as the inbox
    /// does if it goes there alone.
    pub(super) fn ttl_in(&self, inbox: InboxKey, publish: &Publish) -> Option<Duration> {
        let Envelope { destination, ttl, .. } = &publish.envelope;
        let alone = matches!(destination, Destination::Agent(_) | Destination::Skill(_));
        let ignored = self.planted(Defect::ImmortalMessages);
        let of_inbox = self.inboxes[inbox].settings().ttl.filter(|_| alone && !ignored);
        [*ttl, of_inbox].into_iter().flatten().min()
    }

    /// Does with those of several agents that nobody serves what the sender wants.
    fn settle_absent(&self, publish: &Publish, targets: &mut Targets) -> Result<(), Refusal> {
        match publish.absent() {
            Absent::Park => {}
            Absent::Discard => targets.inboxes.retain(|&inbox| self.is_served(inbox)),
            Absent::Fail => {
                let missing = targets.inboxes.iter().find(|&&inbox| !self.is_served(inbox));
                if let Some(address) = missing.and_then(|&inbox| self.address(inbox)) {
                    let message = format!(
                        "nobody serves '{address}' at the moment, so nothing was sent to '{}'",
                        publish.envelope.destination
                    );
                    return Err(Refusal::new(RefusalCode::NobodyThere, message));
                }
            }
        }
        Ok(())
    }

    /// Whether the destination was heard of before, so that looking at it makes nothing new.
    fn is_known(&self, tenant: TenantKey, destination: &Destination) -> bool {
        let tenant = &self.tenants[tenant];
        match destination {
            Destination::Agent(id) => tenant.agents.contains_key(id),
            Destination::Skill(skill) => tenant.skill_inboxes.contains_key(skill),
            Destination::Agents(ids) => ids.iter().any(|id| tenant.agents.contains_key(id)),
            Destination::Topic(_) | Destination::All => true,
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
        let row = self.key_row(now, tenant, key)?;
        let full = self.tenants[tenant].keys.live(now.wall) >= bound as u64;
        let Some(row) = row.filter(|_| !(full && self.planted(Defect::CapBeforeRepeat))) else {
            if full && !self.planted(Defect::IgnoredKeyCap) {
                let message = format!(
                    "the tenant has {bound} idempotency keys, which is the limit; they expire {} \
                     after their use",
                    Span(self.config.key_window)
                );
                return Err(Refusal::new(RefusalCode::KeyCap, message));
            }
            return Ok(None);
        };
        if row.fingerprint != fingerprint(publish) {
            let message = format!(
                "idempotency key '{key}' was used for message {} with another kind, destination \
                 or payload; use another key, or send the same again",
                row.id
            );
            return Err(Refusal::new(RefusalCode::KeyReused, message));
        }
        self.tenants[tenant].tally.duplicates += 1;
        let accepted =
            Accepted { operation, id: row.id, duplicate: true, targets: 0, dropped: 0, parked: 0 };
        Ok(Some(Answered::Accepted(Durability::Synced, accepted)))
    }

    pub(crate) fn is_served(&self, inbox: InboxKey) -> bool {
        let servers = &self.inboxes[inbox].servers;
        servers.iter().any(|&session| self.sessions[session].takes_work())
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
        let row = &mut self.inboxes[inbox];
        row.arrived += 1;
        // An event that waits to be routed is in nobody's order yet.
        let ordered = publish.envelope.ordering_key.is_some() && row.owner != Owner::Pending;
        let number = row.arrived;
        let (is_task, is_logged) = (publish.is_task(), level.is_logged());
        let key = self.entries.insert(Entry {
            number,
            listed: !is_task,
            durability: level,
            base: self.sequence,
            sender,
            ..Entry::new(id, publish, inbox, at)
        });
        row.counters_of(is_logged).accepted += 1;
        row.places[Place::Staged as usize] += 1;
        if !is_logged {
            row.ephemeral += 1;
            row.ephemeral_bytes += publish.envelope.payload.data.len() as u64;
        } else if row.owner == Owner::Pending {
            let size = publish.envelope.payload.data.len() as u64;
            self.tenants[row.tenant].pending.logged_bytes += size;
        }
        let tenant = row.tenant;
        if publish.options.delay.is_some() {
            let over = self.delay_of(publish, at);
            self.entries[key].set_delay_over(over);
        }
        if is_logged {
            self.count_payload(key);
        }
        if ordered {
            self.key_join(key);
        }
        if is_task {
            self.yield_id(publish.envelope.id);
            let task = self.task_accepted(tenant, key, at);
            self.entries[key].task = Maybe::new(task);
        } else {
            self.messages.add(publish.envelope.id, key);
        }
        if !self.replaying && publish.envelope.ttl.is_some() {
            self.set_timer(key);
        }
        (key, id)
    }
}

pub(crate) fn nobody(destination: &Destination) -> Refusal {
    let message = format!("nobody serves '{destination}' at the moment");
    Refusal::new(RefusalCode::NobodyThere, message)
}
