//! What operators do: agents and inboxes set, schedules removed, dead letters sent again or deleted.

use crate::bridge::Bridge;
use crate::host::Host;
use crate::payload;
use crate::settings::{parsed, span, text, unknown};
use crate::speaker::{done, nothing};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use trunkline_agent::Host as _;
use trunkline_types::session::LetterAddress;
use trunkline_types::{AgentChange, AgentId, Binding, Destination, InboxAddress, InboxChange};
use trunkline_types::{MessageId, Priority, ScheduleName};

/// Starts an operation on what `name` names.
pub(crate) fn operate(
    host: &Host,
    bridge: &Bridge,
    what: &str,
    name: &str,
    said: &Bound<'_, PyDict>,
) -> PyResult<Py<PyAny>> {
    let py = said.py();
    match what {
        "set_agent" => {
            let (agent, change): (AgentId, _) = (parsed(py, name)?, agent_change(said)?);
            host.ask(py, bridge, move |session| async move {
                nothing(session.set_agent(agent, change).await)
            })
        }
        "unregister" => {
            let agent: AgentId = parsed(py, name)?;
            host.ask(py, bridge, |session| async move { nothing(session.unregister(agent).await) })
        }
        "set_inbox" => {
            let (inbox, change): (InboxAddress, _) = (parsed(py, name)?, inbox_change(said)?);
            host.ask(py, bridge, |session| async move {
                nothing(session.set_inbox(inbox, change).await)
            })
        }
        "remove_schedule" => {
            let schedule: ScheduleName = parsed(py, name)?;
            host.ask(py, bridge, |session| async move {
                nothing(session.remove_schedule(schedule).await)
            })
        }
        "purge" => {
            let letter = letter(name, said)?;
            host.ask(py, bridge, |session| async move { nothing(session.purge(letter).await) })
        }
        "redrive" => redrive(host, bridge, letter(name, said)?, said),
        name => Err(unknown(py, name)),
    }
}

fn letter(id: &str, said: &Bound<'_, PyDict>) -> PyResult<LetterAddress> {
    let id: MessageId = parsed(said.py(), id)?;
    let inbox = said.get_item("inbox")?.map(|inbox| text(&inbox)).transpose()?;
    Ok(LetterAddress { id, inbox })
}

fn redrive(
    host: &Host,
    bridge: &Bridge,
    letter: LetterAddress,
    said: &Bound<'_, PyDict>,
) -> PyResult<Py<PyAny>> {
    let mut redrive = host.open(said.py())?.redrive(letter);
    if let Some(payload) = said.get_item("payload")? {
        let (data, content_type): (Bound<'_, PyBytes>, String) = payload.extract()?;
        redrive = redrive.payload(payload::taken(&data, &content_type));
    }
    if let Some(to) = said.get_item("to")? {
        redrive = redrive.destination(text::<Destination>(&to)?);
    }
    if let Some(priority) = said.get_item("priority")? {
        redrive = redrive.priority(text::<Priority>(&priority)?);
    }
    bridge.start(
        said.py(),
        async move { done(redrive.await, |py, id| id.to_string().into_py_any(py)) },
    )
}

fn agent_change(said: &Bound<'_, PyDict>) -> PyResult<AgentChange> {
    let mut change = AgentChange::default();
    for (name, value) in said.iter() {
        match name.cast::<PyString>()?.to_cow()?.as_ref() {
            "weight" => change.weight = Some(value.extract()?),
            "draining" => change.draining = Some(value.extract()?),
            "healthy" => change.healthy = Some(value.extract()?),
            name => return Err(unknown(said.py(), name)),
        }
    }
    Ok(change)
}

fn inbox_change(said: &Bound<'_, PyDict>) -> PyResult<InboxChange> {
    let mut change = InboxChange::default();
    for (name, value) in said.iter() {
        match name.cast::<PyString>()?.to_cow()?.as_ref() {
            "when_full" => change.when_full = Some(text(&value)?),
            "wait" => change.wait = Some(span(&value)?),
            "limit" => change.limit = Some(value.extract()?),
            "ttl" => change.ttl = Some(span(&value)?),
            "routing" => change.routing = Some(text(&value)?),
            "bindings" => {
                let bindings = value.try_iter()?.map(|binding| {
                    let (priority, key, value): (Bound<'_, PyAny>, String, String) =
                        binding?.extract()?;
                    Ok(Binding { priority: text(&priority)?, key: key.into(), value: value.into() })
                });
                change.bindings = Some(bindings.collect::<PyResult<_>>()?);
            }
            "reset" => change.reset = value.extract()?,
            name => return Err(unknown(said.py(), name)),
        }
    }
    Ok(change)
}
