//! A session: what it serves, what it holds, how it is connected.

use super::events::EventItem;
use crate::admission::{Outside, Window};
use crate::command::ConnectionKey;
use crate::engine::Engine;
use crate::now::Mono;
use crate::queue::List;
use crate::table::{AgentKey, InboxKey, SessionKey, TaskKey, TenantKey};
use smol_str::SmolStr;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::{Credit, SessionItem, Subscription};
use trunkline_types::{AgentFilter, Publish, SessionId, SkillName, Token};

/// An agent's or client's session.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// Tells this session from a later one in the same row.
    pub(crate) serial: u64,
    pub(crate) tenant: TenantKey,
    pub(crate) owner: SmolStr,
    pub(crate) agent: Option<AgentKey>,
    /// `None` while it is lost.
    pub(crate) connection: Option<ConnectionKey>,
    /// Whether it has been welcomed over its connection.
    pub(crate) active: bool,
    /// Whether it is known from the log only: what was ephemeral about it is gone.
    pub(crate) recovered: bool,
    pub(crate) draining: bool,
    /// Whether its agent is to get no work: an operator drains it or holds it for unfit.
    pub(crate) barred: bool,
    /// Until when a lost session may come back, in the engine's own time.
    pub(crate) lost_until: Option<Mono>,
    pub(crate) credit: Credit,
    /// How long its leases last: what was in force at its latest hello. It is told so with its
    /// welcome and renews them by that, whatever is set later.
    pub(crate) lease: Duration,
    pub(crate) in_flight: u32,
    /// Bytes of the payloads of what it holds.
    pub(crate) held_bytes: u64,
    /// What it holds, the lease that runs out first in front.
    pub(crate) leases: List,
    /// When its timer is set for, in the engine's own time.
    pub(crate) timer: Option<u64>,
    /// The skills that it has said to offer; of a session that is known from the log only, those
    /// of its agent's card.
    pub(crate) skills: Option<Box<[SkillName]>>,
    /// The inboxes it takes work from.
    pub(crate) inboxes: Vec<InboxKey>,
    /// Where the search for work goes on.
    pub(crate) rotation: usize,
    /// Whether it is counted as available in its inboxes.
    pub(crate) counted: bool,
    /// The number that its next operation must have.
    pub(crate) next_operation: u64,
    /// Which of its operations have been done.
    pub(crate) window: Window,
    /// Which of them a restart must know of.
    pub(crate) lasting: Window,
    /// What its latest hello said it holds, until it is welcomed.
    pub(crate) held: Vec<Token>,
    /// How requests ended while it was lost.
    pub(crate) pending: Vec<SessionItem>,
    pub(crate) watching: Vec<TaskKey>,
    /// Which agents of the directory it follows.
    pub(crate) follows: Option<Box<AgentFilter>>,
    /// Its publishes that wait outside full inboxes.
    pub(crate) outside: Outside,
    /// The inboxes that it was told to slow down for.
    pub(crate) pressed: Vec<InboxKey>,
    /// What its own subscriptions need; most sessions have none.
    pub(crate) events: Option<Box<SessionEvents>>,
}

/// A session's own subscriptions and the events on their way.
#[derive(Debug, Default)]
pub(crate) struct SessionEvents {
    pub(crate) subscriptions: Vec<Arc<Subscription>>,
    pub(crate) waiting: VecDeque<EventItem>,
    pub(crate) waiting_bytes: u64,
    /// Sent but not acknowledged: number, event, how many were missed before it.
    pub(crate) unacknowledged: VecDeque<(u64, Arc<Publish>, u64)>,
    pub(crate) unacknowledged_bytes: u64,
    /// The latest number that was used, for an event that was queued or dropped.
    pub(crate) last: u64,
    /// Not delivered since the last event that was queued and still waits or was sent.
    pub(crate) missed: u64,
}

impl Session {
    /// Whether it has said hello and waits for the broker's welcome. Until then it cannot renew
    /// its leases, and so they do not run out.
    pub(crate) fn waits_for_welcome(&self) -> bool {
        self.connection.is_some() && !self.active
    }

    /// Whether it would take a delivery now, if it may hold this many bytes.
    pub(crate) fn is_available(&self, most_bytes: u64) -> bool {
        self.active
            && self.takes_work()
            && self.in_flight < self.credit.deliveries
            && (self.in_flight == 0 || self.held_bytes < most_bytes)
    }

    /// Whether it would take deliveries, if only it had the credit.
    pub(crate) fn takes_work(&self) -> bool {
        self.connection.is_some() && !self.draining && !self.barred
    }
}

impl Engine {
    /// The session behind a connection.
    pub(crate) fn session_of(&self, connection: ConnectionKey) -> Option<SessionKey> {
        self.connections.get(&connection).copied()
    }

    /// Whether a session is over a connection now, without a search for it: a connection belongs to
    /// one session for good.
    pub(crate) fn is_over(&self, session: SessionKey, connection: ConnectionKey) -> bool {
        self.sessions.get(session).is_some_and(|row| row.connection == Some(connection))
    }

    /// Makes a session row.
    pub(crate) fn new_session(
        &mut self,
        id: SessionId,
        tenant: TenantKey,
        owner: SmolStr,
        agent: Option<AgentKey>,
    ) -> SessionKey {
        let serial = self.next_serial;
        self.next_serial += 1;
        let key = self.sessions.insert(Session {
            id,
            serial,
            tenant,
            owner,
            agent,
            connection: None,
            active: false,
            recovered: false,
            draining: false,
            barred: false,
            lost_until: None,
            credit: Credit::default(),
            lease: self.config.lease,
            in_flight: 0,
            held_bytes: 0,
            leases: List::default(),
            timer: None,
            skills: None,
            inboxes: Vec::new(),
            rotation: 0,
            counted: false,
            next_operation: 1,
            window: Window::default(),
            lasting: Window::default(),
            held: Vec::new(),
            pending: Vec::new(),
            watching: Vec::new(),
            follows: None,
            outside: Outside::new(),
            pressed: Vec::new(),
            events: None,
        });
        self.session_keys.insert(id, key);
        if let Some(agent) = agent {
            self.agents[agent].sessions.push(key);
        }
        self.tenants[tenant].tally.sessions += 1;
        self.bar_session(key);
        key
    }

    /// Serves exactly its agent's inbox and those of the skills that it offers itself: processes
    /// of one agent need not all do the same.
    pub(crate) fn serve_inboxes(&mut self, session: SessionKey) {
        let Some(agent) = self.sessions[session].agent else { return };
        let Some(registration) = &self.agents[agent].registration else { return };
        let (tenant, id) = (self.agents[agent].tenant, self.agents[agent].id.clone());
        let own = self.sessions[session].skills.as_deref();
        let skills = own.unwrap_or(&registration.card.skills).to_vec();
        let mut wanted = vec![self.agent_inbox(tenant, &id)];
        for skill in &skills {
            let inbox = self.skill_inbox(tenant, skill);
            if !wanted.contains(&inbox) {
                wanted.push(inbox);
            }
        }
        if self.sessions[session].inboxes != wanted {
            self.stop_serving(session);
            for &inbox in &wanted {
                self.inboxes[inbox].servers.push(session);
            }
            let row = &mut self.sessions[session];
            row.inboxes = wanted;
            row.rotation = 0;
        }
    }

    /// Takes no more work from any inbox.
    pub(crate) fn stop_serving(&mut self, session: SessionKey) {
        let row = &mut self.sessions[session];
        let counted = std::mem::take(&mut row.counted);
        for inbox in std::mem::take(&mut row.inboxes) {
            let inbox = &mut self.inboxes[inbox];
            inbox.servers.retain(|&other| other != session);
            if inbox.servers.is_empty() {
                inbox.servers = Vec::new();
            }
            inbox.available -= u32::from(counted);
        }
    }
}
