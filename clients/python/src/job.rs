//! A delivery on its way into Python: how it is described, and begun at once where that may be.

use crate::batch::Batch;
use crate::delivery::Delivery;
use crate::handler::Given;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How long handlers are begun within one drain. What comes later waits for the next, so that the
/// rest of the loop has its turn.
pub(crate) const SPAN: Duration = Duration::from_millis(5);

thread_local! {
    /// What begins the work on a delivery at once while this thread drains its bridge, and until
    /// when.
    static BEGIN: RefCell<Option<(Py<PyAny>, Instant)>> = const { RefCell::new(None) };
}

/// A delivery for a handler in Python, or a batch of them.
pub(crate) struct Job {
    pub(crate) agent: u64,
    pub(crate) handler: usize,
    pub(crate) number: u64,
    pub(crate) given: Given,
}

impl Job {
    /// As Python knows it.
    pub(crate) fn described(self, py: Python<'_>) -> PyResult<(u64, usize, u64, Py<PyAny>)> {
        let Self { agent, handler, number, given } = self;
        let given = match given {
            Given::One(task, end, begun) => Delivery::alone(task, end, begun).into_py_any(py)?,
            Given::Several(tasks, ends, begun) => {
                Batch::new(py, tasks, ends, begun)?.into_py_any(py)?
            }
        };
        Ok((agent, handler, number, given))
    }
}

/// A drain that begins handlers at once, for as long as it lives.
pub(crate) struct Beginning(Option<(Py<PyAny>, Instant)>);

impl Beginning {
    pub(crate) fn with(begin: Option<Py<PyAny>>) -> Self {
        Self(BEGIN.replace(begin.map(|begin| (begin, Instant::now() + SPAN))))
    }

    /// Whether this thread drains and begins handlers meanwhile.
    pub(crate) fn is_on() -> bool {
        BEGIN.with_borrow(Option::is_some)
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        BEGIN.set(self.0.take());
    }
}

/// Begins the work on a delivery, within a drain that does so, or gives it back if that has gone on
/// for long enough.
pub(crate) fn begin(job: Job) -> Result<(), Job> {
    Python::attach(|py| {
        let begin = BEGIN.with_borrow(|begin| {
            let (begin, until) = begin.as_ref()?;
            (Instant::now() < *until).then(|| begin.clone_ref(py))
        });
        let Some(begin) = begin else { return Err(job) };
        let called = job.described(py).and_then(|job| begin.bind(py).call1(job));
        if let Err(error) = called {
            // What it was to handle goes back, because nobody holds it any longer.
            error.write_unraisable(py, None);
        }
        Ok(())
    })
}
