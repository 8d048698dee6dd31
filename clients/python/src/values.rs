//! What the broker says, as tuples and dictionaries that the package makes its own types of.

use crate::{errors, listed, payload};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use trunkline_agent::{Acceptance, BatchOutcome, Event, Reply};
use trunkline_types::{
    AgentInfo, BreakerInfo, Envelope, Gathered, GatheredPart, JsonSchema, SkillSchemas, TaskEvent,
    TaskEventBody, TaskSnapshot, TaskUpdate, WallTime,
};

/// Seconds since the Unix epoch.
#[allow(clippy::cast_precision_loss, reason = "milliseconds need fewer bits than there are")]
pub(crate) fn seconds(at: WallTime) -> f64 {
    at.0 as f64 / 1000.0
}

/// Bytes, media type, the request's id, and the agent.
pub(crate) fn reply(py: Python<'_>, reply: &Reply) -> PyResult<Py<PyAny>> {
    let (data, content_type) = payload::given(py, &reply.payload)?.extract::<Pair<'_>>()?;
    let agent = reply.agent.as_ref().map(trunkline_types::AgentId::as_str);
    (data, content_type, reply.request.to_string(), agent).into_py_any(py)
}

type Pair<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Id, whether it is a repeat, and how many had it, had it dropped, and will find it.
pub(crate) fn acceptance(py: Python<'_>, acceptance: &Acceptance) -> PyResult<Py<PyAny>> {
    let &Acceptance { id, duplicate, targets, dropped, parked } = acceptance;
    (id.to_string(), duplicate, targets, dropped, parked).into_py_any(py)
}

/// How many of a batch were accepted, were repeats and were dropped for somebody, and what was
/// refused, by its place.
pub(crate) fn batch_outcome(py: Python<'_>, outcome: &BatchOutcome) -> PyResult<Py<PyAny>> {
    let BatchOutcome { accepted, duplicates, dropped, ref refused, .. } = *outcome;
    let refused = refused
        .iter()
        .map(|(place, refusal)| (*place, errors::refused(py, refusal).into_value(py)));
    let refused: Vec<_> = refused.collect();
    (accepted, duplicates, dropped, refused).into_py_any(py)
}

/// The request's id, whether enough has come, the answers, and why others gave none.
pub(crate) fn gathered(py: Python<'_>, gathered: &Gathered) -> PyResult<Py<PyAny>> {
    let (answers, missing) = (PyDict::new(py), PyDict::new(py));
    for GatheredPart { agent, result } in &gathered.parts {
        match result {
            Ok(payload) => answers.set_item(agent.as_str(), payload::given(py, payload)?)?,
            Err(failure) => {
                let error = errors::unanswered(py, &failure.clone().into());
                missing.set_item(agent.as_str(), error.into_value(py))?;
            }
        }
    }
    (gathered.request.to_string(), gathered.complete, answers, missing).into_py_any(py)
}

/// An event of a subscription.
pub(crate) fn event(py: Python<'_>, event: &Event) -> PyResult<Py<PyAny>> {
    let envelope = event.envelope();
    let (data, content_type) = payload::given(py, event.payload())?.extract::<Pair<'_>>()?;
    (
        data,
        content_type,
        envelope.id.to_string(),
        event.topic().map(trunkline_types::Topic::as_str),
        envelope.source.as_ref().map(trunkline_types::AgentId::as_str),
        headers(py, envelope)?,
        event.missed,
    )
        .into_py_any(py)
}

/// The headers of an envelope as pairs.
pub(crate) fn headers<'py>(py: Python<'py>, envelope: &Envelope) -> PyResult<Bound<'py, PyList>> {
    let pairs = envelope.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    PyList::new(py, pairs.collect::<Vec<_>>())
}

/// A task as it stands, by the names of its fields.
pub(crate) fn snapshot<'py>(py: Python<'py>, task: &TaskSnapshot) -> PyResult<Bound<'py, PyDict>> {
    let said = PyDict::new(py);
    said.set_item("id", task.id.to_string())?;
    said.set_item("to", task.destination.to_string())?;
    said.set_item("state", task.state.as_str())?;
    said.set_item("reason", task.reason.as_deref())?;
    said.set_item("agent", task.agent.as_ref().map(trunkline_types::AgentId::as_str))?;
    said.set_item("source", task.source.as_ref().map(trunkline_types::AgentId::as_str))?;
    said.set_item("context", task.context_id.as_ref().map(trunkline_types::ContextId::as_str))?;
    said.set_item("causation", task.causation_id.map(|cause| cause.to_string()))?;
    said.set_item("root", task.root_id.map(|root| root.to_string()))?;
    said.set_item("attempts", task.attempts)?;
    said.set_item("notes", listed::notes(py, &task.notes)?)?;
    let progress = task.progress.as_ref().map(|it| (it.percent, it.text.as_str()));
    said.set_item("progress", progress)?;
    let result = task.result.as_ref().map(|result| payload::given(py, result)).transpose()?;
    said.set_item("result", result)?;
    said.set_item("last_event", task.last_event)?;
    said.set_item("created_at", seconds(task.created_at))?;
    said.set_item("updated_at", seconds(task.updated_at))?;
    said.set_item("history", listed::history(py, &task.history)?)?;
    Ok(said)
}

/// An agent of the directory, by the names of its fields.
pub(crate) fn agent<'py>(py: Python<'py>, agent: &AgentInfo) -> PyResult<Bound<'py, PyDict>> {
    let card = &agent.card;
    let said = PyDict::new(py);
    said.set_item("id", card.id.as_str())?;
    said.set_item("name", &card.name)?;
    said.set_item("description", &card.description)?;
    let texts = |texts: &[_]| -> Vec<String> { texts.iter().map(ToString::to_string).collect() };
    said.set_item("types", texts(&card.types))?;
    said.set_item(
        "skills",
        card.skills.iter().map(trunkline_types::SkillName::as_str).collect::<Vec<_>>(),
    )?;
    let schemas = PyDict::new(py);
    for SkillSchemas { skill, input, output } in &card.schemas {
        let text = |schema: Option<&JsonSchema>| schema.map(ToString::to_string);
        schemas.set_item(skill.as_str(), (text(input.as_ref()), text(output.as_ref())))?;
    }
    said.set_item("schemas", schemas)?;
    said.set_item("capabilities", texts(&card.capabilities))?;
    let labels = PyDict::new(py);
    for (name, value) in &card.labels {
        labels.set_item(name.as_str(), value.as_str())?;
    }
    said.set_item("labels", labels)?;
    said.set_item("region", card.region.as_str())?;
    said.set_item("version", card.version.as_str())?;
    said.set_item("presence", agent.presence.as_str())?;
    said.set_item("sessions", agent.sessions)?;
    said.set_item("in_flight", agent.in_flight)?;
    said.set_item("waiting", agent.waiting)?;
    said.set_item("owner", agent.owner.as_str())?;
    said.set_item("credit", agent.credit)?;
    said.set_item("registered_at", seconds(agent.registered_at))?;
    said.set_item("weight", agent.control.weight)?;
    said.set_item("draining", agent.control.draining)?;
    said.set_item("healthy", agent.control.healthy)?;
    let breakers = agent.breakers.iter().map(|breaker| {
        let BreakerInfo { inbox, state, failures, open_for_ms } = breaker;
        (inbox.to_string(), state.as_str(), *failures, seconds(WallTime(*open_for_ms)))
    });
    said.set_item("breakers", breakers.collect::<Vec<_>>())?;
    Ok(said)
}

/// What happened to a task: the kind of the news, its number and time, and three fields of its
/// own.
pub(crate) fn update(py: Python<'_>, update: &TaskUpdate) -> PyResult<Py<PyAny>> {
    match update {
        TaskUpdate::Progress(progress) => {
            ("progress", progress.percent, progress.text.as_str()).into_py_any(py)
        }
        TaskUpdate::Gap { first, last } => ("gap", *first, *last).into_py_any(py),
        TaskUpdate::Event(TaskEvent { number, at, body, epoch: _ }) => {
            let at = seconds(*at);
            match body {
                TaskEventBody::Status { state, reason } => {
                    ("status", *number, at, state.as_str(), reason.as_deref()).into_py_any(py)
                }
                TaskEventBody::Artifact(chunk) => {
                    let payload = payload::given(py, &chunk.payload)?;
                    let name = chunk.name.as_str();
                    ("artifact", *number, at, name, payload, chunk.append, chunk.last)
                        .into_py_any(py)
                }
                TaskEventBody::Message { from, payload } => {
                    let payload = payload::given(py, payload)?;
                    let from = from.as_ref().map(trunkline_types::AgentId::as_str);
                    ("message", *number, at, from, payload).into_py_any(py)
                }
            }
        }
    }
}
