//! What an event loop of Python waits for, and what the runtime has for it.
//!
//! A call of Python becomes a future that is polled on the loop's own thread: at once, and again
//! when it was woken. What has become ready on other threads gathers here, and the loop is woken
//! once for all of it. Of a broker in process the workers of agents are run here as well, as long
//! as what they are woken by is done here: between a caller and a handler of one loop nothing goes
//! through another thread. What comes while the loop's thread does something else, such as a time
//! that is up, has the runtime run them, so that no blocked loop holds it up.

use crate::fork::Guarded;
use crate::shared::{Finish, Ready, Shared};
use crate::{errors, runtime};
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::future::Future;
use std::sync::Arc;

type List<'py> = Bound<'py, PyList>;

/// The bridge between an event loop and the runtime.
#[pyclass(frozen, module = "trunkline._native")]
#[derive(Debug)]
pub(crate) struct Bridge {
    pub(crate) shared: Guarded<Arc<Shared>>,
}

impl Bridge {
    /// Starts a call: what it comes to if that is known at once, else its number, under which
    /// `drain` will tell. The lowest bit of the number says that `drain` is to be called soon.
    pub(crate) fn start(
        &self,
        py: Python<'_>,
        call: impl Future<Output = Finish> + Send + 'static,
    ) -> PyResult<Py<PyAny>> {
        let runtime = runtime::get(py)?;
        let shared = &*self.shared;
        let (number, finished, due) = py.detach(|| {
            let _entered = runtime.enter();
            shared.start(call)
        });
        let Some(finish) = finished else {
            return Ok((number | u64::from(due)).into_pyobject(py)?.into_any().unbind());
        };
        if due {
            shared.wake();
        }
        finish(py)
    }
}

#[pymethods]
impl Bridge {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        runtime::get(py)?;
        let shared = Shared::new().map_err(|error| {
            let message = format!("no way to wake the event loop: {error}");
            errors::of_kind(py, "UnavailableError", &message)
        })?;
        Ok(Self { shared: Guarded::new(Arc::new(shared)) })
    }

    /// The file descriptor that can be read when there is something to drain.
    fn fileno(&self) -> i32 {
        self.shared.descriptor()
    }

    /// What calls have come to, deliveries to be handled, and those to be called off: three lists;
    /// and whether this is to be called again soon. Deliveries that come to workers here are given
    /// to `begin` instead, if there is one. `woken` says that the descriptor could be read.
    fn drain<'py>(
        &self,
        py: Python<'py>,
        begin: Option<Py<PyAny>>,
        woken: bool,
    ) -> PyResult<(List<'py>, List<'py>, List<'py>, bool)> {
        let (ready, due) = self.shared.drain(runtime::get(py)?.handle(), begin, woken);
        let lists = listed(py, ready);
        if due && lists.is_err() {
            // Whoever is told of the error does not come back by itself.
            self.shared.wake();
        }
        let (done, jobs, off) = lists?;
        Ok((done, jobs, off, due))
    }

    /// Nobody waits for a call any longer.
    fn forget(&self, py: Python<'_>, call: u64) -> PyResult<()> {
        let Some(runtime) = runtime::to_end(py)? else { return Ok(()) };
        py.detach(|| {
            let _entered = runtime.enter();
            self.shared.forget(call);
        });
        Ok(())
    }
}

/// What there is for Python as it takes it.
fn listed(py: Python<'_>, ready: Ready) -> PyResult<(List<'_>, List<'_>, List<'_>)> {
    let (done, jobs, off) = (PyList::empty(py), PyList::empty(py), PyList::empty(py));
    for (number, finish) in ready.finished {
        match finish(py) {
            Ok(value) => done.append((number, true, value))?,
            Err(error) => done.append((number, false, error.into_value(py)))?,
        }
    }
    for job in ready.jobs {
        match job.described(py) {
            Ok(job) => jobs.append(job)?,
            // What it was to handle goes back, and nobody else waits in vain for it.
            Err(error) => error.write_unraisable(py, None),
        }
    }
    for one in ready.called_off {
        off.append(one)?;
    }
    Ok((done, jobs, off))
}
