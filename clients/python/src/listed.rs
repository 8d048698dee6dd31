//! Dead letters, schedules, messages and conversations, by the names of their fields.

use crate::values::seconds;
use crate::{errors, payload, values};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use trunkline_types::{
    AgentId, AttemptNote, ContextSnapshot, CopyStatus, DeadLetter, History, HistoryMessage, Kind,
    MessageStatus, ScheduleInfo,
};

/// A dead letter with what was sent.
pub(crate) fn letter<'py>(py: Python<'py>, letter: &DeadLetter) -> PyResult<Bound<'py, PyDict>> {
    let DeadLetter { publish, inbox, reason, at, accepted_at, attempts } = letter;
    let envelope = &publish.envelope;
    let said = PyDict::new(py);
    said.set_item("id", envelope.id.to_string())?;
    said.set_item("inbox", inbox.to_string())?;
    said.set_item("reason", reason)?;
    said.set_item("at", seconds(*at))?;
    said.set_item("accepted_at", seconds(*accepted_at))?;
    said.set_item("attempts", notes(py, attempts)?)?;
    said.set_item("to", envelope.destination.to_string())?;
    said.set_item("source", envelope.source.as_ref().map(AgentId::as_str))?;
    said.set_item("redriven_from", envelope.redriven_from.as_ref().map(ToString::to_string))?;
    said.set_item("headers", values::headers(py, envelope)?)?;
    said.set_item("payload", payload::given(py, &envelope.payload)?)?;
    Ok(said)
}

/// A schedule as it stands.
pub(crate) fn schedule<'py>(py: Python<'py>, info: &ScheduleInfo) -> PyResult<Bound<'py, PyDict>> {
    let ScheduleInfo { schedule, next, fired, last, refused } = info;
    let envelope = &schedule.publish.envelope;
    let said = PyDict::new(py);
    said.set_item("name", schedule.name.as_str())?;
    said.set_item("cron", schedule.cron.as_str())?;
    said.set_item("zone", schedule.zone.as_str())?;
    said.set_item("to", envelope.destination.to_string())?;
    said.set_item("payload", payload::given(py, &envelope.payload)?)?;
    said.set_item("next", next.map(seconds))?;
    said.set_item("fired", fired)?;
    said.set_item("last", last.map(|(id, due)| (id.to_string(), seconds(due))))?;
    let refused = refused.as_ref().map(|refusal| errors::refused(py, refusal).into_value(py));
    said.set_item("refused", refused)?;
    Ok(said)
}

/// Where each copy of a message is.
pub(crate) fn message<'py>(
    py: Python<'py>,
    message: &MessageStatus,
) -> PyResult<Bound<'py, PyDict>> {
    let MessageStatus { id, kind, destination, accepted_at, copies } = message;
    let said = PyDict::new(py);
    said.set_item("id", id.to_string())?;
    said.set_item("kind", kind.map(Kind::as_str))?;
    said.set_item("to", destination.as_ref().map(ToString::to_string))?;
    said.set_item("accepted_at", accepted_at.map(seconds))?;
    let copies = copies.iter().map(|CopyStatus { inbox, state, attempts, agent }| {
        let inbox = inbox.as_ref().map(ToString::to_string);
        (inbox, state.as_str(), *attempts, agent.as_ref().map(AgentId::as_str))
    });
    said.set_item("copies", copies.collect::<Vec<_>>())?;
    Ok(said)
}

/// A conversation as it stands.
pub(crate) fn context<'py>(
    py: Python<'py>,
    context: &ContextSnapshot,
) -> PyResult<Bound<'py, PyDict>> {
    let ContextSnapshot { id, tasks, tasks_open, history: said_in_it } = context;
    let said = PyDict::new(py);
    said.set_item("id", id.as_str())?;
    said.set_item("tasks", tasks)?;
    said.set_item("tasks_open", tasks_open)?;
    said.set_item("history", history(py, said_in_it)?)?;
    Ok(said)
}

/// The latest messages of a task or a conversation, and whether there are earlier ones.
pub(crate) fn history(py: Python<'_>, history: &History) -> PyResult<Py<PyAny>> {
    let messages = history.messages.iter().map(|message| {
        let HistoryMessage { task, role, from, at, payload } = message;
        let from = from.as_ref().map(AgentId::as_str);
        Ok((task.to_string(), role.as_str(), from, seconds(*at), payload::given(py, payload)?))
    });
    let messages = messages.collect::<PyResult<Vec<_>>>()?;
    Ok((messages, history.more).into_pyobject(py)?.into_any().unbind())
}

/// What became of attempts that did not succeed.
pub(crate) fn notes(py: Python<'_>, notes: &[AttemptNote]) -> PyResult<Py<PyAny>> {
    let notes = notes.iter().map(|AttemptNote { attempt, agent, at, reason }| {
        (*attempt, agent.as_ref().map(AgentId::as_str), seconds(*at), reason.as_str())
    });
    Ok(notes.collect::<Vec<_>>().into_pyobject(py)?.into_any().unbind())
}
