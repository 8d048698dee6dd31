//! Agent cards and directory entries.

use crate::convert::words;
use crate::decode::{all, each, name, required, small_text, small_texts, text};
use crate::{DecodeError, v1};
use smol_str::SmolStr;
use trunkline_types::{AgentCard, AgentInfo, WallTime};

fn strings(texts: &[SmolStr]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

impl From<AgentCard> for v1::AgentCard {
    fn from(card: AgentCard) -> Self {
        let AgentCard {
            id,
            name,
            description,
            types,
            skills,
            capabilities,
            labels,
            region,
            version,
        } = card;
        Self {
            id: id.to_string(),
            name,
            description,
            types: strings(&types),
            skills: skills.iter().map(ToString::to_string).collect(),
            capabilities: strings(&capabilities),
            labels: each(labels),
            region: region.into(),
            version: version.into(),
        }
    }
}

impl TryFrom<v1::AgentCard> for AgentCard {
    type Error = DecodeError;
    fn try_from(card: v1::AgentCard) -> Result<Self, DecodeError> {
        let skills = card.skills.iter().map(|skill| name("agent_card.skills", skill));
        Ok(Self {
            id: name("agent_card.id", &card.id)?,
            name: text("agent_card.name", card.name)?,
            description: text("agent_card.description", card.description)?,
            types: small_texts("agent_card.types", card.types)?,
            skills: skills.collect::<Result<_, _>>()?,
            capabilities: small_texts("agent_card.capabilities", card.capabilities)?,
            labels: all(card.labels)?,
            region: small_text("agent_card.region", card.region)?,
            version: small_text("agent_card.version", card.version)?,
        })
    }
}

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
        })
    }
}
