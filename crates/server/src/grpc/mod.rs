//! What is answered over gRPC: the broker's service, health and reflection.

mod caller;
mod deadline;
mod health;
mod repeat;
mod routes;
mod service;
mod watch;
mod watch_agents;
mod watch_task;

pub(crate) use caller::named;
pub(crate) use routes::routes;
pub(crate) use watch_task::watch_task;
