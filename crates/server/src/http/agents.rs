//! The directory as JSON, searched by skill, tag and state; and agents elsewhere, added and removed.

use super::a2a::acting;
use crate::a2a_agent_json::a2a_agent_json;
use crate::hub::Hub;
use crate::proxy::check_tenant;
use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinError;
use trunkline_a2a::is_own;
use trunkline_types::{
    A2aAgent, A2aAgentSettings, AgentFilter, AgentId, AgentInfo, Answer, Presence,
    Query as Question, Refusal, RefusalCode, SkillName,
};

/// How many agents a page has when nothing is said, and at most.
const PAGE: usize = 100;
const MOST: usize = 1_000;

/// Most bytes of what says how an agent elsewhere is added.
const MOST_BYTES: usize = 256 << 10;

fn refused(refusal: &Refusal) -> Response {
    let status = match refusal.code {
        RefusalCode::Invalid => StatusCode::BAD_REQUEST,
        RefusalCode::Forbidden => StatusCode::FORBIDDEN,
        RefusalCode::NotFound => StatusCode::NOT_FOUND,
        RefusalCode::AlreadyTaken => StatusCode::CONFLICT,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{refusal}\n")).into_response()
}

/// What is said where a change was begun and did not end.
fn broken(error: &JoinError) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, format!("the change did not end: {error}"))
}

/// What is said of an agent elsewhere that is to be added.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    a2a: String,
    id: Option<String>,
    #[serde(default)]
    idempotent: bool,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    bearer: Option<String>,
    refresh_ms: Option<u64>,
    answer_within_ms: Option<u64>,
    #[serde(default)]
    allow_private: bool,
}

/// Makes a server of A2A elsewhere an agent.
pub(crate) async fn add_agent(State(hub): State<Arc<Hub>>, request: Request) -> Response {
    let added = async {
        let (parts, body) = request.into_parts();
        check_tenant(&acting(&parts.headers)?)?;
        let invalid = |what: String| Refusal::new(RefusalCode::Invalid, what);
        // Pages cannot send it across origins without being asked first.
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
            return Err(invalid("the body is not application/json".to_owned()));
        }
        let body = to_bytes(body, MOST_BYTES).await;
        let body = body.map_err(|error| invalid(format!("the body cannot be read: {error}")))?;
        let added: Added = serde_json::from_slice(&body)
            .map_err(|error| invalid(format!("the body is no agent elsewhere: {error}")))?;
        let id = added.id.map(AgentId::new).transpose();
        let id = id.map_err(|error| invalid(format!("id: {error}")))?;
        let mut settings = A2aAgentSettings { id, ..A2aAgentSettings::new(added.a2a) };
        settings.idempotent = added.idempotent;
        settings.allow_private = added.allow_private;
        let headers = added.headers.iter();
        settings.headers = headers.map(|(name, value)| (name.into(), value.into())).collect();
        if let Some(token) = added.bearer {
            settings.headers.push(("authorization".into(), format!("Bearer {token}").into()));
        }
        for (said, span) in [
            (added.refresh_ms, &mut settings.refresh),
            (added.answer_within_ms, &mut settings.answer_within),
        ] {
            if let Some(millis) = said {
                *span = Duration::from_millis(millis);
            }
        }
        // Begun is done: who hangs up does not leave half an agent behind.
        let adding = tokio::spawn(async move { hub.proxies.add(&hub, settings).await });
        adding.await.map_err(|error| broken(&error))?
    };
    match added.await {
        Ok(agent) => (StatusCode::CREATED, Json(a2a_agent_json(&agent))).into_response(),
        Err(refusal) => refused(&refusal),
    }
}

/// Takes an agent elsewhere out of the directory.
pub(crate) async fn remove_agent(
    State(hub): State<Arc<Hub>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let removed = async {
        check_tenant(&acting(&headers)?)?;
        let id = AgentId::new(id)
            .map_err(|error| Refusal::new(RefusalCode::Invalid, error.to_string()))?;
        let removing = tokio::spawn(async move { hub.proxies.remove(&hub, &id).await });
        removing.await.map_err(|error| broken(&error))?
    };
    match removed.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refused(&refusal),
    }
}

/// The agents that a search finds, a page in the order of their ids.
pub(crate) async fn agents(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Response {
    match search(&hub, &headers, &asked).await {
        Ok(page) => Json(page).into_response(),
        Err(refusal) => refused(&refusal),
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
        // What calls others is the broker itself, and has no card.
        let fits = |agent: &AgentInfo| {
            !is_own(agent.card.id.as_str())
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
    let known = hub.proxies.list();
    let agents: Vec<Value> = found.iter().map(|agent| shown(agent, &known)).collect();
    Ok(json!({ "agents": agents, "next": next }))
}

/// What an agent is found by besides its skills: the tags of its card.
fn tags(agent: &AgentInfo) -> impl Iterator<Item = &str> {
    agent.card.types.iter().chain(&agent.card.capabilities).map(smol_str::SmolStr::as_str)
}

fn shown(agent: &AgentInfo, known: &[A2aAgent]) -> Value {
    let card = &agent.card;
    let labels = card.labels.iter().map(|(name, value)| (name.to_string(), json!(value.as_str())));
    let mut shown = json!({
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
    });
    if let Some(known) = known.iter().find(|known| known.id == card.id) {
        shown["a2a"] = a2a_agent_json(known);
    }
    shown
}
