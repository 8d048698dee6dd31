//! What runs the workers of a pool, if it is not the runtime of its session.

use std::future::Future;
use std::pin::Pin;

/// A worker of an agent, for an executor of its own; see
/// [`AgentBuilder::executor`](crate::AgentBuilder::executor).
pub type WorkerFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes a worker and sees to it that it is polled.
pub(crate) type Executor = Box<dyn Fn(WorkerFuture) + Send + Sync>;
