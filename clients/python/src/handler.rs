//! A handler in Python as the runtime sees it.

use crate::bridge::{Item, Job, Shared};
use std::sync::Weak;
use std::time::Duration;
use tokio::sync::oneshot;
use trunkline_agent::{Handler, HandlerError, HandlerFuture, Intake, Task};
use trunkline_types::Outcome;

/// Where the end of a delivery is told.
pub(crate) type End = oneshot::Sender<Outcome>;

/// See the module.
pub(crate) struct PythonHandler {
    pub(crate) bridge: Weak<Shared>,
    /// The number of its agent.
    pub(crate) agent: u64,
    /// Its place among the handlers of its agent.
    pub(crate) place: usize,
    /// How many times it runs at once.
    pub(crate) concurrency: u32,
    /// How long one attempt may take.
    pub(crate) timeout: Option<Duration>,
}

impl Handler for PythonHandler {
    fn handle(&self, task: Task) -> HandlerFuture {
        let Self { bridge, agent, place, timeout, .. } = self;
        let (agent, handler, timeout) = (*agent, *place, *timeout);
        // A loop that is gone will never look; what it was to handle goes to somebody else.
        let Some(shared) = bridge.upgrade() else { return Box::pin(async { Outcome::Release }) };
        let bridge = bridge.clone();
        Box::pin(async move {
            let (end, outcome) = oneshot::channel();
            let job = shared.next_number();
            let mut held = Held { bridge, agent, job, ended: false };
            let left = shared.push(Item::Job(Job { agent, handler, number: job, task, end }));
            // Not kept alive by what waits for it.
            drop(shared);
            if !left {
                return Outcome::Release;
            }
            let outcome = match timeout {
                None => Ok(outcome.await),
                Some(span) => tokio::time::timeout(span, outcome).await.map_err(|_late| span),
            };
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(span) => {
                    let reason = format!("the handler took longer than its timeout, {span:?}");
                    return HandlerError::retry(reason).into_outcome();
                }
            };
            held.ended = true;
            outcome.unwrap_or(Outcome::Release)
        })
    }

    fn intake(&self) -> Intake {
        Intake { parallel: self.concurrency, ..Intake::default() }
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
