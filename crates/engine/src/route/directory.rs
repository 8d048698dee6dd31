//! The directory: agents, their cards, their sessions.

use super::card::Card;
use crate::dispatch::Breaker;
use crate::engine::Engine;
use crate::queue::{Inbox, Owner};
use crate::record::AgentRecord;
use crate::table::{AgentKey, InboxKey, SessionKey, TenantKey};
use smol_str::SmolStr;
use std::sync::Arc;
use trunkline_types::session::Subscription;
use trunkline_types::{AgentControl, AgentId, Sequence, WallTime};

/// An agent that has registered, or that somebody has sent something to.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) id: AgentId,
    pub(crate) tenant: TenantKey,
    /// What it registered, once it has.
    pub(crate) registration: Option<Registration>,
    /// What operators have set about it.
    pub(crate) control: AgentControl,
    /// Its circuit breakers that are not closed or have counted failures.
    pub(crate) breakers: Vec<Breaker>,
    pub(crate) sessions: Vec<SessionKey>,
    /// Topics whose events are kept for it.
    pub(crate) subscriptions: Vec<Arc<Subscription>>,
    /// The latest record about it.
    pub(crate) sequence: Sequence,
    /// The oldest record that a replay needs to rebuild it.
    pub(crate) base: Sequence,
}

/// What an agent registered.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) owner: SmolStr,
    pub(crate) card: Card,
    pub(crate) at: WallTime,
}

impl Engine {
    /// The agent's row, made when it is first heard of.
    pub(crate) fn agent_key(&mut self, tenant: TenantKey, id: &AgentId) -> AgentKey {
        self.agent_keys(tenant, id).0
    }

    /// The agent's row and its inbox, made when it is first heard of.
    pub(super) fn agent_keys(&mut self, tenant: TenantKey, id: &AgentId) -> (AgentKey, InboxKey) {
        if let Some(&keys) = self.tenants[tenant].agents.get(id) {
            return keys;
        }
        let agent = self.agents.insert(Agent {
            id: id.clone(),
            tenant,
            registration: None,
            control: AgentControl::default(),
            breakers: Vec::new(),
            sessions: Vec::new(),
            subscriptions: Vec::new(),
            sequence: Sequence(0),
            base: Sequence(0),
        });
        let inbox = self.inboxes.insert(Inbox::new(tenant, Owner::Agent(agent)));
        self.tenants[tenant].agents.insert(id.clone(), (agent, inbox));
        (agent, inbox)
    }

    /// An agent registers or changes its card.
    pub(crate) fn apply_agent(&mut self, record: AgentRecord) -> AgentKey {
        let tenant = self.tenant_key(&record.tenant);
        let key = self.agent_key(tenant, &record.card.id);
        let sequence = self.sequence;
        let agent = &mut self.agents[key];
        agent.sequence = sequence;
        if agent.registration.is_none() {
            agent.base = sequence;
        }
        let at = agent.registration.as_ref().map_or(record.at, |known| known.at);
        let owner = record.owner.into();
        agent.registration = Some(Registration { owner, card: Card::new(record.card), at });
        key
    }
}
