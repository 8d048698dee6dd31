//! What is set about agents, and how they leave the directory.

use super::frame::Answered;
use crate::command::ConnectionKey;
use crate::defect::Defect;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::record::Record;
use crate::route::Subscriber;
use crate::settle::Loss;
use crate::table::{AgentKey, SessionKey};
use std::sync::Arc;
use trunkline_types::session::{SessionItem, Subscription};
use trunkline_types::{
    AgentChange, AgentControl, AgentEvent, AgentId, Presence, Refusal, RefusalCode,
};

impl Engine {
    /// Changes what is set about an agent. Its sessions are under it from now on, those that come
    /// later too.
    pub(crate) fn set_agent(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        (id, change): (&AgentId, AgentChange),
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let AgentChange { weight, draining, healthy } = change;
        let most = AgentControl::MOST_WEIGHT;
        if let Some(weight) = weight.filter(|&weight| weight > most) {
            let message =
                format!("the weight of agent '{id}' is {weight}, the range is 0 to {most}");
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let key = self.registered_agent(session, id)?;
        let before = self.agents[key].control;
        let control = AgentControl {
            weight: weight.unwrap_or(before.weight),
            draining: draining.unwrap_or(before.draining),
            healthy: healthy.unwrap_or(before.healthy),
        };
        let level = self.lasting_level();
        if self.config.logged {
            self.check_log()?;
            let tenant = self.tenants[self.agents[key].tenant].id.clone();
            let (agent, session, at) = (id.clone(), self.sessions[session].id, now.wall);
            // Also if nothing changes: what is sent again after a restart must not be done then.
            self.emit(Record::AgentSet { tenant, agent, control, session, operation, at }, out);
        }
        if control == before {
            return Ok(Answered::Done(level));
        }
        self.apply_agent_set(key, control);
        self.tell_agent(now, key, AgentEvent::Changed, out);
        for session in self.agents[key].sessions.clone() {
            if control.draining
                && !before.draining
                && let Some(connection) = self.sessions[session].connection
            {
                self.hold_item(now, level, (connection, drained(id)), out);
            }
            self.dispatch_session(now, session, out);
        }
        Ok(Answered::Done(level))
    }

    /// The state after something was set about an agent; shared by live commands and replay.
    pub(crate) fn apply_agent_set(&mut self, key: AgentKey, control: AgentControl) {
        let sequence = self.sequence;
        let agent = &mut self.agents[key];
        agent.sequence = sequence;
        agent.control = control;
        for session in agent.sessions.clone() {
            self.bar_session(session);
        }
    }

    /// Brings up to date whether a session is kept from work for its agent's sake.
    pub(crate) fn bar_session(&mut self, session: SessionKey) {
        let Some(agent) = self.sessions[session].agent else { return };
        let agent = &self.agents[agent];
        let drained = agent.control.draining && !self.planted(Defect::IgnoredDrain);
        let barred = drained || !agent.control.healthy || agent.registration.is_none();
        self.sessions[session].barred = barred;
        self.count_available(session);
    }

    /// Tells a session that was just welcomed, if its agent is drained.
    pub(crate) fn tell_drained(&mut self, session: SessionKey, out: &mut Output) {
        let row = &self.sessions[session];
        let (Some(agent), Some(connection)) = (row.agent, row.connection) else { return };
        if self.agents[agent].control.draining {
            let item = drained(&self.agents[agent].id);
            out.effects.push(Effect::Item { connection, item });
        }
    }

    /// Takes an agent out of the directory. Its sessions end once that is durable.
    pub(crate) fn unregister(
        &mut self,
        now: Now,
        session: SessionKey,
        operation: u64,
        id: &AgentId,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let key = self.registered_agent(session, id)?;
        let row = &self.sessions[session];
        let (asker, own, connection) = (row.id, row.agent == Some(key), row.connection);
        let owner = self.agents[key].registration.as_ref().map(|known| known.owner.as_str());
        if let Some(owner) = owner.filter(|owner| *owner != row.owner) {
            let message = format!(
                "agent '{id}' belongs to '{owner}', you are '{}'; only its owner may unregister it",
                row.owner
            );
            return Err(Refusal::new(RefusalCode::Forbidden, message));
        }
        if self.config.logged {
            self.check_log()?;
            let tenant = self.tenants[self.agents[key].tenant].id.clone();
            let agent = id.clone();
            let at = now.wall;
            self.emit(Record::AgentGone { tenant, agent, session: asker, operation, at }, out);
        }
        let info = self.agent_info(now, key);
        for gone in self.apply_agent_gone(key) {
            self.tell_filters(self.agents[key].tenant, Some(&gone), None, out);
        }
        if let Some(mut info) = info {
            info.presence = Presence::Offline;
            (info.sessions, info.in_flight, info.credit) = (0, 0, 0);
            info.control = AgentControl::default();
            info.breakers.clear();
            self.tell_news(now, AgentEvent::Gone, &info, None, key, out);
        }
        let level = self.lasting_level();
        if let (true, Some(connection)) = (own, connection) {
            // Its own session ends by it, so it is answered first.
            let row = &mut self.sessions[session];
            row.window.insert(operation);
            row.lasting.insert(operation);
            let done = SessionItem::Done { first: operation, last: operation };
            self.hold_item(now, level, (connection, done), out);
        }
        for session in self.agents[key].sessions.clone() {
            let row = &self.sessions[session];
            let held = Held::Dismiss(session, row.serial, row.connection);
            self.hold(now, level, held, out);
        }
        Ok(if own { Answered::Already } else { Answered::Done(level) })
    }

    /// The state after an agent was taken out; shared by live commands and replay. Returns the
    /// subscriptions that it had.
    pub(crate) fn apply_agent_gone(&mut self, key: AgentKey) -> Vec<Arc<Subscription>> {
        let sequence = self.sequence;
        let agent = &mut self.agents[key];
        agent.sequence = sequence;
        agent.registration = None;
        agent.control = AgentControl::default();
        let (sessions, tenant) = (agent.sessions.clone(), agent.tenant);
        let subscriptions = std::mem::take(&mut agent.subscriptions);
        for subscription in &subscriptions {
            self.tenants[tenant].topics.remove(Subscriber::Agent(key), subscription);
        }
        self.forget_breakers(key);
        for session in sessions {
            self.bar_session(session);
        }
        subscriptions
    }

    /// Ends a session whose agent was unregistered, unless it came back since, for then it has
    /// registered anew.
    pub(crate) fn dismiss(
        &mut self,
        now: Now,
        session: SessionKey,
        serial: u64,
        connection: Option<ConnectionKey>,
        out: &mut Output,
    ) {
        let Some(row) = self.sessions.get(session).filter(|row| row.serial == serial) else {
            return;
        };
        if let Some(current) = row.connection {
            if Some(current) != connection {
                return;
            }
            let reason = "its agent was unregistered".to_owned();
            let item = SessionItem::GoAway { reason, reconnect: false };
            out.effects.push(Effect::Item { connection: current, item });
        }
        self.end_session(now, session, Loss::Unregistered, out);
    }

    /// An agent of the session's tenant that has registered.
    fn registered_agent(&self, session: SessionKey, id: &AgentId) -> Result<AgentKey, Refusal> {
        let tenant = &self.tenants[self.sessions[session].tenant];
        let known = tenant.agent(id);
        known.filter(|&key| self.agents[key].registration.is_some()).ok_or_else(|| {
            let message =
                format!("agent '{id}' is unknown: it never registered, or it was unregistered");
            Refusal::new(RefusalCode::NotFound, message)
        })
    }
}

fn drained(id: &AgentId) -> SessionItem {
    SessionItem::Drain { reason: format!("agent '{id}' is drained by an operator") }
}
