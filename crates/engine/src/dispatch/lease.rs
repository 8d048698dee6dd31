//! Leases: granted, renewed, given up, lost.

use crate::defect::Defect;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::now::{Mono, Now};
use crate::queue::{Entry, Lease, Place};
use crate::record::Record;
use crate::table::{AgentKey, EntryKey, Maybe, SessionKey};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::{Delivery, SessionItem};
use trunkline_types::{Publish, SessionId, Token, WallTime};

impl Engine {
    /// The latest lease of an entry, as long as its token is good.
    pub(crate) fn lease(&self, key: EntryKey) -> Option<&Lease> {
        self.lease_of(&self.entries[key])
    }

    /// The same of an entry that was found already.
    #[inline]
    pub(crate) fn lease_of(&self, entry: &Entry) -> Option<&Lease> {
        entry.lease.get().map(|lease| &self.leases[lease])
    }

    pub(crate) fn lease_mut(&mut self, key: EntryKey) -> Option<&mut Lease> {
        self.entries[key].lease.get().map(|lease| &mut self.leases[lease])
    }

    /// Delivers a staged entry to a session under a new lease.
    pub(crate) fn grant(&mut self, now: Now, key: EntryKey, session: SessionKey, out: &mut Output) {
        let token = Token { epoch: self.epoch, counter: self.next_token };
        self.next_token += 1;
        let row = &self.sessions[session];
        let (id, Some(agent), Some(connection)) = (row.id, row.agent, row.connection) else {
            debug_assert!(false, "only a connected session of an agent is picked");
            return;
        };
        if let Some(old) = self.lease(key).filter(|old| !old.called_off).copied() {
            self.tell_superseded(old, out);
        }
        self.apply_leased(key, token, session, id, agent, now.wall);
        self.start_lease(now, key, session);
        let max_run = self.max_run(key);
        if max_run.is_some() {
            self.start_run(now, key);
        }
        self.begin_probe(key);
        let row = &self.entries[key];
        if row.is_logged() && !self.planted(Defect::UnrecordedLease) {
            let entry = row.id;
            let agent = self.agents[agent].id.clone();
            self.emit(Record::Leased { entry, token, session: id, agent, at: now.wall }, out);
        }
        self.tell_watchers(now, key, out);
        let delivery = self.delivery(now, key, token, max_run);
        out.effects.push(Effect::Item { connection, item: SessionItem::Delivery(delivery) });
    }

    /// The state after a lease was granted; shared by live commands and replay.
    pub(crate) fn apply_leased(
        &mut self,
        key: EntryKey,
        token: Token,
        holder: SessionKey,
        session: SessionId,
        agent: AgentKey,
        at: WallTime,
    ) {
        // The same token again is the same delivery, taken up by a session that came back.
        let old = self.lease(key).map(|old| (old.token, old.ran));
        let ran = old.filter(|&(old, _)| old == token).map(|(_, ran)| ran);
        let taken_up = ran.is_some();
        if old.is_some() {
            self.forget_token(key);
        }
        let entry = &mut self.entries[key];
        entry.deliveries += u32::from(!taken_up);
        let redelivered = entry.deliveries > 1 && !taken_up;
        let task = entry.task.get();
        // In replay the deadline is set when the engine starts.
        let deadline = Mono(u64::MAX);
        entry.lease = Maybe::new(self.leases.insert(Lease {
            token,
            agent,
            session,
            holder,
            deadline,
            begun: false,
            run_until: None,
            run_timer: None,
            ran: ran.unwrap_or_default(),
            called_off: false,
            probe: 0,
        }));
        let size = entry.size();
        let inbox = &mut self.inboxes[entry.inbox];
        inbox.put(entry, Place::Leased);
        if redelivered {
            inbox.counters_of(entry.is_logged()).redeliveries += 1;
        }
        self.tokens.insert(token, key);
        let row = &mut self.sessions[holder];
        row.leases.push_back(&mut self.entries, key);
        row.in_flight += 1;
        row.held_bytes += size;
        self.count_available(holder);
        if let Some(task) = task {
            let agent = self.agents[agent].id.clone();
            self.task_working(task, agent, !taken_up, at);
        }
    }

    /// Lets a lease run from now.
    #[inline]
    pub(crate) fn start_lease(&mut self, now: Now, key: EntryKey, session: SessionKey) {
        let deadline = self.present(now).after(self.sessions[session].lease);
        if let Some(lease) = self.lease_mut(key) {
            lease.deadline = deadline;
        }
        // A timer that goes off before it runs out looks at all leases then.
        if self.sessions[session].timer.is_none_or(|at| deadline.0 < at) {
            self.arm_session(session);
        }
    }

    /// Renews the leases that a session says it holds.
    pub(crate) fn heartbeat(&mut self, now: Now, session: SessionKey, tokens: &[Token]) {
        let deadline = self.present(now).after(self.sessions[session].lease);
        for token in tokens {
            let Some(&key) = self.tokens.get(token) else { continue };
            let Some(entry) = self.entries.get(key) else { continue };
            let leased = entry.place == Place::Leased;
            let Some(lease) = entry.lease.get().map(|lease| &mut self.leases[lease]) else {
                continue;
            };
            if !leased || lease.holder != session {
                continue;
            }
            lease.deadline = deadline;
            // Deadlines in the list must not decrease from front to back.
            let row = &mut self.sessions[session];
            row.leases.remove(&mut self.entries, key);
            row.leases.push_back(&mut self.entries, key);
        }
    }

    /// Takes a leased entry from its holder. Its token stays good.
    pub(crate) fn unlease(&mut self, key: EntryKey) {
        let entry = &self.entries[key];
        let (size, has_past) = (entry.size(), entry.past.is_some());
        let Some(&Lease { holder, run_timer, probe, .. }) = self.lease_of(entry) else { return };
        if run_timer.is_some() {
            self.stop_run(key);
        }
        if probe != 0 {
            self.end_probe(key);
        }
        if has_past {
            self.tell_missed_again(key);
        }
        let row = &mut self.sessions[holder];
        row.leases.remove(&mut self.entries, key);
        row.in_flight -= 1;
        row.held_bytes -= size;
        self.count_available(holder);
    }

    /// The holder of a delivery has said something about it, so it has what came with it.
    pub(crate) fn was_received(&mut self, key: EntryKey) {
        if let Some(past) = &mut self.entries[key].past {
            past.missed.clear();
        }
    }

    /// Whether a delivery that is lost ever arrived is not known: what it told as missed is told
    /// with the next one.
    fn tell_missed_again(&mut self, key: EntryKey) {
        let entry = &mut self.entries[key];
        let Some(past) = &mut entry.past else { return };
        let missed = std::mem::take(&mut past.missed);
        self.inboxes[entry.inbox].missed.put_back(&missed);
    }

    /// The entry's latest token is good no longer. Returns whose it was.
    pub(crate) fn forget_token(&mut self, key: EntryKey) -> Option<AgentKey> {
        let lease = std::mem::replace(&mut self.entries[key].lease, Maybe::NONE).get()?;
        let Lease { token, agent, .. } = self.leases.remove(lease);
        if !self.planted(Defect::SkippedFence) {
            self.tokens.remove(&token);
        }
        Some(agent)
    }

    /// Tells the holder of an older lease, if it is there, that somebody else has the work now.
    fn tell_superseded(&mut self, old: Lease, out: &mut Output) {
        self.tell_cancel(old, "its lease ran out and somebody else has it now", out);
    }

    /// Tells the holder of a lease, if it is there, to stop.
    pub(crate) fn tell_cancel(&mut self, lease: Lease, reason: &str, out: &mut Output) {
        let Some(&session) = self.session_keys.get(&lease.session) else { return };
        if let Some(connection) = self.sessions[session].connection {
            let item = SessionItem::Cancel { token: lease.token, reason: reason.to_owned() };
            out.effects.push(Effect::Item { connection, item });
        }
    }

    /// What a delivery carries: what was sent.
    fn carried_publish(&self, entry: &Entry) -> Arc<Publish> {
        let mut publish = entry.whole().clone();
        if self.planted(Defect::LostCorrelation) {
            Arc::make_mut(&mut publish).envelope.correlation_id = None;
        }
        publish
    }

    fn delivery(
        &mut self,
        now: Now,
        key: EntryKey,
        token: Token,
        max_run: Option<Duration>,
    ) -> Delivery {
        let entry = &mut self.entries[key];
        let missed = self.inboxes[entry.inbox].missed.take();
        if !missed.is_empty() {
            entry.past.get_or_insert_default().missed.clone_from(&missed);
        }
        let entry = &self.entries[key];
        let inbox = &self.inboxes[entry.inbox];
        Delivery {
            token,
            publish: self.carried_publish(entry),
            inbox: self.wanted_of(entry),
            attempt: entry.attempts + 1,
            accepted_at: entry.accepted_at,
            expires_at: entry.expires_at.get().map(WallTime),
            backlog: inbox.ready(),
            backlog_age: inbox
                .oldest(&self.entries)
                .map_or(Duration::ZERO, |at| now.wall.since(at)),
            messages: entry.messages().to_vec(),
            number: entry.number,
            missed,
            max_run,
        }
    }
}
