//! Agents that are servers of `Agent2Agent` elsewhere.

use crate::decode::{
    all, each, millis, name, optional_name, optional_text, small_text, small_texts, text,
};
use crate::{DecodeError, v1};
use std::time::Duration;
use trunkline_types::{A2aAgent, A2aAgentSettings, AgentId, SkillName, WallTime};

impl From<A2aAgentSettings> for v1::AddA2aAgentRequest {
    fn from(settings: A2aAgentSettings) -> Self {
        let A2aAgentSettings {
            url,
            id,
            idempotent,
            headers,
            refresh,
            answer_within,
            allow_private,
        } = settings;
        Self {
            url,
            id: id.as_ref().map(ToString::to_string),
            idempotent,
            headers: each(headers),
            refresh_ms: millis(refresh),
            answer_within_ms: millis(answer_within),
            allow_private,
        }
    }
}

impl TryFrom<v1::AddA2aAgentRequest> for A2aAgentSettings {
    type Error = DecodeError;
    fn try_from(request: v1::AddA2aAgentRequest) -> Result<Self, DecodeError> {
        let v1::AddA2aAgentRequest {
            url,
            id,
            idempotent,
            headers,
            refresh_ms,
            answer_within_ms,
            allow_private,
        } = request;
        let or = |millis: u64, usual: Duration| {
            if millis == 0 { usual } else { Duration::from_millis(millis) }
        };
        Ok(Self {
            url: text("add_a2a_agent.url", url)?,
            id: optional_name("add_a2a_agent.id", id.as_deref())?,
            idempotent,
            headers: all(headers)?,
            refresh: or(refresh_ms, Self::REFRESH),
            answer_within: or(answer_within_ms, Self::ANSWER_WITHIN),
            allow_private,
        })
    }
}

impl From<A2aAgent> for v1::A2aAgent {
    fn from(agent: A2aAgent) -> Self {
        let A2aAgent {
            id,
            url,
            idempotent,
            headers,
            refresh,
            answer_within,
            allow_private,
            interface,
            binding,
            streaming,
            skills,
            read_at,
            trouble,
        } = agent;
        Self {
            id: id.to_string(),
            url,
            idempotent,
            headers: headers.into_iter().map(Into::into).collect(),
            refresh_ms: millis(refresh),
            answer_within_ms: millis(answer_within),
            allow_private,
            interface,
            binding: binding.into(),
            streaming,
            skills: skills.iter().map(ToString::to_string).collect(),
            read_at_ms: read_at.map(|at| at.0),
            trouble,
        }
    }
}

impl TryFrom<v1::A2aAgent> for A2aAgent {
    type Error = DecodeError;
    fn try_from(agent: v1::A2aAgent) -> Result<Self, DecodeError> {
        let skill = |text: &String| name::<SkillName>("a2a_agent.skills", text);
        Ok(Self {
            id: name("a2a_agent.id", &agent.id)?,
            url: text("a2a_agent.url", agent.url)?,
            idempotent: agent.idempotent,
            headers: small_texts("a2a_agent.headers", agent.headers)?,
            refresh: Duration::from_millis(agent.refresh_ms),
            answer_within: Duration::from_millis(agent.answer_within_ms),
            allow_private: agent.allow_private,
            interface: text("a2a_agent.interface", agent.interface)?,
            binding: small_text("a2a_agent.binding", agent.binding)?,
            streaming: agent.streaming,
            skills: agent.skills.iter().map(skill).collect::<Result<_, _>>()?,
            read_at: agent.read_at_ms.map(WallTime),
            trouble: optional_text("a2a_agent.trouble", agent.trouble)?,
        })
    }
}

impl From<Vec<A2aAgent>> for v1::ListA2aAgentsResponse {
    fn from(agents: Vec<A2aAgent>) -> Self {
        Self { agents: each(agents) }
    }
}

impl TryFrom<v1::ListA2aAgentsResponse> for Vec<A2aAgent> {
    type Error = DecodeError;
    fn try_from(response: v1::ListA2aAgentsResponse) -> Result<Self, DecodeError> {
        all(response.agents)
    }
}

impl From<AgentId> for v1::RemoveA2aAgentRequest {
    fn from(id: AgentId) -> Self {
        Self { id: id.to_string() }
    }
}

impl TryFrom<v1::RemoveA2aAgentRequest> for AgentId {
    type Error = DecodeError;
    fn try_from(
        v1::RemoveA2aAgentRequest { id }: v1::RemoveA2aAgentRequest,
    ) -> Result<Self, DecodeError> {
        name("remove_a2a_agent.id", &id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_about_an_agent_elsewhere_comes_back_as_it_was() {
        let settings = A2aAgentSettings {
            id: Some(AgentId::new("far").unwrap()),
            idempotent: true,
            headers: vec![("x-key".into(), "k".into())],
            refresh: Duration::from_secs(5),
            answer_within: Duration::from_millis(70),
            allow_private: true,
            ..A2aAgentSettings::new("https://example.com")
        };
        let sent = v1::AddA2aAgentRequest::from(settings.clone());
        assert_eq!(A2aAgentSettings::try_from(sent), Ok(settings));
        let bare = v1::AddA2aAgentRequest { url: "u".into(), ..Default::default() };
        assert_eq!(A2aAgentSettings::try_from(bare), Ok(A2aAgentSettings::new("u")));
    }

    #[test]
    fn an_agent_elsewhere_comes_back_as_it_was() {
        let agent = A2aAgent {
            id: AgentId::new("far").unwrap(),
            url: "https://example.com".into(),
            idempotent: true,
            headers: vec!["x-key".into()],
            refresh: Duration::from_secs(5),
            answer_within: Duration::from_secs(7),
            allow_private: true,
            interface: "https://example.com/rpc".into(),
            binding: "JSONRPC 1.0".into(),
            streaming: true,
            skills: vec![SkillName::new("dig").unwrap()],
            read_at: Some(WallTime(9)),
            trouble: Some("away".into()),
        };
        let told = v1::ListA2aAgentsResponse::from(vec![agent.clone()]);
        assert_eq!(Vec::<A2aAgent>::try_from(told), Ok(vec![agent]));
        let nameless = v1::RemoveA2aAgentRequest { id: "a b".into() };
        assert!(AgentId::try_from(nameless).is_err());
    }
}
