//! A process that was forked has none of the threads that this module needs.
//!
//! What was made before the fork is refused in the child, and is never dropped there: dropping it
//! could wait for threads that are not there.

use crate::errors;
use pyo3::prelude::*;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether this process is the child of one in which the runtime was started.
static FORKED: AtomicBool = AtomicBool::new(false);

/// Told by Python in the child after a fork.
#[pyfunction]
pub(crate) fn forked() {
    if crate::runtime::is_started() {
        FORKED.store(true, Ordering::Relaxed);
    }
}

/// Whether this process is the child of one in which the runtime was started.
pub(crate) fn is_forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// Refuses to go on in a child whose parent had started the runtime.
///
/// # Errors
/// `ForkError`.
pub(crate) fn check(py: Python<'_>) -> PyResult<()> {
    if is_forked() {
        return Err(errors::of_kind(
            py,
            "ForkError",
            "this process was forked after trunkline had started its threads, which are not here; \
             start the process with multiprocessing's 'spawn' method, or fork before the first \
             broker, client or agent is made",
        ));
    }
    Ok(())
}

/// Something that is dropped only in the process in which it was made.
#[derive(Debug)]
pub(crate) struct Guarded<T>(ManuallyDrop<T>);

impl<T> Guarded<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T> Deref for Guarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Guarded<T> {
    #[allow(unsafe_code, reason = "a value that is not dropped in a forked child")]
    fn drop(&mut self) {
        if !FORKED.load(Ordering::Relaxed) {
            // SAFETY: this is the only place that drops it, and it is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) }
        }
    }
}
