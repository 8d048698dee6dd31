//! Hellos: who may open a session, and what a session finds when it comes back.

use crate::command::ConnectionKey;
use crate::defect::Defect;
use crate::dispatch::Session;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::queue::Place;
use crate::record::{AgentRecord, Record};
use crate::settle::Loss;
use crate::table::{AgentKey, SessionKey, TenantKey};
use std::collections::BTreeSet;
use trunkline_types::session::{Hello, SessionItem, Subscription, Welcome};
use trunkline_types::{
    AgentCard, AgentEvent, Durability, Presence, Principal, Refusal, RefusalCode, SessionId, Token,
};

/// Whether a session is known from the log only, and nothing is left there that tells whose it is:
/// its agent was unregistered, and the records of its registration were given up.
fn is_unclaimed(row: &Session) -> bool {
    row.recovered && row.owner.is_empty()
}

/// What a hello did to the registration of its agent.
enum Registered {
    /// Nothing: it has the same card.
    Known,
    /// It had another card, which is in here.
    Changed(Box<AgentCard>),
    /// It had none.
    Anew,
}

impl Engine {
    /// Opens a session or takes it up again.
    pub(crate) fn connect(
        &mut self,
        now: Now,
        connection: ConnectionKey,
        principal: Principal,
        hello: Hello,
        out: &mut Output,
    ) {
        let tenant = self.tenant_key(&principal.tenant);
        if let Err(refusal) = self.check_hello(tenant, &principal, &hello) {
            out.effects.push(Effect::Welcome { connection, result: Err(refusal) });
            out.effects.push(Effect::Closed { connection });
            return;
        }
        let Hello { session: id, card, credit, subscriptions, next_operation, held } = hello;
        let known_agent = card.as_ref().and_then(|card| self.tenants[tenant].agent(&card.id));
        let before = self.standing(known_agent);
        let skills = card.as_ref().map(|card| card.skills.clone().into_boxed_slice());
        let (agent, registered) = match card {
            Some(card) => {
                let (agent, registered) = self.register(now, tenant, &principal, card, out);
                (Some(agent), registered)
            }
            None => (None, Registered::Known),
        };
        let (known, owner) = (self.session_keys.get(&id).copied(), principal.subject.clone());
        let session = known.unwrap_or_else(|| {
            let session = self.new_session(id, tenant, principal.subject, agent);
            let (window, lasting) = self.recall(id);
            let row = &mut self.sessions[session];
            (row.window, row.lasting) = (window, lasting);
            row.recovered = true;
            session
        });
        self.leave_connection(session, out);
        self.connections.insert(connection, session);
        let credit = self.capped(credit);
        let row = &mut self.sessions[session];
        if is_unclaimed(row) {
            row.owner = owner;
        }
        row.connection = Some(connection);
        row.active = false;
        row.draining = false;
        row.lost_until = None;
        row.credit = credit;
        row.lease = self.config.lease;
        row.skills = skills;
        row.next_operation = next_operation.max(1);
        row.window.forget_before(next_operation);
        row.lasting.forget_before(next_operation);
        let serial = row.serial;
        self.bar_session(session);
        self.serve_inboxes(session);
        let (kept, own): (Vec<_>, Vec<_>) = subscriptions.into_iter().partition(|sub| sub.durable);
        self.set_session_subscriptions(now, session, &own, out);
        for subscription in &kept {
            // Never refused: the hello was checked for it.
            let _ = self.subscribe(now, session, subscription, true, out);
        }
        if agent.is_some() {
            self.route_waiting_for_all(now, tenant, out);
        }
        self.keep_held(now, session, &held, out);
        let agent = self.sessions[session].agent;
        let level = match agent {
            Some(agent) if self.config.logged && self.agents[agent].sequence > self.synced => {
                Durability::Synced
            }
            _ => Durability::Ephemeral,
        };
        self.sessions[session].held = held;
        self.hold(now, level, Held::Activate(session, serial, connection), out);
        self.tell_registered(now, agent, registered, before, out);
    }

    /// Tells those who follow the directory what a hello changed about an agent.
    fn tell_registered(
        &mut self,
        now: Now,
        agent: Option<AgentKey>,
        registered: Registered,
        before: Presence,
        out: &mut Output,
    ) {
        let Some(key) = agent else { return };
        let joined = matches!(registered, Registered::Anew) || before == Presence::Offline;
        match registered {
            _ if joined => self.tell_agent(now, key, AgentEvent::Joined, out),
            Registered::Changed(card) => {
                if let Some(info) = self.agent_info(now, key) {
                    self.tell_news(now, AgentEvent::Changed, &info, Some(&card), key, out);
                }
            }
            Registered::Anew | Registered::Known => self.tell_standing(now, agent, before, out),
        }
    }

    /// Welcomes a session whose registration is durable.
    pub(crate) fn activate(
        &mut self,
        now: Now,
        session: SessionKey,
        serial: u64,
        connection: ConnectionKey,
        out: &mut Output,
    ) {
        let waits = |row: &Session| {
            row.serial == serial && row.connection == Some(connection) && !row.active
        };
        if !self.sessions.get(session).is_some_and(waits) {
            return;
        }
        let held = std::mem::take(&mut self.sessions[session].held);
        let revoked = held.into_iter().filter(|&token| !self.holds(session, token)).collect();
        let row = &mut self.sessions[session];
        row.active = true;
        let welcome = Welcome {
            epoch: self.epoch,
            resumed: !std::mem::replace(&mut row.recovered, false),
            lease: row.lease,
            revoked,
            limits: self.config.limits.clone(),
            now: now.wall,
        };
        let result = Ok(Box::new(welcome));
        out.effects.push(Effect::Welcome { connection, result });
        for item in std::mem::take(&mut row.pending) {
            out.effects.push(Effect::Item { connection, item });
        }
        let leased = self.sessions[session].leases.iter(&self.entries);
        let leased = leased.filter_map(|key| self.lease(key));
        let leased: Vec<_> = leased.map(|lease| lease.token).collect();
        self.heartbeat(now, session, &leased);
        self.arm_session(session);
        self.resend_events(session, out);
        self.tell_drained(session, out);
        self.send_events(now, session, out);
        self.dispatch_session(now, session, out);
    }

    /// Tells a session how its request ended, with one answer or several; keeps it for one that is lost; counts it for one
    /// that is gone.
    pub(crate) fn tell_reply(
        &mut self,
        tenant: TenantKey,
        id: SessionId,
        item: SessionItem,
        out: &mut Output,
    ) {
        let Some(&session) = self.session_keys.get(&id) else {
            self.tenants[tenant].tally.replies_dropped += 1;
            return;
        };
        let row = &mut self.sessions[session];
        match row.connection.filter(|_| row.active) {
            Some(connection) => {
                out.effects.push(Effect::Item { connection, item });
            }
            None if row.recovered && row.connection.is_none() => {
                self.tenants[row.tenant].tally.replies_dropped += 1;
            }
            None => row.pending.push(item),
        }
    }

    fn check_hello(
        &self,
        tenant: TenantKey,
        principal: &Principal,
        hello: &Hello,
    ) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        if hello.held.len() > limits.credit as usize {
            let (count, limit) = (hello.held.len(), limits.credit);
            let message = format!("the hello holds {count} deliveries, the limit is {limit}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        if !self.session_keys.contains_key(&hello.session)
            && self.sessions.len() >= self.config.sessions
        {
            let message = format!("there are {} sessions, which is the limit", self.sessions.len());
            let refusal = Refusal::new(RefusalCode::Unavailable, message);
            return Err(refusal.retry_after(self.config.resume_grace));
        }
        if hello.subscriptions.len() > limits.subscriptions {
            let (count, limit) = (hello.subscriptions.len(), limits.subscriptions);
            let message = format!("the hello has {count} subscriptions, the limit is {limit}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        for subscription in &hello.subscriptions {
            self.check_subscription(subscription)?;
        }
        let durable = hello.subscriptions.iter().find(|sub: &&Subscription| sub.durable);
        if let (None, Some(subscription)) = (&hello.card, durable) {
            let message = format!(
                "the durable subscription to '{}' needs an agent card: it belongs to an agent",
                subscription.pattern
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if let Some(card) = &hello.card {
            card.check(limits)?;
            let known = self.tenants[tenant].agent(&card.id);
            self.check_new_inboxes(tenant, card)?;
            let kept = known.map_or(&[][..], |key| &self.agents[key].subscriptions);
            let new = hello
                .subscriptions
                .iter()
                .filter(|sub| sub.durable && !kept.iter().any(|other| other.same_place(sub)))
                .count();
            if new > 0 {
                // A full disk is no reason to refuse: a session that comes back must find what it
                // holds, and agents must come to work off what is there.
                let count = kept.len() + new;
                if count > limits.subscriptions {
                    let limit = limits.subscriptions;
                    let message = format!(
                        "agent '{}' would have {count} durable subscriptions, the limit is \
                         {limit}; unsubscribe from those it no longer wants",
                        card.id
                    );
                    return Err(Refusal::new(RefusalCode::TooLarge, message));
                }
            }
            let owner = known.and_then(|key| self.agents[key].registration.as_ref());
            if let Some(owner) = owner.filter(|known| {
                known.owner != principal.subject && !self.planted(Defect::TakenIdentity)
            }) {
                let message = format!(
                    "agent id '{}' belongs to '{}', you are '{}'; choose another id",
                    card.id, owner.owner, principal.subject
                );
                return Err(Refusal::new(RefusalCode::AlreadyTaken, message));
            }
        }
        if let Some(&session) = self.session_keys.get(&hello.session) {
            let row = &self.sessions[session];
            let agent = row.agent.map(|agent| &self.agents[agent].id);
            let same = row.tenant == tenant
                && (row.owner == principal.subject || is_unclaimed(row))
                && agent == hello.card.as_ref().map(|card| &card.id);
            if !same {
                let message = format!("session id {} is somebody else's", hello.session);
                return Err(Refusal::new(RefusalCode::AlreadyTaken, message));
            }
        }
        Ok(())
    }

    /// Whether there is room for the inboxes of the agent and its skills that are not there yet.
    fn check_new_inboxes(&self, tenant: TenantKey, card: &AgentCard) -> Result<(), Refusal> {
        let tenant = &self.tenants[tenant];
        let new = card.skills.iter().filter(|skill| !tenant.skill_inboxes.contains_key(*skill));
        let own = usize::from(!tenant.agents.contains_key(&card.id));
        let (count, limit) = (self.inboxes.len() + new.count() + own, self.config.inboxes);
        if count > limit {
            let message = format!(
                "with agent '{}' there would be {count} inboxes, the limit is {limit}",
                card.id
            );
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        Ok(())
    }

    fn register(
        &mut self,
        now: Now,
        tenant: TenantKey,
        principal: &Principal,
        card: AgentCard,
        out: &mut Output,
    ) -> (AgentKey, Registered) {
        let key = self.agent_key(tenant, &card.id);
        let known = self.agents[key].registration.as_ref();
        let registered = match known.map(|known| known.card.whole(&card.id)) {
            Some(known) if known == card => return (key, Registered::Known),
            Some(known) => Registered::Changed(Box::new(known)),
            None => Registered::Anew,
        };
        let record = AgentRecord {
            tenant: principal.tenant.clone(),
            owner: principal.subject.to_string(),
            card,
            at: now.wall,
        };
        if self.config.logged {
            self.emit(Record::Agent(Box::new(record.clone())), out);
        }
        self.apply_agent(record);
        for session in self.agents[key].sessions.clone() {
            self.serve_inboxes(session);
            self.dispatch_session(now, session, out);
        }
        (key, registered)
    }

    /// Keeps the deliveries that a returning session still has, and takes back those that never
    /// reached it.
    fn keep_held(&mut self, now: Now, session: SessionKey, held: &[Token], out: &mut Output) {
        let leased: Vec<_> = self.sessions[session].leases.iter(&self.entries).collect();
        let still: BTreeSet<Token> = held.iter().copied().collect();
        for key in leased {
            let token = self.lease(key).map(|lease| lease.token);
            if token.is_some_and(|token| still.contains(&token)) {
                continue;
            }
            self.lose(now, key, Loss::Delivery, out);
        }
        for token in held {
            let Ok(key) = self.held_entry(session, *token) else { continue };
            let entry = &self.entries[key];
            let Some(lease) = self.lease_of(entry).copied() else { continue };
            // Its lease had run out, but nobody else has begun: it is the session's again, unless
            // it was told to stop because it ran too long.
            let back = matches!(entry.place, Place::Staged | Place::Ready | Place::Blocked);
            if back && !lease.called_off && lease.session == self.sessions[session].id {
                self.regrant(now, key, session, lease.begun, out);
            }
        }
        self.heartbeat(now, session, held);
        self.arm_session(session);
    }

    fn regrant(
        &mut self,
        now: Now,
        key: crate::table::EntryKey,
        session: SessionKey,
        begun: bool,
        out: &mut Output,
    ) {
        let Some(lease) = self.lease(key).copied() else { return };
        let id = self.sessions[session].id;
        self.unqueue(key);
        self.apply_leased(key, lease.token, session, id, lease.agent, now.wall);
        self.start_lease(now, key, session);
        self.resume_run(now, key, lease.run_until);
        if self.entries[key].is_logged() {
            let (entry, token) = (self.entries[key].id, lease.token);
            let agent = self.agents[lease.agent].id.clone();
            self.emit(Record::Leased { entry, token, session: id, agent, at: now.wall }, out);
            if begun {
                self.emit(Record::Begun { entry }, out);
            }
        }
        if let Some(lease) = self.lease_mut(key) {
            lease.begun = begun;
        }
        self.tell_watchers(now, key, out);
    }

    fn holds(&self, session: SessionKey, token: Token) -> bool {
        self.held_entry(session, token).is_ok_and(|key| {
            let entry = &self.entries[key];
            let lease = self.lease_of(entry);
            entry.place == Place::Leased && lease.is_some_and(|lease| lease.holder == session)
        })
    }
}
