//! What there is as JSON, for programs: one shape for each thing, whichever command prints it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use trunkline_content::decompress;
use trunkline_types::session::NumberRange;
use trunkline_types::{
    AgentControl, AgentInfo, AgentNews, ArtifactChunk, AttemptNote, Binding, BreakerInfo,
    ContextSnapshot, CopyStatus, DeadLetter, Destination, Encoding, Envelope, Failure, Gathered,
    GatheredPart, History, HistoryMessage, InboxInfo, InboxSettings, JsonSchema, Kind,
    MessageStatus, Payload, Routing, Schedule, ScheduleInfo, SkillSchemas, TaskEvent,
    TaskEventBody, TaskSnapshot, TaskUpdate, WhenFull,
};

/// The most that a payload may become when its compression is undone to be shown.
const SHOWN_BYTES: usize = 64 << 20;

/// A payload with its compression undone, so that it can be read; as it is if that fails.
pub(crate) fn plain(payload: &Payload) -> Cow<'_, Payload> {
    if payload.encoding == Encoding::Identity {
        return Cow::Borrowed(payload);
    }
    match decompress(payload, SHOWN_BYTES) {
        Ok(plain) => Cow::Owned(plain),
        Err(_) => Cow::Borrowed(payload),
    }
}

/// A payload: its bytes as `text` where they are UTF-8, else as `base64`; if it travelled
/// compressed, how. An `encoding` with `base64` may be one that could not be undone.
pub(crate) fn payload(payload: &Payload) -> Value {
    let readable = plain(payload);
    let (key, bytes) = match std::str::from_utf8(&readable.data) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64", STANDARD.encode(&readable.data)),
    };
    let mut value = Map::new();
    value.insert("content_type".into(), payload.content_type.as_str().into());
    if payload.encoding != Encoding::Identity {
        value.insert("encoding".into(), payload.encoding.as_str().into());
    }
    value.insert(key.into(), bytes.into());
    value.into()
}

/// An event of a subscription, and how many were dropped before it.
pub(crate) fn event(envelope: &Envelope, missed: u64, numbers: Option<NumberRange>) -> Value {
    let topic = match &envelope.destination {
        Destination::Topic(topic) => Some(topic.to_string()),
        _ => None,
    };
    json!({
        "id": envelope.id.to_string(),
        "topic": topic,
        "source": envelope.source.as_ref().map(ToString::to_string),
        "context_id": envelope.context_id.as_ref().map(ToString::to_string),
        "headers": headers(&envelope.headers),
        "payload": payload(&envelope.payload),
        "kind": envelope.kind.as_str(),
        "correlation_id": envelope.correlation_id.as_ref().map(ToString::to_string),
        "traceparent": envelope.traceparent.as_deref(),
        "missed": missed,
        "missed_numbers": numbers
            .map(|range| json!({ "first": range.first, "last": range.last })),
    })
}

/// What came of a request to several agents.
pub(crate) fn gathered(gathered: &Gathered) -> Value {
    let Gathered { request, complete, parts } = gathered;
    let part = |GatheredPart { agent, result }: &GatheredPart| match result {
        Ok(answer) => json!({ "agent": agent.to_string(), "payload": payload(answer) }),
        Err(Failure { code, reason }) => json!({
            "agent": agent.to_string(),
            "failure": { "code": code.as_str(), "reason": reason },
        }),
    };
    json!({
        "id": request.to_string(),
        "complete": complete,
        "parts": parts.iter().map(part).collect::<Value>(),
    })
}

fn headers(headers: &trunkline_types::Headers) -> Value {
    headers.iter().map(|(name, value)| json!([name.as_str(), value.as_str()])).collect()
}

/// A task as it stands.
pub(crate) fn task(task: &TaskSnapshot) -> Value {
    let TaskSnapshot {
        id,
        destination,
        source,
        context_id,
        causation_id,
        root_id,
        state,
        reason,
        agent,
        attempts: begun,
        notes,
        progress,
        result,
        last_event,
        created_at,
        updated_at,
        history: said,
    } = task;
    json!({
        "id": id.to_string(),
        "destination": destination.to_string(),
        "source": source.as_ref().map(ToString::to_string),
        "context_id": context_id.as_ref().map(ToString::to_string),
        "causation_id": causation_id.as_ref().map(ToString::to_string),
        "root_id": root_id.as_ref().map(ToString::to_string),
        "state": state.as_str(),
        "reason": reason,
        "agent": agent.as_ref().map(ToString::to_string),
        "attempts": begun,
        "notes": attempts(notes),
        "progress": progress
            .as_ref()
            .map(|progress| json!({ "percent": progress.percent, "text": progress.text })),
        "result": result.as_ref().map(payload),
        "last_event": last_event,
        "created_at_ms": created_at.0,
        "updated_at_ms": updated_at.0,
        "history": history(said),
    })
}

/// The latest messages of a task or a conversation, oldest first.
fn history(History { messages, more }: &History) -> Value {
    let message = |message: &HistoryMessage| {
        let HistoryMessage { task, role, from, at, payload: said } = message;
        json!({
            "task": task.to_string(),
            "role": role.as_str(),
            "from": from.as_ref().map(ToString::to_string),
            "at_ms": at.0,
            "payload": payload(said),
        })
    };
    json!({ "messages": messages.iter().map(message).collect::<Value>(), "more": more })
}

/// A conversation as it stands.
pub(crate) fn context(context: &ContextSnapshot) -> Value {
    let ContextSnapshot { id, tasks, tasks_open, history: said } = context;
    json!({
        "id": id.to_string(),
        "tasks": tasks,
        "tasks_open": tasks_open,
        "history": history(said),
    })
}

/// What became of attempts that did not succeed.
fn attempts(notes: &[AttemptNote]) -> Value {
    let note = |note: &AttemptNote| {
        let AttemptNote { attempt, agent, at, reason } = note;
        json!({
            "attempt": attempt,
            "agent": agent.as_ref().map(ToString::to_string),
            "at_ms": at.0,
            "reason": reason,
        })
    };
    notes.iter().map(note).collect()
}

/// News of a watched task.
pub(crate) fn task_update(update: &TaskUpdate) -> Value {
    match update {
        TaskUpdate::Event(TaskEvent { number, epoch, at, body }) => {
            let (kind, body) = task_event(body);
            json!({ "number": number, "epoch": epoch.0, "at_ms": at.0, kind: body })
        }
        TaskUpdate::Progress(progress) => {
            json!({ "progress": { "percent": progress.percent, "text": progress.text } })
        }
        TaskUpdate::Gap { first, last } => json!({ "gap": { "first": first, "last": last } }),
    }
}

fn task_event(body: &TaskEventBody) -> (&'static str, Value) {
    match body {
        TaskEventBody::Status { state, reason } => {
            ("status", json!({ "state": state.as_str(), "reason": reason }))
        }
        TaskEventBody::Artifact(ArtifactChunk { name, append, last, payload: chunk }) => (
            "artifact",
            json!({
                "name": name.as_str(), "append": append, "last": last, "payload": payload(chunk),
            }),
        ),
        TaskEventBody::Message { from, payload: said } => (
            "message",
            json!({ "from": from.as_ref().map(ToString::to_string), "payload": payload(said) }),
        ),
    }
}

/// An agent of the directory.
pub(crate) fn agent(agent: &AgentInfo) -> Value {
    let AgentInfo {
        card,
        owner,
        presence,
        sessions,
        in_flight,
        credit,
        waiting,
        registered_at,
        control: AgentControl { weight, draining, healthy },
        breakers,
    } = agent;
    let texts = |texts: &[smol_str::SmolStr]| -> Value {
        texts.iter().map(smol_str::SmolStr::as_str).collect()
    };
    let breaker = |BreakerInfo { inbox, state, failures, open_for_ms }: &BreakerInfo| {
        json!({
            "inbox": inbox.to_string(),
            "state": state.as_str(),
            "failures": failures,
            "open_for_ms": open_for_ms,
        })
    };
    json!({
        "id": card.id.to_string(),
        "name": card.name,
        "description": card.description,
        "types": texts(&card.types),
        "skills": card.skills.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "schemas": card.schemas.iter().map(skill_schemas).collect::<Map<_, _>>(),
        "capabilities": texts(&card.capabilities),
        "labels": headers(&card.labels),
        "region": card.region.as_str(),
        "version": card.version.as_str(),
        "owner": owner.as_str(),
        "presence": presence.as_str(),
        "sessions": sessions,
        "in_flight": in_flight,
        "credit": credit,
        "waiting": waiting,
        "registered_at_ms": registered_at.0,
        "weight": weight,
        "draining": draining,
        "healthy": healthy,
        "breakers": breakers.iter().map(breaker).collect::<Value>(),
    })
}

/// The schemas of a skill by its name. One that is not declared is `null`.
fn skill_schemas(of: &SkillSchemas) -> (String, Value) {
    let SkillSchemas { skill, input, output } = of;
    let read = |schema: Option<&JsonSchema>| {
        // What is no JSON is no schema, and is not in a card.
        schema.and_then(|schema| serde_json::from_str::<Value>(schema.as_str()).ok())
    };
    (skill.to_string(), json!({ "input": read(input.as_ref()), "output": read(output.as_ref()) }))
}

/// News of the directory. With another snapshot than before, who was there is told anew.
pub(crate) fn agent_news(news: &AgentNews, snapshot: u64) -> Value {
    let AgentNews { event, agent: about } = news;
    json!({ "event": event.as_str(), "snapshot": snapshot, "agent": agent(about) })
}

/// Where each copy of a message is.
pub(crate) fn message(message: &MessageStatus) -> Value {
    let MessageStatus { id, kind, destination, accepted_at, copies } = message;
    let copy = |CopyStatus { inbox, state, attempts, agent }: &CopyStatus| {
        json!({
            "inbox": inbox.as_ref().map(ToString::to_string),
            "state": state.as_str(),
            "attempts": attempts,
            "agent": agent.as_ref().map(ToString::to_string),
        })
    };
    json!({
        "id": id.to_string(),
        "kind": kind.map(Kind::as_str),
        "destination": destination.as_ref().map(ToString::to_string),
        "accepted_at_ms": accepted_at.map(|at| at.0),
        "copies": copies.iter().map(copy).collect::<Value>(),
    })
}

/// An inbox. A setting that is null is not set; `effective` says what is in force.
pub(crate) fn inbox(inbox: &InboxInfo) -> Value {
    let InboxInfo { settings, effective, stats, waiting_outside, servers } = inbox;
    let InboxSettings { when_full, wait, limit, ttl, routing, bindings } = settings;
    let bound = |Binding { priority, key, value }: &Binding| json!({ "priority": priority.as_str(), "label": key.as_str(), "value": value.as_str() });
    let (counters, gauges) = (&stats.counters, &stats.gauges);
    json!({
        "inbox": stats.address.as_ref().map(ToString::to_string),
        "when_full": when_full.map(WhenFull::as_str),
        "wait_ms": wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        "limit": limit,
        "ttl_ms": ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
        "routing": routing.map(Routing::as_str),
        "bindings": bindings.iter().map(bound).collect::<Value>(),
        "effective": {
            "when_full": effective.when_full.as_str(),
            "wait_ms": u64::try_from(effective.wait.as_millis()).unwrap_or(u64::MAX),
            "ephemeral": effective.ephemeral,
            "logged": effective.logged,
            "routing": effective.routing.map(Routing::as_str),
        },
        "servers": servers,
        "waiting_outside": waiting_outside,
        "accepted": counters.accepted,
        "settled": counters.settled,
        "dead_lettered": counters.dead_lettered,
        "expired": counters.expired,
        "canceled": counters.canceled,
        "dropped": counters.dropped,
        "waiting": gauges.waiting,
        "parked": gauges.parked,
        "delayed": gauges.delayed,
        "paused": gauges.paused,
        "leased": gauges.leased,
    })
}

/// A schedule as it stands.
pub(crate) fn schedule(info: &ScheduleInfo) -> Value {
    let ScheduleInfo { schedule, next, fired, last, refused } = info;
    let Schedule { name, cron, zone, publish } = schedule;
    json!({
        "name": name.to_string(),
        "cron": cron.as_str(),
        "zone": zone.as_str(),
        "destination": publish.envelope.destination.to_string(),
        "next_at_ms": next.map(|at| at.0),
        "fired": fired,
        "last": last.map(|(id, due)| json!({ "id": id.to_string(), "due_at_ms": due.0 })),
        "refused": refused.as_ref().map(ToString::to_string),
        "payload": payload(&publish.envelope.payload),
    })
}

/// A dead letter with what was sent.
pub(crate) fn dead_letter(letter: &DeadLetter) -> Value {
    let DeadLetter { publish, inbox, reason, at, accepted_at, attempts: notes } = letter;
    let envelope = &publish.envelope;
    json!({
        "id": envelope.id.to_string(),
        "destination": envelope.destination.to_string(),
        "source": envelope.source.as_ref().map(ToString::to_string),
        "inbox": inbox.to_string(),
        "redriven_from": envelope.redriven_from.as_ref().map(ToString::to_string),
        "reason": reason,
        "at_ms": at.0,
        "accepted_at_ms": accepted_at.0,
        "attempts": attempts(notes),
        "headers": headers(&envelope.headers),
        "payload": payload(&envelope.payload),
    })
}
