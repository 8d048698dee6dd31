//! The directory as JSON, searched by skill, tag and state.

use super::a2a::acting;
use crate::hub::Hub;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use trunkline_a2a::PUSHER;
use trunkline_types::{
    AgentFilter, AgentId, AgentInfo, Answer, Presence, Query as Question, Refusal, RefusalCode,
    SkillName,
};

/// How many agents a page has when nothing is said, and at most.
const PAGE: usize = 100;
const MOST: usize = 1_000;

/// The agents that a search finds, a page in the order of their ids.
pub(crate) async fn agents(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Response {
    match search(&hub, &headers, &asked).await {
        Ok(page) => Json(page).into_response(),
        Err(refusal) => {
            let status = match refusal.code {
                RefusalCode::Invalid => StatusCode::BAD_REQUEST,
                RefusalCode::Forbidden => StatusCode::FORBIDDEN,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, format!("{refusal}\n")).into_response()
        }
    }
}

async fn search(
    hub: &Hub,
    headers: &HeaderMap,
    asked: &BTreeMap<String, String>,
) -> Result<Value, Refusal> {
    let invalid = |what: &str| Refusal::new(RefusalCode::Invalid, what.to_owned());
    let (mut filter, mut tag, mut limit) = (AgentFilter::default(), None, PAGE);
    for (name, value) in asked {
        let wrong = |error: &dyn std::fmt::Display| invalid(&format!("{name}: {error}"));
        match name.as_str() {
            "skill" => filter.skill = Some(SkillName::new(value).map_err(|error| wrong(&error))?),
            "tag" => tag = Some(value.as_str()),
            "state" => {
                filter.presence = Some(value.parse::<Presence>().map_err(|error| wrong(&error))?);
            }
            "after" => filter.after = Some(AgentId::new(value).map_err(|error| wrong(&error))?),
            "limit" => {
                let number = value.parse().ok().filter(|number| (1..=MOST).contains(number));
                let range = format!("'{value}' is out of range, which is 1 to {MOST}");
                limit = number.ok_or_else(|| wrong(&range))?;
            }
            _ => {
                let named: String = name.chars().take(64).collect();
                return Err(invalid(&format!(
                    "there is no '{named}'; search by skill, tag, state, after and limit"
                )));
            }
        }
    }
    let connector = hub.connector(acting(headers)?)?;
    let mut found = Vec::new();
    filter.limit = u32::try_from(MOST).unwrap_or(0);
    loop {
        let Answer::Agents(page) = connector.query(Question::Agents(filter.clone())).await? else {
            return Err(Refusal::new(RefusalCode::Unavailable, "the broker's answer is no agents"));
        };
        // What calls webhooks is the broker itself, and has no card.
        let fits = |agent: &AgentInfo| {
            agent.card.id.as_str() != PUSHER
                && tag.is_none_or(|tag| tags(agent).any(|known| known == tag))
        };
        found.extend(page.agents.into_iter().filter(fits));
        match page.next {
            Some(next) if found.len() <= limit => filter.after = Some(next),
            _ => break,
        }
    }
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|agent| agent.card.id.to_string());
    let agents: Vec<Value> = found.iter().map(shown).collect();
    Ok(json!({ "agents": agents, "next": next }))
}

/// What an agent is found by besides its skills: the tags of its card.
fn tags(agent: &AgentInfo) -> impl Iterator<Item = &str> {
    agent.card.types.iter().chain(&agent.card.capabilities).map(smol_str::SmolStr::as_str)
}

fn shown(agent: &AgentInfo) -> Value {
    let card = &agent.card;
    let labels = card.labels.iter().map(|(name, value)| (name.to_string(), json!(value.as_str())));
    json!({
        "id": card.id.as_str(),
        "name": if card.name.is_empty() { card.id.as_str() } else { &card.name },
        "description": card.description,
        "state": agent.presence.as_str(),
        "skills": card.skills.iter().map(SkillName::as_str).collect::<Vec<_>>(),
        "tags": tags(agent).collect::<Vec<_>>(),
        "labels": Value::Object(labels.collect()),
        "region": card.region.as_str(),
        "version": card.version.as_str(),
        "card": format!("/agents/{}/.well-known/agent-card.json", card.id),
    })
}
