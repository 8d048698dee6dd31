//! The native module of the package `trunkline`: the runtime in Rust for agents in Python.
//!
//! Its job: to hand what the runtime has for Python to an event loop in batches, and to start what
//! Python asks for. It owns the threads of the async runtime and the futures that an event loop
//! waits for. It refuses to hold Python objects on threads that are not Python's, so that none of
//! its threads ever waits for the interpreter's lock. Everything that users see is in
//! `python/trunkline`. Read `bridge` and `shared` first, then `host` and `agent`; `mailbox`, of the drop-in broker,
//! stands by itself.

mod agent;
mod asking;
mod batch;
mod bridge;
mod delivery;
mod errors;
mod figures;
mod fork;
mod guard;
mod handler;
mod host;
mod job;
mod line;
mod listed;
mod mailbox;
mod operating;
mod options;
mod payload;
mod runtime;
mod settings;
mod shared;
mod speaker;
mod spoken;
mod streams;
mod tuning;
mod values;
mod wake;

use pyo3::prelude::*;

/// Most of what a message costs on its way is memory taken and given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<bridge::Bridge>()?;
    module.add_class::<host::Host>()?;
    module.add_class::<agent::Agent>()?;
    module.add_class::<batch::Batch>()?;
    module.add_class::<delivery::Delivery>()?;
    module.add_class::<mailbox::Mailbox>()?;
    module.add_class::<mailbox::Letter>()?;
    module.add_class::<streams::Events>()?;
    module.add_class::<streams::Updates>()?;
    module.add_class::<streams::News>()?;
    module.add_function(wrap_pyfunction!(fork::forked, module)?)?;
    module.add("VERSION", env!("CARGO_PKG_VERSION"))
}
