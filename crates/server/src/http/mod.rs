//! What is answered over plain HTTP.

mod guard;
mod metrics;
mod probes;
mod stats;

pub(crate) use guard::{Guard, guard};
pub(crate) use metrics::metrics;
pub(crate) use probes::{healthz, not_found, readyz};
pub(crate) use stats::stats;
