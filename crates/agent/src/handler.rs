//! What an agent does with a delivery, and how that ends.

use crate::{RequestError, Task};
use bytes::Bytes;
use serde::Serialize;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use trunkline_content::{Json, MsgPack};
use trunkline_types::{Outcome, PauseReason, Payload, Refusal, RefusalCode};

/// Longest reason or progress text in bytes; what is longer is cut.
const LONGEST_REASON: usize = 8 << 10;

/// What a handler comes to.
pub type HandlerResult<R = Payload> = Result<R, HandlerError>;

/// A handler at work.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A handler at work on several deliveries: how each of them ends, in their order.
pub type BatchFuture = Pin<Box<dyn Future<Output = Vec<Outcome>> + Send>>;

/// How a handler wants its deliveries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intake {
    /// How many at once, at most, 1 to 1,024. From 2 on they come to [`Handler::handle_batch`].
    /// Default 1.
    pub batch: u32,
    /// How long fewer deliveries than a batch may have wait for more; `None`, the default, for
    /// what the agent's [`Profile`](crate::Profile) says. Of no effect without batches.
    pub linger: Option<Duration>,
    /// How many times the handler runs at once, from 1, however many workers there are. Default
    /// without a bound of its own.
    pub parallel: u32,
}

impl Default for Intake {
    fn default() -> Self {
        Self { batch: 1, linger: None, parallel: u32::MAX }
    }
}

/// Does the work of a delivery. Implemented by every `Fn(Task) -> impl Future` whose result is a
/// [`HandlerResult`] of something that [`IntoReply`] takes.
pub trait Handler: Send + Sync + 'static {
    /// Starts the work on one delivery.
    fn handle(&self, task: Task) -> HandlerFuture;

    /// How long a cancelled handler may still take before its future is dropped. Zero, the
    /// default, drops it at its next await; one that cleans up watches [`Task::cancelled`] and
    /// asks for time here.
    fn cancel_grace(&self) -> Duration {
        Duration::ZERO
    }

    /// How it wants its deliveries. Asked once, when its agent starts.
    fn intake(&self) -> Intake {
        Intake::default()
    }

    /// Starts the work on several deliveries. Called instead of [`Handler::handle`] if its
    /// [`Intake`] asks for batches; without a way of its own it works on one after the other.
    fn handle_batch(&self, tasks: Vec<Task>) -> BatchFuture {
        let work: Vec<_> = tasks.into_iter().map(|task| self.handle(task)).collect();
        Box::pin(async move {
            let mut outcomes = Vec::with_capacity(work.len());
            for one in work {
                outcomes.push(one.await);
            }
            outcomes
        })
    }

    /// Bounds how many times it runs at once, from 1, however many workers its agent has; a batch
    /// counts as one. What is over the bound waits without holding up other handlers.
    fn parallel(self, most: u32) -> Parallel<Self>
    where
        Self: Sized,
    {
        Parallel { handler: self, most }
    }
}

/// A handler that runs a bounded number of times at once, made by [`Handler::parallel`].
#[derive(Clone, Debug)]
pub struct Parallel<H> {
    handler: H,
    most: u32,
}

impl<H: Handler> Handler for Parallel<H> {
    fn handle(&self, task: Task) -> HandlerFuture {
        self.handler.handle(task)
    }

    fn cancel_grace(&self) -> Duration {
        self.handler.cancel_grace()
    }

    fn intake(&self) -> Intake {
        let intake = self.handler.intake();
        Intake { parallel: intake.parallel.min(self.most), ..intake }
    }

    fn handle_batch(&self, tasks: Vec<Task>) -> BatchFuture {
        self.handler.handle_batch(tasks)
    }
}

/// How a delivery ends whose handler came to this.
pub(crate) fn outcome_of<R: IntoReply>(result: HandlerResult<R>) -> Outcome {
    match result {
        Ok(reply) => reply.into_outcome(),
        Err(error) => error.into_outcome(),
    }
}

impl<F, W, R> Handler for F
where
    F: Fn(Task) -> W + Send + Sync + 'static,
    W: Future<Output = Result<R, HandlerError>> + Send + 'static,
    R: IntoReply,
{
    fn handle(&self, task: Task) -> HandlerFuture {
        let work = self(task);
        Box::pin(async move { outcome_of(work.await) })
    }
}

/// What a handler may answer with.
pub trait IntoReply {
    /// The answer, if there is one.
    ///
    /// # Errors
    /// The value cannot be sent.
    fn into_reply(self) -> HandlerResult<Option<Payload>>;

    /// How the delivery ends with this answer.
    fn into_outcome(self) -> Outcome
    where
        Self: Sized,
    {
        match self.into_reply() {
            Ok(reply) => Outcome::Complete { reply },
            Err(error) => error.into_outcome(),
        }
    }
}

impl IntoReply for () {
    fn into_reply(self) -> HandlerResult<Option<Payload>> {
        Ok(None)
    }
}

impl IntoReply for Option<Payload> {
    fn into_reply(self) -> HandlerResult<Option<Payload>> {
        Ok(self)
    }
}

impl<T: Serialize> IntoReply for Json<T> {
    fn into_reply(self) -> HandlerResult<Option<Payload>> {
        self.encode().map(Some).map_err(HandlerError::fail)
    }
}

impl<T: Serialize> IntoReply for MsgPack<T> {
    fn into_reply(self) -> HandlerResult<Option<Payload>> {
        self.encode().map(Some).map_err(HandlerError::fail)
    }
}

macro_rules! replies {
    ($($type:ty),+) => {
        $(impl IntoReply for $type {
            fn into_reply(self) -> HandlerResult<Option<Payload>> {
                Ok(Some(self.into()))
            }
        })+
    };
}
replies!(Payload, String, &'static str, Vec<u8>, Bytes);

/// How a delivery ends that is not completed. Every error becomes one by `?`, and then asks for
/// another attempt with its text as the reason; only that a request would wait for itself is no
/// better the next time, and fails.
#[derive(Clone, PartialEq, Eq)]
pub struct HandlerError {
    outcome: Outcome,
}

impl HandlerError {
    /// This attempt failed; try again after the broker's own backoff.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Retry { reason: cut(reason), delay: None } }
    }

    /// This attempt failed; try again after `delay`.
    pub fn retry_after(reason: impl fmt::Display, delay: Duration) -> Self {
        Self { outcome: Outcome::Retry { reason: cut(reason), delay: Some(delay) } }
    }

    /// The work was done and failed; trying again would not help.
    pub fn fail(reason: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Fail { reason: cut(reason) } }
    }

    /// The agent declines the work.
    pub fn reject(reason: impl fmt::Display) -> Self {
        Self { outcome: Outcome::Reject { reason: cut(reason) } }
    }

    /// Never again without a person.
    pub fn dead_letter(reason: impl fmt::Display) -> Self {
        Self { outcome: Outcome::DeadLetter { reason: cut(reason) } }
    }

    /// Give it back at once; this was not an attempt.
    pub fn release() -> Self {
        Self { outcome: Outcome::Release }
    }

    /// The task waits for its caller, who is told `message`.
    pub fn pause(reason: PauseReason, message: Option<Payload>) -> Self {
        Self { outcome: Outcome::Pause { reason, message } }
    }

    /// What is said to the broker.
    pub fn into_outcome(self) -> Outcome {
        self.outcome
    }
}

// `HandlerError` is no `Error` itself, so that every `Error` can become one.
impl<E: std::error::Error + 'static> From<E> for HandlerError {
    fn from(error: E) -> Self {
        if let Some(deadlock) = deadlock(&error) {
            // It would be refused again for as long as those wait who wait for this handler.
            return Self::fail(deadlock);
        }
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            // Many errors repeat their cause in their own text.
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        Self::retry(text)
    }
}

/// The refusal of a request that would have waited for itself, if an error is one.
fn deadlock<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Refusal> {
    let refusal = match error.downcast_ref::<RequestError>() {
        Some(RequestError::Refused(refusal)) => Some(refusal),
        Some(RequestError::Failed(_)) => None,
        None => error.downcast_ref::<Refusal>(),
    };
    refusal.filter(|refusal| refusal.code == RefusalCode::Deadlock)
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome.fmt(f)
    }
}

/// A text cut to what the broker takes as a reason.
pub(crate) fn cut(text: impl fmt::Display) -> String {
    let mut text = text.to_string();
    if text.len() > LONGEST_REASON {
        let mark = " […]";
        text.truncate(text.floor_char_boundary(LONGEST_REASON - mark.len()));
        text.push_str(mark);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let reason = cut("ä".repeat(10_000));
        assert!(reason.len() <= LONGEST_REASON && reason.ends_with("[…]"), "{}", reason.len());
        assert_eq!(cut("short"), "short");
    }

    #[test]
    fn an_error_asks_for_a_retry_and_tells_its_causes() {
        let error: HandlerError = std::io::Error::other("disk on fire").into();
        let expected = Outcome::Retry { reason: "disk on fire".into(), delay: None };
        assert_eq!(error.into_outcome(), expected);
    }
}
