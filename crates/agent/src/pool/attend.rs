//! A handler that has to be awaited: until it ends, or is called off and its grace is over.

use super::cell::Cell;
use super::running::Running;
use super::sample;
use crate::core::now;
use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use trunkline_types::Outcome;

/// How much longer than it may a handler runs before this side ends it. The broker, which counts
/// from when it sent the delivery, calls it off at its end, and normally that comes first; this is
/// for one that is away.
const OVERRUN_GRACE: Duration = Duration::from_millis(500);

/// What a handler panicked with.
pub(super) type Panic = Box<dyn Any + Send>;

/// Why a delivery was called off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cause {
    /// The broker or the pool said so.
    Said,
    /// Its time to live has ended.
    Late,
    /// Its handler has run for as long as it may.
    Overrun,
}

impl Running {
    /// How a delivery ends whose handler came to this; `None` if nothing is to be said of it.
    ///
    /// What is given back because its time to live has ended is left to the broker, whose clock it
    /// is: it would come again at once to an agent whose clock is wrong. What is given back
    /// because it ran for too long was an attempt.
    pub(super) fn ending(&self, outcome: Outcome) -> Option<Outcome> {
        match (outcome, self.cause()) {
            (Outcome::Release, Some(Cause::Late)) => None,
            (Outcome::Release, Some(Cause::Overrun)) => {
                let span = self.delivery.max_run.unwrap_or_default();
                // In the words of the broker, whichever of the two says it.
                let reason = format!("the handler ran longer than {span:?}");
                Some(Outcome::Retry { reason, delay: None })
            }
            (outcome, _) => Some(outcome),
        }
    }

    /// Waits until the delivery is called off and `grace` has passed since.
    pub(super) async fn given_up(&self, grace: Duration) {
        let cause = tokio::select! {
            biased;
            () = self.cancelled() => Cause::Said,
            () = after(self.deadline().map(|deadline| deadline.since(now()))) => Cause::Late,
            () = after(self.delivery.max_run.map(|span| span.saturating_add(OVERRUN_GRACE))) => {
                Cause::Overrun
            }
        };
        self.call_off(cause);
        if !grace.is_zero() {
            tokio::time::sleep(grace).await;
        }
    }
}

async fn after(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(span).await,
        None => std::future::pending().await,
    }
}

/// Polls a handler, catching its panic.
pub(super) fn poll_caught<T>(
    future: &mut Pin<Box<dyn Future<Output = T> + Send>>,
    context: &mut Context<'_>,
) -> Poll<Result<T, Panic>> {
    match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(end)) => Poll::Ready(Ok(end)),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

/// Polls a handler that was awaited before, noting it if that takes long.
pub(super) fn poll_noted<T>(
    cell: &Cell,
    future: &mut Pin<Box<dyn Future<Output = T> + Send>>,
    context: &mut Context<'_>,
) -> Poll<Result<T, Panic>> {
    let begun = Instant::now();
    let end = poll_caught(future, context);
    sample::note_if_blocked(cell, begun.elapsed());
    end
}

/// What a panic says.
pub(super) fn text_of(panic: &Panic) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "of an unknown kind".to_owned())
}
