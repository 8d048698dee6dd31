//! Questions to a broker: what it lists, and what it looks up.
//!
//! A list comes page by page, each with what narrows the next question to the rest.

use crate::bridge::Bridge;
use crate::host::Host;
use crate::settings::{moment, text, unknown};
use crate::speaker::done;
use crate::{figures, listed, values};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use std::fmt::Display;
use std::str::FromStr;
use trunkline_types::{
    AgentFilter, Change, ContextId, DeadLetterFilter, InboxAddress, MessageId, ScheduleFilter,
    TaskFilter, WallTime,
};

/// Starts a question by its name.
pub(crate) fn query(
    host: &Host,
    bridge: &Bridge,
    what: &str,
    wanted: &Bound<'_, PyDict>,
) -> PyResult<Py<PyAny>> {
    let py = wanted.py();
    match what {
        "tasks" => {
            let filter = task_filter(wanted)?;
            host.ask(py, bridge, |session| async move {
                done(session.tasks(filter).await, |py, page| {
                    let tasks = page.tasks.iter().map(|task| values::snapshot(py, task));
                    let tasks = tasks.collect::<PyResult<Vec<_>>>()?;
                    let changed = page.next_change.map(|it| (it.at.0, it.task.to_string()));
                    let next = match (page.next, changed) {
                        (_, Some(change)) => Some(following(py, "changed_before", change)?),
                        (Some(id), None) => Some(following(py, "before", id.to_string())?),
                        (None, None) => None,
                    };
                    (tasks, next).into_py_any(py)
                })
            })
        }
        "agents" => {
            let filter = agent_filter(wanted)?;
            host.ask(py, bridge, |session| async move {
                done(session.agents(filter).await, |py, page| {
                    let agents = page.agents.iter().map(|agent| values::agent(py, agent));
                    let agents = agents.collect::<PyResult<Vec<_>>>()?;
                    let next =
                        page.next.map(|id| following(py, "after", id.as_str())).transpose()?;
                    (agents, next).into_py_any(py)
                })
            })
        }
        "dead_letters" => {
            let filter = letter_filter(wanted)?;
            host.ask(py, bridge, |session| async move {
                done(session.dead_letters(filter).await, |py, page| {
                    let letters = page.letters.iter().map(|letter| listed::letter(py, letter));
                    let letters = letters.collect::<PyResult<Vec<_>>>()?;
                    let next = page.next.map(|at| following(py, "before", at)).transpose()?;
                    (letters, next).into_py_any(py)
                })
            })
        }
        "schedules" => {
            let filter = schedule_filter(wanted)?;
            host.ask(py, bridge, |session| async move {
                done(session.schedules(filter).await, |py, page| {
                    let schedules = page.schedules.iter().map(|info| listed::schedule(py, info));
                    let schedules = schedules.collect::<PyResult<Vec<_>>>()?;
                    let next = page.next.map(|name| following(py, "after", name.as_str()));
                    (schedules, next.transpose()?).into_py_any(py)
                })
            })
        }
        what => look_up(host, bridge, what, wanted),
    }
}

/// Starts a question for one thing.
fn look_up(
    host: &Host,
    bridge: &Bridge,
    what: &str,
    wanted: &Bound<'_, PyDict>,
) -> PyResult<Py<PyAny>> {
    let py = wanted.py();
    match what {
        "task" => {
            let id: MessageId = named(wanted, "id")?;
            let history: Option<u32> = wanted.as_any().get_item("history")?.extract()?;
            host.ask(py, bridge, move |session| async move {
                done(session.task_with_history(id, history).await, |py, task| {
                    values::snapshot(py, &task)?.into_py_any(py)
                })
            })
        }
        "context" => {
            let id: ContextId = named(wanted, "id")?;
            let history: Option<u32> = wanted.as_any().get_item("history")?.extract()?;
            host.ask(py, bridge, move |session| async move {
                done(session.context(id, history).await, |py, context| {
                    listed::context(py, &context)?.into_py_any(py)
                })
            })
        }
        "message" => {
            let id: MessageId = named(wanted, "id")?;
            host.ask(py, bridge, move |session| async move {
                done(session.message(id).await, |py, message| {
                    listed::message(py, &message)?.into_py_any(py)
                })
            })
        }
        "inbox" => {
            let address: InboxAddress = named(wanted, "address")?;
            host.ask(py, bridge, |session| async move {
                done(session.inbox(address).await, |py, inbox| {
                    figures::inbox(py, &inbox)?.into_py_any(py)
                })
            })
        }
        "stats" => host.ask(py, bridge, |session| async move {
            done(session.stats().await, |py, stats| figures::stats(py, &stats)?.into_py_any(py))
        }),
        name => Err(unknown(py, name)),
    }
}

/// What a question needs.
fn named<T: FromStr<Err: Display>>(wanted: &Bound<'_, PyDict>, name: &str) -> PyResult<T> {
    text(&wanted.as_any().get_item(name)?)
}

/// What is to be added to a question for the next page.
fn following<'py>(
    py: Python<'py>,
    name: &str,
    cursor: impl IntoPyObject<'py>,
) -> PyResult<Bound<'py, PyDict>> {
    let next = PyDict::new(py);
    next.set_item(name, cursor)?;
    Ok(next)
}

fn texts<T: FromStr<Err: Display>>(values: &Bound<'_, PyAny>) -> PyResult<Vec<T>> {
    values.try_iter()?.map(|value| text(&value?)).collect()
}

fn task_filter(wanted: &Bound<'_, PyDict>) -> PyResult<TaskFilter> {
    let mut filter = TaskFilter::default();
    for (name, value) in wanted.iter() {
        match name.cast::<PyString>()?.to_cow()?.as_ref() {
            "states" => filter.states = texts(&value)?,
            "skill" => filter.skill = Some(text(&value)?),
            "agent" => filter.agent = Some(text(&value)?),
            "context" => filter.context_id = Some(text(&value)?),
            "root" => filter.root_id = Some(text(&value)?),
            "since" => filter.since = Some(moment(&value)?),
            "until" => filter.until = Some(moment(&value)?),
            "changed_since" => filter.changed_since = Some(moment(&value)?),
            "except_agents" => filter.except = texts(&value)?,
            "by_change" => filter.by_change = value.extract()?,
            "before" => filter.before = Some(text(&value)?),
            "changed_before" => {
                let (at, task): (u64, Bound<'_, PyAny>) = value.extract()?;
                filter.changed_before = Some(Change { at: WallTime(at), task: text(&task)? });
            }
            "limit" => filter.limit = value.extract()?,
            name => return Err(unknown(wanted.py(), name)),
        }
    }
    Ok(filter)
}

/// Which agents are wanted.
pub(crate) fn agent_filter(wanted: &Bound<'_, PyDict>) -> PyResult<AgentFilter> {
    let mut filter = AgentFilter::default();
    for (name, value) in wanted.iter() {
        match name.cast::<PyString>()?.to_cow()?.as_ref() {
            "id" => filter.id = Some(text(&value)?),
            "skill" => filter.skill = Some(text(&value)?),
            "type" => filter.agent_type = Some(value.extract::<String>()?.into()),
            "capability" => filter.capability = Some(value.extract::<String>()?.into()),
            "labels" => {
                let labels = value.extract::<Vec<(String, String)>>()?;
                let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into()));
                filter.labels = labels.collect();
            }
            "presence" => filter.presence = Some(text(&value)?),
            "after" => filter.after = Some(text(&value)?),
            "limit" => filter.limit = value.extract()?,
            name => return Err(unknown(wanted.py(), name)),
        }
    }
    Ok(filter)
}

fn letter_filter(wanted: &Bound<'_, PyDict>) -> PyResult<DeadLetterFilter> {
    let mut filter = DeadLetterFilter::default();
    for (name, value) in wanted.iter() {
        match name.cast::<PyString>()?.to_cow()?.as_ref() {
            "id" => filter.id = Some(text(&value)?),
            "inbox" => filter.inbox = Some(text(&value)?),
            "agent" => filter.agent = Some(text(&value)?),
            "reason" => filter.reason = Some(value.extract()?),
            "since" => filter.since = Some(moment(&value)?),
            "until" => filter.until = Some(moment(&value)?),
            "before" => filter.before = Some(value.extract()?),
            "limit" => filter.limit = value.extract()?,
            name => return Err(unknown(wanted.py(), name)),
        }
    }
    Ok(filter)
}

fn schedule_filter(wanted: &Bound<'_, PyDict>) -> PyResult<ScheduleFilter> {
    let mut filter = ScheduleFilter::default();
    for (name, value) in wanted.iter() {
        match name.cast::<PyString>()?.to_cow()?.as_ref() {
            "name" => filter.name = Some(text(&value)?),
            "after" => filter.after = Some(text(&value)?),
            "limit" => filter.limit = value.extract()?,
            name => return Err(unknown(wanted.py(), name)),
        }
    }
    Ok(filter)
}
