//! What is answered over plain HTTP.

mod a2a;
mod agents;
mod guard;
mod metrics;
mod probes;
mod stats;

pub(crate) use a2a::{A2aEdge, Way, a2a};
pub(crate) use agents::{add_agent, agents, remove_agent};
pub(crate) use guard::{Guard, guard};
pub(crate) use metrics::metrics;
pub(crate) use probes::{healthz, not_found, readyz};
pub(crate) use stats::stats;
