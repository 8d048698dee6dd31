//! The queue of the drop-in broker, as Python has it.

use crate::errors;
use crate::line::{About, Line};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use std::time::Duration;
use trunkline_engine::Mono;
use trunkline_types::Priority;

/// Messages that wait for workers, the most urgent first, and that expire.
#[pyclass(frozen, module = "trunkline._native")]
pub(crate) struct Mailbox {
    inner: Mutex<Inner>,
    /// What is called with a message that expired.
    lost: Py<PyAny>,
}

struct Inner {
    line: Line<Py<Letter>>,
    /// How many waiting ones are warned of.
    threshold: usize,
    warned: bool,
    /// When `tick` will be called.
    alarm: Option<Mono>,
}

/// A message on its way to one recipient.
#[pyclass(frozen, module = "trunkline._native")]
pub(crate) struct Letter {
    #[pyo3(get)]
    message: Py<PyAny>,
    #[pyo3(get)]
    to: Py<PyAny>,
    #[pyo3(get)]
    asked: Py<PyAny>,
    number: u64,
}

impl Mailbox {
    /// Tells of what came too late. The lock is not held: Python may call back.
    fn tell_lost(&self, py: Python<'_>, lost: Vec<Py<Letter>>) -> PyResult<()> {
        for letter in lost {
            self.lost.call1(py, (letter,))?;
        }
        Ok(())
    }
}

impl Inner {
    /// The next one that is not too late; those that are come out besides, as ended.
    fn take(&mut self, lost: &mut Vec<Py<Letter>>) -> Option<Py<Letter>> {
        if self.line.has_unheard() {
            lost.extend(self.line.tell());
        }
        while let Some((letter, late)) = self.line.take() {
            if !late {
                return Some(letter);
            }
            self.line.end(letter.get().number);
            lost.push(letter);
        }
        None
    }
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new(py: Python<'_>, threshold: usize, lost: Py<PyAny>) -> PyResult<Self> {
        let line = Line::new().map_err(|error| errors::invalid(py, error))?;
        let inner = Inner { line, threshold, warned: false, alarm: None };
        Ok(Self { inner: Mutex::new(inner), lost })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.lost)
    }

    /// It is due, or expires, before the time at which `tick` was to be called.
    #[classattr]
    const EARLIER: u8 = 1;
    /// So much waits by now that somebody is to be warned.
    #[classattr]
    const WARN: u8 = 2;

    /// Takes a message in, for which the caller has seen that there is room. Says what is to be
    /// done about that.
    #[pyo3(signature = (message, to, asked, urgency, remaining, delay, /))]
    #[allow(clippy::too_many_arguments, reason = "Python calls it by position")]
    fn offer(
        &self,
        py: Python<'_>,
        message: Py<PyAny>,
        to: Py<PyAny>,
        asked: Py<PyAny>,
        urgency: usize,
        remaining: f64,
        delay: f64,
    ) -> PyResult<u8> {
        let mut inner = self.inner.lock();
        inner.warned &= inner.line.waiting >= inner.threshold;
        let priority = Priority::ALL[urgency.min(Priority::ALL.len() - 1)];
        let delay = (delay > 0.0).then(|| span(delay));
        let about = About { priority, ttl: span(remaining), delay };
        let letter = |number| Py::new(py, Letter { message, to, asked, number });
        let expires = inner.line.put(about, letter)?;
        let mut told = 0;
        let due = delay.map_or(expires, |_| Mono(0));
        if inner.alarm.is_none_or(|alarm| due < alarm) {
            told |= Self::EARLIER;
        }
        if !inner.warned && inner.line.waiting >= inner.threshold {
            inner.warned = true;
            told |= Self::WARN;
        }
        Ok(told)
    }

    /// What was taken last has ended, if something was; takes the most urgent one.
    #[pyo3(signature = (ended=None, /))]
    fn take(
        &self,
        py: Python<'_>,
        ended: Option<&Bound<'_, Letter>>,
    ) -> PyResult<Option<Py<Letter>>> {
        let mut lost = Vec::new();
        let letter = {
            let mut inner = self.inner.lock();
            if let Some(ended) = ended {
                inner.line.end(ended.get().number);
            }
            inner.take(&mut lost)
        };
        self.tell_lost(py, lost)?;
        Ok(letter)
    }

    /// What was taken has ended.
    fn end(&self, letter: &Bound<'_, Letter>) {
        self.inner.lock().line.end(letter.get().number);
    }

    /// How many can be taken now.
    fn ready(&self, py: Python<'_>) -> PyResult<usize> {
        let (ready, lost) = {
            let mut inner = self.inner.lock();
            let unheard = inner.line.has_unheard();
            let lost = if unheard { inner.line.tell() } else { Vec::new() };
            (inner.line.ready, lost)
        };
        self.tell_lost(py, lost)?;
        Ok(ready)
    }

    /// Looks at what is due. Returns after how many seconds to do so again.
    fn tick(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let (due, lost) = {
            let mut inner = self.inner.lock();
            let mut lost = inner.line.tell();
            lost.extend(inner.line.tick());
            let due = if inner.line.open > 0 { inner.line.due() } else { None };
            inner.alarm = due.map(|due| inner.line.mono().after(due));
            (due, lost)
        };
        self.tell_lost(py, lost)?;
        Ok(due.map(|due| due.as_secs_f64()))
    }

    /// Gives up all that nobody has taken, in the order of the envelopes.
    fn clear(&self) -> Vec<Py<Letter>> {
        self.inner.lock().line.clear()
    }

    /// How many wait, those whose time has not come too.
    #[getter]
    fn waiting(&self) -> usize {
        self.inner.lock().line.waiting
    }

    /// How many have not ended.
    #[getter]
    fn open(&self) -> usize {
        self.inner.lock().line.open
    }
}

fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
