//! The async runtime, one for the process, started when it is first needed.

use crate::{errors, fork};
use pyo3::prelude::*;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Runtime};

/// How many threads it has. What they do is little beside what Python does for the same message;
/// with a second one `benches/requests.py` came to 15 percent fewer requests on two cores.
const THREADS: usize = 1;

static RUNTIME: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// The runtime.
///
/// # Errors
/// The system gives no threads, or this process was forked.
pub(crate) fn get(py: Python<'_>) -> PyResult<&'static Runtime> {
    fork::check(py)?;
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_name("trunkline").enable_all();
        builder.build().map_err(|error| error.to_string())
    });
    runtime.as_ref().map_err(|error| {
        let message = format!("the threads of the runtime do not start: {error}");
        errors::of_kind(py, "UnavailableError", &message)
    })
}

/// The runtime, for what ends something; `None` in a forked process, where there is nothing to end.
pub(crate) fn to_end(py: Python<'_>) -> PyResult<Option<&'static Runtime>> {
    if fork::is_forked() { Ok(None) } else { get(py).map(Some) }
}

/// Whether it was started in this process, or in one from which this was forked.
pub(crate) fn is_started() -> bool {
    RUNTIME.get().is_some()
}
