//! Following the directory: who is there first, then what changes, each once it is durable.
//!
//! A change costs a look at each session that follows; nothing on the way of an envelope comes by
//! here.

use super::card::wants;
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::table::{AgentKey, SessionKey};
use trunkline_types::session::SessionItem;
use trunkline_types::{
    AgentCard, AgentEvent, AgentFilter, AgentInfo, AgentNews, Durability, Presence, Refusal,
    RefusalCode,
};

impl Engine {
    /// Lets a session follow the directory over its connection.
    pub(crate) fn follow_agents(
        &mut self,
        now: Now,
        session: SessionKey,
        filter: Box<AgentFilter>,
        out: &mut Output,
    ) -> Result<(), Refusal> {
        self.check_filter_size(&filter)?;
        let tenant = self.sessions[session].tenant;
        let mut found: Vec<_> = self
            .agents
            .iter()
            .filter(|(_, agent)| agent.tenant == tenant)
            .filter_map(|(key, agent)| Some((&agent.id, &agent.registration.as_ref()?.card, key)))
            .filter(|(id, card, _)| wants(&filter, card.shown(id)))
            .map(|(id, _, key)| (id, key))
            .collect();
        let (count, limit) = (found.len(), self.config.watched_agents);
        if count > limit {
            let message = format!(
                "the filter fits {count} agents, the limit is {limit}; narrow it by id, skill, \
                 type, capability or labels"
            );
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        found.sort_unstable();
        let present: Vec<_> =
            found.into_iter().filter_map(|(_, key)| self.agent_info(now, key)).collect();
        self.unfollow_agents(session);
        let row = &mut self.sessions[session];
        let Some(connection) = row.connection else { return Ok(()) };
        row.follows = Some(filter);
        self.tenants[tenant].followers.push(session);
        for agent in present {
            let news = Box::new(AgentNews { event: AgentEvent::Present, agent });
            let item = SessionItem::Agent(news);
            self.hold_item(now, Durability::Synced, (connection, item), out);
        }
        Ok(())
    }

    /// A session follows the directory no longer.
    pub(crate) fn unfollow_agents(&mut self, session: SessionKey) {
        let row = &mut self.sessions[session];
        if row.follows.take().is_some() {
            self.tenants[row.tenant].followers.retain(|&other| other != session);
        }
    }

    /// Tells those who follow an agent what happened to it.
    pub(crate) fn tell_agent(
        &mut self,
        now: Now,
        key: AgentKey,
        event: AgentEvent,
        out: &mut Output,
    ) {
        if self.is_followed(key)
            && let Some(info) = self.agent_info(now, key)
        {
            self.tell_news(now, event, &info, None, key, out);
        }
    }

    /// Tells those who follow an agent, or followed it by the card that it had before, what
    /// happened to it. All news wait for all records before them, so that none overtakes another.
    pub(crate) fn tell_news(
        &mut self,
        now: Now,
        event: AgentEvent,
        info: &AgentInfo,
        before: Option<&AgentCard>,
        key: AgentKey,
        out: &mut Output,
    ) {
        let tenant = self.agents[key].tenant;
        for follower in self.tenants[tenant].followers.clone() {
            let row = &self.sessions[follower];
            let (Some(connection), Some(filter)) = (row.connection, &row.follows) else { continue };
            if wants(filter, &info.card) || before.is_some_and(|card| wants(filter, card)) {
                let news = Box::new(AgentNews { event, agent: info.clone() });
                let item = (connection, SessionItem::Agent(news));
                self.hold_item(now, Durability::Synced, item, out);
            }
        }
    }

    /// Whether anybody follows the directory that the agent is in.
    pub(crate) fn is_followed(&self, key: AgentKey) -> bool {
        !self.tenants[self.agents[key].tenant].followers.is_empty()
    }

    /// How present an agent is, as far as that is news: there, draining or offline. To be
    /// compared by [`Self::tell_standing`]; costs nothing while nobody follows.
    pub(crate) fn standing(&self, agent: Option<AgentKey>) -> Presence {
        match agent.filter(|&key| self.is_followed(key)).map(|key| self.presence(key)) {
            None | Some(Presence::Offline) => Presence::Offline,
            Some(Presence::Draining) => Presence::Draining,
            Some(Presence::Starting | Presence::Ready | Presence::Busy) => Presence::Ready,
        }
    }

    /// Tells those who follow an agent if it came, left, or began or ceased to drain.
    pub(crate) fn tell_standing(
        &mut self,
        now: Now,
        agent: Option<AgentKey>,
        before: Presence,
        out: &mut Output,
    ) {
        let (Some(key), after) = (agent, self.standing(agent)) else { return };
        let event = match (before, after) {
            (before, after) if before == after => return,
            (Presence::Offline, _) => AgentEvent::Joined,
            (_, Presence::Offline) => AgentEvent::Left,
            _ => AgentEvent::Changed,
        };
        self.tell_agent(now, key, event, out);
    }

    fn check_filter_size(&self, filter: &AgentFilter) -> Result<(), Refusal> {
        let limits = &self.config.limits;
        if filter.labels.len() > limits.card_entries {
            let (count, limit) = (filter.labels.len(), limits.card_entries);
            let message = format!("the filter has {count} labels, the limit is {limit}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        let texts = filter.agent_type.iter().chain(&filter.capability);
        let labels = filter.labels.iter().flat_map(|(key, value)| [key, value]);
        let longest = texts.chain(labels).map(smol_str::SmolStr::len).max().unwrap_or(0);
        if longest > limits.header_bytes {
            let limit = limits.header_bytes;
            let message = format!("a text in the filter has {longest} bytes, the limit is {limit}");
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        Ok(())
    }
}
