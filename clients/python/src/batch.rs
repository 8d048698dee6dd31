//! Several deliveries in the hands of one handler.

use crate::bridge::Bridge;
use crate::delivery::Delivery;
use crate::handler::{Begun, Ends};
use parking_lot::Mutex;
use pyo3::prelude::*;
use std::sync::Arc;
use std::time::Instant;
use trunkline_agent::Task;
use trunkline_types::Outcome;

/// The deliveries of a batch. It has ended when each of them has.
#[pyclass(frozen, module = "trunkline._native")]
pub(crate) struct Batch {
    /// In their order.
    #[pyo3(get)]
    deliveries: Vec<Py<Delivery>>,
    open: Arc<Open>,
    begun: Mutex<Begun>,
}

/// How the deliveries of a batch have ended so far.
pub(crate) struct Open(Mutex<Option<Outcomes>>);

struct Outcomes {
    /// What is not known yet is given back.
    known: Vec<Outcome>,
    /// Of how many it is not known.
    left: usize,
    ends: Ends,
}

impl Batch {
    pub(crate) fn new(
        py: Python<'_>,
        tasks: Vec<Task>,
        ends: Ends,
        begun: Begun,
    ) -> PyResult<Self> {
        let left = tasks.len();
        let outcomes = Outcomes { known: vec![Outcome::Release; left], left, ends };
        let open = Arc::new(Open(Mutex::new(Some(outcomes))));
        let deliveries = tasks
            .into_iter()
            .enumerate()
            .map(|(place, task)| Py::new(py, Delivery::of_batch(task, Arc::clone(&open), place)));
        let deliveries = deliveries.collect::<PyResult<_>>()?;
        Ok(Self { deliveries, open, begun: Mutex::new(begun) })
    }
}

#[pymethods]
impl Batch {
    /// Its handler begins now.
    fn begin(&self) {
        if let Some(begun) = self.begun.lock().take() {
            let _ = begun.send(Instant::now());
        }
    }

    /// The work of all of them is done, without an answer. Tells whether the bridge is to be
    /// drained soon.
    fn complete(&self, py: Python<'_>, bridge: &Bridge) -> PyResult<bool> {
        let Some(Outcomes { mut known, ends, .. }) = self.open.0.lock().take() else {
            return Ok(false);
        };
        bridge.shared.told(py, || {
            known.fill(Outcome::Complete { reply: None });
            // If all of them were called off, it was told how they ended.
            let _ = ends.send(known);
        })
    }
}

impl Open {
    /// The delivery at `place` has ended. The last one tells of all.
    pub(crate) fn end(&self, place: usize, outcome: Outcome) -> Option<impl FnOnce() + Send> {
        let mut open = self.0.lock();
        let outcomes = open.as_mut()?;
        *outcomes.known.get_mut(place)? = outcome;
        outcomes.left -= 1;
        if outcomes.left > 0 {
            return None;
        }
        let Outcomes { known, ends, .. } = open.take()?;
        Some(move || {
            let _ = ends.send(known);
        })
    }
}
