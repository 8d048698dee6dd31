//! A delivery in the hands of its handler.

use crate::batch::Open;
use crate::bridge::Bridge;
use crate::fork::Guarded;
use crate::handler::{Begun, End};
use crate::speaker::{self, Speaker};
use crate::{errors, payload, settings, values};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use trunkline_agent::{HandlerError, Task};
use trunkline_types::{Outcome, PauseReason};

/// One delivery, and where its end is told.
#[pyclass(frozen, module = "trunkline._native")]
pub(crate) struct Delivery {
    task: Guarded<Task>,
    end: Mutex<Option<Told>>,
    begun: Mutex<Begun>,
    /// Whether its handler was told that it is called off, which the runtime knows of no timeout.
    called_off: AtomicBool,
}

/// Where its end is told.
enum Told {
    Alone(End),
    /// To its batch, with its place there.
    InBatch(Arc<Open>, usize),
}

impl Delivery {
    pub(crate) fn alone(task: Task, end: End, begun: Begun) -> Self {
        Self::new(task, Told::Alone(end), begun)
    }

    pub(crate) fn of_batch(task: Task, batch: Arc<Open>, place: usize) -> Self {
        Self::new(task, Told::InBatch(batch, place), None)
    }

    fn new(task: Task, told: Told, begun: Begun) -> Self {
        let (end, begun) = (Mutex::new(Some(told)), Mutex::new(begun));
        Self { task: Guarded::new(task), end, begun, called_off: AtomicBool::new(false) }
    }

    /// Tells how it ended, and whether there is something for the loop.
    fn ended(&self, py: Python<'_>, bridge: &Bridge, outcome: Outcome) -> PyResult<bool> {
        let told = self.end.lock().take();
        match told {
            None => Ok(false),
            Some(Told::Alone(end)) => bridge.shared.told(py, || {
                // Whoever called it off has told how it ended.
                let _ = end.send(outcome);
            }),
            Some(Told::InBatch(batch, place)) => match batch.end(place, outcome) {
                Some(all) => bridge.shared.told(py, all),
                None => Ok(false),
            },
        }
    }
}

#[pymethods]
impl Delivery {
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.task.payload().data)
    }

    #[getter]
    fn content_type(&self) -> &str {
        self.task.payload().content_type.as_str()
    }

    #[getter]
    fn id(&self) -> String {
        self.task.id().to_string()
    }

    #[getter]
    fn kind(&self) -> &'static str {
        self.task.envelope().kind.as_str()
    }

    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        values::headers(py, self.task.envelope())
    }

    #[getter]
    fn context(&self) -> Option<&str> {
        self.task.context().map(trunkline_types::ContextId::as_str)
    }

    #[getter]
    fn source(&self) -> Option<&str> {
        self.task.source().map(trunkline_types::AgentId::as_str)
    }

    #[getter]
    fn skill(&self) -> Option<&str> {
        self.task.skill().map(trunkline_types::SkillName::as_str)
    }

    #[getter]
    fn topic(&self) -> Option<&str> {
        self.task.topic().map(trunkline_types::Topic::as_str)
    }

    #[getter]
    fn traceparent(&self) -> Option<&str> {
        self.task.envelope().traceparent.as_deref()
    }

    #[getter]
    fn correlation(&self) -> Option<String> {
        self.task.envelope().correlation_id.map(|id| id.to_string())
    }

    #[getter]
    fn is_task(&self) -> bool {
        self.task.is_task()
    }

    #[getter]
    fn attempt(&self) -> u32 {
        self.task.attempt()
    }

    #[getter]
    fn remaining(&self) -> Option<f64> {
        self.task.remaining().map(|span| span.as_secs_f64())
    }

    #[getter]
    fn messages<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for message in self.task.messages() {
            list.append(payload::given(py, message)?)?;
        }
        Ok(list)
    }

    #[getter]
    fn cancelled(&self) -> bool {
        self.called_off.load(Ordering::Relaxed) || self.task.is_cancelled()
    }

    /// Its handler is cancelled. A plain function, which goes on in its thread, sees it by that.
    fn call_off(&self) {
        self.called_off.store(true, Ordering::Relaxed);
    }

    fn speak(
        &self,
        bridge: &Bridge,
        verb: &str,
        to: &str,
        data: &Bound<'_, PyBytes>,
        content_type: &str,
        said: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        Speaker::Task(&self.task).speak(bridge, verb, to, data, content_type, said)
    }

    fn speak_all(
        &self,
        bridge: &Bridge,
        verb: &str,
        to: &str,
        payloads: &Bound<'_, PyList>,
        said: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Py<PyAny>> {
        Speaker::Task(&self.task).speak_all(bridge, verb, to, payloads, said)
    }

    fn progress(
        &self,
        py: Python<'_>,
        bridge: &Bridge,
        percent: u8,
        text: String,
    ) -> PyResult<Py<PyAny>> {
        let task = self.task.clone();
        bridge.start(py, async move { speaker::nothing(task.progress(percent, text).await) })
    }

    #[allow(clippy::too_many_arguments, reason = "Python calls it by position")]
    fn artifact(
        &self,
        bridge: &Bridge,
        name: String,
        data: &Bound<'_, PyBytes>,
        content_type: &str,
        append: bool,
        last: bool,
    ) -> PyResult<Py<PyAny>> {
        let (task, chunk) = (self.task.clone(), payload::taken(data, content_type));
        bridge.start(data.py(), async move {
            speaker::nothing(task.artifact(&name, chunk, append, last).await)
        })
    }

    /// Its handler begins now.
    fn begin(&self) {
        if let Some(begun) = self.begun.lock().take() {
            // Whoever called it off has told how it ended.
            let _ = begun.send(Instant::now());
        }
    }

    /// The work is done, with this answer or none. As what follows, it tells whether the bridge is
    /// to be drained soon.
    fn complete(
        &self,
        py: Python<'_>,
        bridge: &Bridge,
        data: Option<&Bound<'_, PyBytes>>,
        content_type: &str,
    ) -> PyResult<bool> {
        let reply = data.map(|data| payload::taken(data, content_type));
        self.ended(py, bridge, Outcome::Complete { reply })
    }

    /// The work waits for its caller.
    fn pause(
        &self,
        py: Python<'_>,
        bridge: &Bridge,
        auth: bool,
        data: Option<&Bound<'_, PyBytes>>,
        content_type: &str,
    ) -> PyResult<bool> {
        let reason = if auth { PauseReason::Auth } else { PauseReason::Input };
        let message = data.map(|data| payload::taken(data, content_type));
        self.ended(py, bridge, HandlerError::pause(reason, message).into_outcome())
    }

    /// The work ends in another way: `retry`, `fail`, `reject`, `dead-letter` or `release`.
    fn give_up(
        &self,
        py: Python<'_>,
        bridge: &Bridge,
        how: &str,
        reason: &str,
        after: Option<f64>,
    ) -> PyResult<bool> {
        let error = match (how, after) {
            ("retry", None) => HandlerError::retry(reason),
            ("retry", Some(after)) => {
                HandlerError::retry_after(reason, settings::seconds(py, after)?)
            }
            ("fail", _) => HandlerError::fail(reason),
            ("reject", _) => HandlerError::reject(reason),
            ("dead-letter", _) => HandlerError::dead_letter(reason),
            ("release", _) => HandlerError::release(),
            (how, _) => return Err(errors::invalid(py, format!("no delivery ends by '{how}'"))),
        };
        self.ended(py, bridge, error.into_outcome())
    }
}
