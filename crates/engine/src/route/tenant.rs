//! A tenant: the root of every key.

use super::pending::Pending;
use super::topics::Topics;
use crate::admission::Keys;
use crate::engine::Engine;
use crate::map::{Map, map};
use crate::queue::{Inbox, Owner};
use crate::record::CarriedTally;
use crate::schedule::Schedules;
use crate::table::{AgentKey, InboxKey, SessionKey, TenantKey};
use trunkline_types::{AgentId, InboxAddress, Sequence, SkillName, TenantId};

/// What belongs to one tenant.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    /// Every agent that was heard of, registered or not, and its inbox.
    pub(crate) agents: Map<AgentId, (AgentKey, InboxKey)>,
    /// The inboxes of skills, offered or not.
    pub(crate) skill_inboxes: Map<SkillName, InboxKey>,
    /// Counts the events of bare subscriptions.
    pub(crate) bare: InboxKey,
    pub(crate) topics: Topics,
    pub(crate) pending: Pending,
    pub(crate) keys: Keys,
    pub(crate) schedules: Schedules,
    pub(crate) tally: Tally,
    /// How many bytes of answers its requests hold that gather several.
    pub(crate) gathered_bytes: u64,
    /// The sessions that follow the directory.
    pub(crate) followers: Vec<SessionKey>,
}

/// What is counted per tenant rather than per inbox.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) unrouted: u64,
    pub(crate) duplicates: u64,
    pub(crate) replies_dropped: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) canceled: u64,
    pub(crate) open: u64,
    /// Of either class. A replay finds it in the end: what has ended and is not kept.
    pub(crate) forgotten: u64,
    /// Since the start.
    pub(crate) events_forgotten: u64,
    pub(crate) sessions: u64,
    pub(crate) breakers_opened: u64,
    pub(crate) overran: u64,
    /// Of either class, and found like those.
    pub(crate) letters_forgotten: u64,
    pub(crate) redriven: u64,
    pub(crate) purged: u64,
    /// What records tell of, which a replay rebuilds; the other figures are what came to it.
    pub(crate) recorded: CarriedTally,
    /// The oldest record that a replay needs to rebuild these.
    pub(crate) base: Sequence,
    /// What they came to when they were last written in full.
    pub(crate) figured: u64,
}

impl Tenant {
    /// The row of an agent that was heard of.
    pub(crate) fn agent(&self, id: &AgentId) -> Option<AgentKey> {
        self.agents.get(id).map(|&(agent, _)| agent)
    }

    /// The inbox of an agent that was heard of.
    pub(crate) fn agent_inbox(&self, id: &AgentId) -> Option<InboxKey> {
        self.agents.get(id).map(|&(_, inbox)| inbox)
    }
}

impl Tally {
    /// The counter of publishes that were accepted, those in records or the others.
    pub(crate) fn accepted_of(&mut self, recorded: bool) -> &mut u64 {
        if recorded { &mut self.recorded.accepted } else { &mut self.accepted }
    }
}

impl Engine {
    /// The tenant's row, made when it is first heard of.
    pub(crate) fn tenant_key(&mut self, id: &TenantId) -> TenantKey {
        if let Some(&key) = self.tenant_keys.get(id) {
            return key;
        }
        let seed = self.config.seed;
        let key = self.tenants.insert(Tenant {
            id: id.clone(),
            agents: map(seed),
            skill_inboxes: map(seed),
            bare: <InboxKey as crate::table::Key>::from_slot(0),
            topics: Topics::new(seed),
            pending: Pending::default(),
            keys: Keys::new(seed),
            schedules: Schedules::new(),
            tally: Tally::default(),
            gathered_bytes: 0,
            followers: Vec::new(),
        });
        self.tenants[key].bare = self.inboxes.insert(Inbox::new(key, Owner::Bare));
        self.tenant_keys.insert(id.clone(), key);
        key
    }

    /// The inbox of a skill, made when it is first heard of.
    pub(crate) fn skill_inbox(&mut self, tenant: TenantKey, skill: &SkillName) -> InboxKey {
        if let Some(&key) = self.tenants[tenant].skill_inboxes.get(skill) {
            return key;
        }
        let key = self.inboxes.insert(Inbox::new(tenant, Owner::Skill(skill.clone())));
        self.tenants[tenant].skill_inboxes.insert(skill.clone(), key);
        key
    }

    /// The inbox of an agent, made with the agent's row when it is first heard of.
    pub(crate) fn agent_inbox(&mut self, tenant: TenantKey, id: &AgentId) -> InboxKey {
        self.agent_keys(tenant, id).1
    }

    /// The inbox of an address.
    pub(crate) fn inbox(&mut self, tenant: TenantKey, address: &InboxAddress) -> InboxKey {
        match address {
            InboxAddress::Agent(id) => self.agent_inbox(tenant, id),
            InboxAddress::Skill(skill) => self.skill_inbox(tenant, skill),
        }
    }

    /// Whose inbox it is; `None` for the one that only counts bare subscriptions and the one of
    /// events that wait.
    pub(crate) fn address(&self, inbox: InboxKey) -> Option<InboxAddress> {
        match &self.inboxes[inbox].owner {
            Owner::Agent(agent) => Some(InboxAddress::Agent(self.agents[*agent].id.clone())),
            Owner::Skill(skill) => Some(InboxAddress::Skill(skill.clone())),
            Owner::Bare | Owner::Pending => None,
        }
    }
}
