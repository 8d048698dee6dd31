//! What comes one by one: the events of a subscription, what happens to a task, and who comes and
//! goes.

use crate::bridge::Bridge;
use crate::fork::Guarded;
use crate::shared::Finish;
use crate::{errors, runtime, values};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::sync::Arc;
use tokio::sync::{Mutex, watch};
use trunkline_agent::{AgentWatch, TaskUpdates};
use trunkline_types::Refusal;

/// Most events that are handed over at once.
const HANDFUL: usize = 256;

/// The events of a subscription. Dropping it ends the subscription.
#[pyclass(frozen, module = "trunkline._native")]
pub(crate) struct Events {
    /// Held while somebody waits for an event, who then waits alone.
    events: Guarded<Arc<Mutex<Option<trunkline_agent::Events>>>>,
    /// Whether it is to end; tells who waits.
    closed: Guarded<watch::Sender<bool>>,
}

impl Events {
    pub(crate) fn new(events: trunkline_agent::Events) -> Self {
        let events = Arc::new(Mutex::new(Some(events)));
        Self { events: Guarded::new(events), closed: Guarded::new(watch::Sender::new(false)) }
    }
}

#[pymethods]
impl Events {
    /// The next events, at least one, as a list; `None` when it was closed.
    fn next(&self, py: Python<'_>, bridge: &Bridge) -> PyResult<Py<PyAny>> {
        let events = Arc::clone(&self.events);
        let Ok(mut held) = events.try_lock_owned() else { return Err(taken(py)) };
        let mut closed = self.closed.subscribe();
        bridge.start(py, async move {
            let Some(events) = &mut *held else { return ended(None) };
            let first = tokio::select! {
                first = events.next() => first,
                _ = closed.wait_for(|closed| *closed) => {
                    *held = None;
                    return ended(None);
                }
            };
            let Some(first) = first else { return ended(events.ended()) };
            let mut handful = vec![first];
            while handful.len() < HANDFUL
                && let Some(event) = events.try_next()
            {
                handful.push(event);
            }
            Box::new(move |py: Python<'_>| {
                let list = PyList::empty(py);
                for event in &handful {
                    list.append(values::event(py, event)?)?;
                }
                Ok(list.into_any().unbind())
            }) as Finish
        })
    }

    /// Ends the subscription; who waits for an event is told that none will come.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Some(runtime) = runtime::to_end(py)? else { return Ok(()) };
        py.detach(|| {
            let _entered = runtime.enter();
            self.closed.send_replace(true);
            if let Ok(mut events) = self.events.try_lock() {
                drop(events.take());
            }
        });
        Ok(())
    }
}

fn ended(refusal: Option<Refusal>) -> Finish {
    Box::new(move |py| match refusal {
        Some(refusal) => Err(errors::refused(py, &refusal)),
        None => Ok(py.None()),
    })
}

fn taken(py: Python<'_>) -> PyErr {
    let message = "somebody already waits for the next of these; iterate in one place, or \
                   subscribe or watch once for each";
    errors::of_kind(py, "UsageError", message)
}

/// What happens to a task.
#[pyclass(frozen, module = "trunkline._native")]
pub(crate) struct Updates {
    /// As for [`Events`].
    updates: Guarded<Arc<Mutex<TaskUpdates>>>,
}

impl Updates {
    pub(crate) fn new(updates: TaskUpdates) -> Self {
        Self { updates: Guarded::new(Arc::new(Mutex::new(updates))) }
    }
}

#[pymethods]
impl Updates {
    /// The next update; `None` after the one with the terminal state.
    fn next(&self, py: Python<'_>, bridge: &Bridge) -> PyResult<Py<PyAny>> {
        let updates = Arc::clone(&self.updates);
        let Ok(mut updates) = updates.try_lock_owned() else { return Err(taken(py)) };
        bridge.start(py, async move {
            let next = updates.next().await;
            Box::new(move |py: Python<'_>| match next {
                None => Ok(py.None()),
                Some(Ok(update)) => values::update(py, &update),
                Some(Err(refusal)) => Err(errors::refused(py, &refusal)),
            }) as Finish
        })
    }
}

/// Who is there, and what changes about them.
#[pyclass(frozen, module = "trunkline._native")]
pub(crate) struct News {
    /// As for [`Events`].
    news: Guarded<Arc<Mutex<AgentWatch>>>,
}

impl News {
    pub(crate) fn new(news: AgentWatch) -> Self {
        Self { news: Guarded::new(Arc::new(Mutex::new(news))) }
    }
}

#[pymethods]
impl News {
    /// The next news with the number of their snapshot; `None` when no more come.
    fn next(&self, py: Python<'_>, bridge: &Bridge) -> PyResult<Py<PyAny>> {
        let news = Arc::clone(&self.news);
        let Ok(mut watch) = news.try_lock_owned() else { return Err(taken(py)) };
        bridge.start(py, async move {
            let Some(news) = watch.next().await else { return ended(watch.ended()) };
            let snapshot = watch.snapshot();
            Box::new(move |py: Python<'_>| {
                (news.event.as_str(), snapshot, values::agent(py, &news.agent)?).into_py_any(py)
            }) as Finish
        })
    }
}
