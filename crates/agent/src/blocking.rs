//! Handlers that block or compute, on threads where that holds up nobody.

use crate::handler::{HandlerFuture, Intake, outcome_of};
use crate::{Handler, HandlerResult, IntoReply, Task};
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::available_parallelism;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use trunkline_types::Outcome;

/// A handler on threads of its own, made by [`blocking`].
pub struct Blocking<F> {
    work: Arc<F>,
    threads: u32,
    /// One permit for each call of the function. The call holds it to its end, even when its
    /// delivery was given up long before, so that such calls cannot add up.
    room: Arc<Semaphore>,
}

/// Makes a handler of a plain function that may block or compute for as long as it likes. It runs
/// on the runtime's threads for blocking work, at most as many at once as the machine has cores
/// unless [`Blocking::threads`] says otherwise; leases are kept alive and other handlers run
/// meanwhile.
///
/// No thread can be ended from outside. When its delivery is called off or out of time, the
/// delivery ends, but the function runs on and keeps its thread: one that takes long looks at
/// [`Task::is_cancelled`] now and then.
pub fn blocking<F, R>(work: F) -> Blocking<F>
where
    F: Fn(Task) -> HandlerResult<R> + Send + Sync + 'static,
    R: IntoReply,
{
    let cores = available_parallelism().map_or(1, usize::from);
    let room = Arc::new(Semaphore::new(cores));
    Blocking { work: Arc::new(work), threads: u32::try_from(cores).unwrap_or(u32::MAX), room }
}

impl<F> Blocking<F> {
    /// How many calls of the function run at once at most, from 1, those included whose delivery
    /// was given up. The agent's workers are a bound as well.
    #[must_use]
    pub fn threads(mut self, most: u32) -> Self {
        self.threads = most;
        self.room = Arc::new(Semaphore::new(most as usize));
        self
    }
}

impl<F, R> Handler for Blocking<F>
where
    F: Fn(Task) -> HandlerResult<R> + Send + Sync + 'static,
    R: IntoReply,
{
    fn handle(&self, task: Task) -> HandlerFuture {
        let (work, room) = (Arc::clone(&self.work), Arc::clone(&self.room));
        Box::pin(async move {
            let Ok(place) = room.acquire_owned().await else { return Outcome::Release };
            // What has begun on another thread cannot be taken back.
            task.started();
            let runtime = task.core().runtime.clone();
            let call = runtime.spawn_blocking(move || {
                let _place = place;
                outcome_of(work(task))
            });
            let _unless_begun = AbortOnDrop(call.abort_handle());
            match call.await {
                Ok(outcome) => outcome,
                Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
                // The runtime ends.
                Err(_) => Outcome::Release,
            }
        })
    }

    fn intake(&self) -> Intake {
        Intake { parallel: self.threads, ..Intake::default() }
    }
}

/// Keeps a call from beginning whose delivery was given up before.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<F> fmt::Debug for Blocking<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").field("threads", &self.threads).finish_non_exhaustive()
    }
}
