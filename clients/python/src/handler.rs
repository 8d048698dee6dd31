//! A handler in Python as the runtime sees it.

use crate::job::Job;
use crate::shared::{Item, Shared};
use std::future::Future;
use std::sync::Weak;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use trunkline_agent::{BatchFuture, Handler, HandlerError, HandlerFuture, Intake, Task};
use trunkline_types::Outcome;

/// Where the end of a delivery is told.
pub(crate) type End = oneshot::Sender<Outcome>;

/// Where the ends of a batch of deliveries are told, in their order.
pub(crate) type Ends = oneshot::Sender<Vec<Outcome>>;

/// What a handler is given.
pub(crate) enum Given {
    One(Task, End, Begun),
    Several(Vec<Task>, Ends, Begun),
}

/// Where it is told when Python has begun, from which on a timeout counts; not of interest to a
/// handler without one.
pub(crate) type Begun = Option<oneshot::Sender<Instant>>;

impl Given {
    /// Whether nobody waits for its end any longer.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::One(_, end, _) => end.is_closed(),
            Self::Several(_, ends, _) => ends.is_closed(),
        }
    }
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
        let (begun, time) = self.timed();
        let work = self.work(Given::One(task, end, begun), ended, time);
        Box::pin(async move { work.await.unwrap_or_else(|otherwise| otherwise) })
    }

    fn handle_batch(&self, tasks: Vec<Task>) -> BatchFuture {
        let count = tasks.len();
        let (end, ended) = oneshot::channel();
        let (begun, time) = self.timed();
        let work = self.work(Given::Several(tasks, end, begun), ended, time);
        Box::pin(async move { work.await.unwrap_or_else(|otherwise| vec![otherwise; count]) })
    }

    fn intake(&self) -> Intake {
        let Self { concurrency, batch, linger, .. } = *self;
        Intake { parallel: concurrency, batch, linger }
    }
}

impl PythonHandler {
    /// How Python tells that it has begun, if there is a timeout.
    fn timed(&self) -> (Begun, Option<Began>) {
        let Some(span) = self.timeout else { return (None, None) };
        let (begun, at) = oneshot::channel();
        (Some(begun), Some(Began { at, span }))
    }

    /// Has the loop do the work. What comes of it, or how it ends otherwise.
    fn work<T>(
        &self,
        given: Given,
        ended: oneshot::Receiver<T>,
        time: Option<Began>,
    ) -> impl Future<Output = Result<T, Outcome>> + use<T> {
        let Self { bridge, agent, place, .. } = self;
        let (bridge, agent, handler) = (bridge.clone(), *agent, *place);
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
            let outcome = match time {
                None => ended.await,
                Some(time) => time.in_time(ended).await?,
            };
            held.ended = true;
            outcome.map_err(|_gone| Outcome::Release)
        }
    }
}

/// When Python begins, and how long it may take from then on.
struct Began {
    at: oneshot::Receiver<Instant>,
    span: Duration,
}

impl Began {
    /// Waits for the end. What waits for a loop that is busy has not begun, and takes no time.
    async fn in_time<T>(
        self,
        mut ended: oneshot::Receiver<T>,
    ) -> Result<Result<T, oneshot::error::RecvError>, Outcome> {
        let Self { at, span } = self;
        let at = tokio::select! {
            biased;
            at = at => at,
            outcome = &mut ended => return Ok(outcome),
        };
        // One that goes without a word ends its delivery by that.
        let Ok(at) = at else { return Ok(ended.await) };
        match tokio::time::timeout(span.saturating_sub(at.elapsed()), ended).await {
            // A handler that held its thread so long is not in time because nobody could look.
            Ok(outcome) if at.elapsed() <= span => Ok(outcome),
            Ok(_) | Err(_) => {
                let reason = format!("the handler took longer than its timeout, {span:?}");
                Err(HandlerError::retry(reason).into_outcome())
            }
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
