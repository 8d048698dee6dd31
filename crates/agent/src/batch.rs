//! Handlers that take several deliveries at once.

use crate::handler::{BatchFuture, HandlerFuture, Intake, outcome_of};
use crate::{Handler, HandlerResult, IntoReply, Task};
use std::fmt;
use std::future::Future;
use std::time::Duration;
use trunkline_types::Outcome;

/// A handler of batches, made by [`batch`].
#[derive(Clone)]
pub struct Batch<F> {
    work: F,
    size: u32,
    linger: Option<Duration>,
}

/// Makes a handler of a function that takes up to `size` deliveries at once, 1 to 1,024, and
/// gives a result for each of them, in their order. Each is settled on its own; all of them are
/// tried again if the function gives another number of results than it was given deliveries, or
/// panics. One that is called off ends by itself while the others go on.
///
/// A batch is what is there when a worker is free, and no delivery waits for another unless the
/// handler [lingers](Batch::linger). The agent asks the broker for a whole batch for each of its
/// workers.
pub fn batch<F, W, R>(size: u32, work: F) -> Batch<F>
where
    F: Fn(Vec<Task>) -> W + Send + Sync + 'static,
    W: Future<Output = Vec<HandlerResult<R>>> + Send + 'static,
    R: IntoReply,
{
    Batch { work, size, linger: None }
}

impl<F> Batch<F> {
    /// How long fewer deliveries than a whole batch wait for more, counted from the first of
    /// them or from the batch before. The default is that of the agent's
    /// [`Profile`](crate::Profile): not at all in process. An agent that stops does not linger.
    #[must_use]
    pub fn linger(mut self, span: Duration) -> Self {
        self.linger = Some(span);
        self
    }
}

impl<F, W, R> Handler for Batch<F>
where
    F: Fn(Vec<Task>) -> W + Send + Sync + 'static,
    W: Future<Output = Vec<HandlerResult<R>>> + Send + 'static,
    R: IntoReply,
{
    fn handle(&self, task: Task) -> HandlerFuture {
        let work = self.handle_batch(vec![task]);
        Box::pin(async move {
            let missing = || Outcome::Retry {
                reason: "the handler gave no result for its delivery".to_owned(),
                delay: None,
            };
            work.await.pop().unwrap_or_else(missing)
        })
    }

    fn intake(&self) -> Intake {
        Intake { batch: self.size, linger: self.linger, ..Intake::default() }
    }

    fn handle_batch(&self, tasks: Vec<Task>) -> BatchFuture {
        let work = (self.work)(tasks);
        Box::pin(async move { work.await.into_iter().map(outcome_of).collect() })
    }
}

impl<F> fmt::Debug for Batch<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("size", &self.size)
            .field("linger", &self.linger)
            .finish_non_exhaustive()
    }
}
