//! Directory entries, what operators set about them, and news of them.

use crate::convert::words;
use crate::decode::{all, each, optional_name, optional_small_text, required, small_text};
use crate::{DecodeError, v1};
use trunkline_types::{
    AgentChange, AgentControl, AgentFilter, AgentInfo, AgentNews, BreakerInfo, WallTime,
};

impl From<AgentInfo> for v1::AgentInfo {
    fn from(info: AgentInfo) -> Self {
        let AgentInfo {
            card,
            owner,
            presence,
            sessions,
            in_flight,
            credit,
            waiting,
            registered_at,
            control,
            breakers,
        } = info;
        Self {
            card: Some(card.into()),
            owner: owner.into(),
            presence: v1::Presence::from(presence).into(),
            sessions,
            in_flight,
            credit,
            waiting,
            registered_at_ms: registered_at.0,
            control: Some(control.into()),
            breakers: each(breakers),
        }
    }
}

impl TryFrom<v1::AgentInfo> for AgentInfo {
    type Error = DecodeError;
    fn try_from(info: v1::AgentInfo) -> Result<Self, DecodeError> {
        Ok(Self {
            card: required("agent_info.card", info.card)?.try_into()?,
            owner: small_text("agent_info.owner", info.owner)?,
            presence: words::presence("agent_info.presence", info.presence)?,
            sessions: info.sessions,
            in_flight: info.in_flight,
            credit: info.credit,
            waiting: info.waiting,
            registered_at: WallTime(info.registered_at_ms),
            control: info.control.map(AgentControl::from).unwrap_or_default(),
            breakers: all(info.breakers)?,
        })
    }
}

impl From<AgentControl> for v1::AgentControl {
    fn from(AgentControl { weight, draining, healthy }: AgentControl) -> Self {
        Self { weight, draining, healthy }
    }
}

impl From<v1::AgentControl> for AgentControl {
    fn from(v1::AgentControl { weight, draining, healthy }: v1::AgentControl) -> Self {
        Self { weight, draining, healthy }
    }
}

impl From<AgentChange> for v1::AgentChange {
    fn from(AgentChange { weight, draining, healthy }: AgentChange) -> Self {
        Self { weight, draining, healthy }
    }
}

impl From<v1::AgentChange> for AgentChange {
    fn from(v1::AgentChange { weight, draining, healthy }: v1::AgentChange) -> Self {
        Self { weight, draining, healthy }
    }
}

impl From<BreakerInfo> for v1::BreakerInfo {
    fn from(BreakerInfo { inbox, state, failures, open_for_ms }: BreakerInfo) -> Self {
        let state = v1::BreakerState::from(state).into();
        Self { inbox: Some(inbox.into()), state, failures, open_for_ms }
    }
}

impl TryFrom<v1::BreakerInfo> for BreakerInfo {
    type Error = DecodeError;
    fn try_from(breaker: v1::BreakerInfo) -> Result<Self, DecodeError> {
        let v1::BreakerInfo { inbox, state, failures, open_for_ms } = breaker;
        Ok(Self {
            inbox: required("breaker_info.inbox", inbox)?.try_into()?,
            state: words::breaker_state("breaker_info.state", state)?,
            failures,
            open_for_ms,
        })
    }
}

impl From<AgentNews> for v1::AgentNews {
    fn from(AgentNews { event, agent }: AgentNews) -> Self {
        Self { event: v1::AgentEvent::from(event).into(), agent: Some(agent.into()) }
    }
}

impl TryFrom<v1::AgentNews> for AgentNews {
    type Error = DecodeError;
    fn try_from(v1::AgentNews { event, agent }: v1::AgentNews) -> Result<Self, DecodeError> {
        Ok(Self {
            event: words::agent_event("agent_news.event", event)?,
            agent: required("agent_news.agent", agent)?.try_into()?,
        })
    }
}

/// Leaves out what is of no account to who follows the directory.
impl From<AgentFilter> for v1::WatchAgents {
    fn from(filter: AgentFilter) -> Self {
        let AgentFilter {
            id,
            skill,
            agent_type,
            capability,
            labels,
            presence: _,
            after: _,
            limit: _,
        } = filter;
        Self {
            id: id.as_ref().map(ToString::to_string),
            skill: skill.as_ref().map(ToString::to_string),
            agent_type: agent_type.map(Into::into),
            capability: capability.map(Into::into),
            labels: each(labels),
        }
    }
}

impl TryFrom<v1::WatchAgents> for AgentFilter {
    type Error = DecodeError;
    fn try_from(watch: v1::WatchAgents) -> Result<Self, DecodeError> {
        let v1::WatchAgents { id, skill, agent_type, capability, labels } = watch;
        Ok(Self {
            id: optional_name("watch_agents.id", id.as_deref())?,
            skill: optional_name("watch_agents.skill", skill.as_deref())?,
            agent_type: optional_small_text("watch_agents.agent_type", agent_type)?,
            capability: optional_small_text("watch_agents.capability", capability)?,
            labels: all(labels)?,
            ..Self::default()
        })
    }
}
