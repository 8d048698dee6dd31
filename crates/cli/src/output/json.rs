//! What there is as JSON, for programs: one shape for each thing, whichever command prints it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use trunkline_agent::Event;
use trunkline_types::{
    AgentInfo, ArtifactChunk, AttemptNote, DeadLetter, Payload, TaskEvent, TaskEventBody,
    TaskSnapshot, TaskUpdate,
};

/// A payload: its bytes as `text` where they are UTF-8, else as `base64`.
pub(crate) fn payload(payload: &Payload) -> Value {
    let (key, bytes) = match std::str::from_utf8(&payload.data) {
        Ok(text) => ("text", text.to_owned()),
        Err(_) => ("base64", STANDARD.encode(&payload.data)),
    };
    let mut value = Map::new();
    value.insert("content_type".into(), payload.content_type.as_str().into());
    value.insert(key.into(), bytes.into());
    value.into()
}

/// An event of a subscription.
pub(crate) fn event(event: &Event) -> Value {
    let envelope = event.envelope();
    json!({
        "id": envelope.id.to_string(),
        "topic": event.topic().map(ToString::to_string),
        "source": envelope.source.as_ref().map(ToString::to_string),
        "context_id": envelope.context_id.as_ref().map(ToString::to_string),
        "headers": headers(&envelope.headers),
        "payload": payload(&envelope.payload),
        "missed": event.missed,
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
    let AgentInfo { card, owner, presence, sessions, in_flight, credit, waiting, registered_at } =
        agent;
    let texts = |texts: &[smol_str::SmolStr]| -> Value {
        texts.iter().map(smol_str::SmolStr::as_str).collect()
    };
    json!({
        "id": card.id.to_string(),
        "name": card.name,
        "description": card.description,
        "types": texts(&card.types),
        "skills": card.skills.iter().map(ToString::to_string).collect::<Vec<_>>(),
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
        "reason": reason,
        "at_ms": at.0,
        "accepted_at_ms": accepted_at.0,
        "attempts": attempts(notes),
        "headers": headers(&envelope.headers),
        "payload": payload(&envelope.payload),
    })
}
