//! A handler in Python as the runtime sees it.

use crate::bridge::{Item, Job, Shared};
use std::future::Future;
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::oneshot;
use trunkline_agent::{BatchFuture, Handler, HandlerError, HandlerFuture, Intake, Task};
use trunkline_types::Outcome;

/// Where the end of a delivery is told.
pub(crate) type End = oneshot::Sender<Outcome>;

/// Where the ends of a batch of deliveries are told, in their order.
pub(crate) type Ends = oneshot::Sender<Vec<Outcome>>;

/// What a handler is given.
pub(crate) enum Given {
    One(Task, End),
    Several(Vec<Task>, Ends),
}

/// See the module.
pub(crate) struct PythonHandler {
    pub(crate) bridge: Weak<Shared>,
    /// The number of its agent.
    pub(crate) agent: u64,
    /// Its place among the handlers of its agent.
    pub(crate) place: usize,
    /// How many times it runs at once.
    pub(crate) concurrency: u32,
    /// How many deliveries it has at once, at most.
    pub(crate) batch: u32,
    /// How long fewer than that wait for more; `None` for what the profile says.
    pub(crate) linger: Option<Duration>,
    /// How long one attempt may take.
    pub(crate) timeout: Option<Duration>,
}

impl Handler for PythonHandler {
    fn handle(&self, task: Task) -> HandlerFuture {
        let (end, ended) = oneshot::channel();
        let work = self.work(Given::One(task, end), ended);
        Box::pin(async move { work.await.unwrap_or_else(|otherwise| otherwise) })
    }

    fn handle_batch(&self, tasks: Vec<Task>) -> BatchFuture {
        let count = tasks.len();
        let (end, ended) = oneshot::channel();
        let work = self.work(Given::Several(tasks, end), ended);
        Box::pin(async move { work.await.unwrap_or_else(|otherwise| vec![otherwise; count]) })
    }

    fn intake(&self) -> Intake {
        let Self { concurrency, batch, linger, .. } = *self;
        Intake { parallel: concurrency, batch, linger }
    }
}

impl PythonHandler {
    /// Has the loop do the work. What comes of it, or how it ends otherwise.
    fn work<T>(
        &self,
        given: Given,
        ended: oneshot::Receiver<T>,
    ) -> impl Future<Output = Result<T, Outcome>> + use<T> {
        let Self { bridge, agent, place, timeout, .. } = self;
        let (bridge, agent, handler, timeout) = (bridge.clone(), *agent, *place, *timeout);
        async move {
            // A loop that is gone will never look; what it was to handle goes to somebody else.
            let Some(shared) = bridge.upgrade() else { return Err(Outcome::Release) };
            let job = shared.next_number();
            let mut held = Held { bridge, agent, job, ended: false };
            let left = shared.begin(Job { agent, handler, number: job, given });
            // Not kept alive by what waits for it.
            drop(shared);
            if !left {
                return Err(Outcome::Release);
            }
            let outcome = match timeout {
                None => ended.await,
                Some(span) => match tokio::time::timeout(span, ended).await {
                    Ok(outcome) => outcome,
                    Err(_late) => {
                        let reason = format!("the handler took longer than its timeout, {span:?}");
                        return Err(HandlerError::retry(reason).into_outcome());
                    }
                },
            };
            held.ended = true;
            outcome.map_err(|_| Outcome::Release)
        }
    }
}

/// A delivery in the hands of Python, which is told if it is called off.
struct Held {
    bridge: Weak<Shared>,
    agent: u64,
    job: u64,
    ended: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.ended
            && let Some(bridge) = self.bridge.upgrade()
        {
            bridge.push(Item::CallOff { agent: self.agent, job: self.job });
        }
    }
}
