//! What an agent does with a delivery, and how that ends.

use crate::Task;
use bytes::Bytes;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use trunkline_types::{Outcome, PauseReason, Payload};

/// Longest reason or progress text in bytes; what is longer is cut.
const LONGEST_REASON: usize = 8 << 10;

/// What a handler comes to.
pub type HandlerResult<R = Payload> = Result<R, HandlerError>;

/// A handler at work.
pub type HandlerFuture = Pin<Box<dyn Future<Output = Outcome> + Send>>;

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
}

impl<F, W, R> Handler for F
where
    F: Fn(Task) -> W + Send + Sync + 'static,
    W: Future<Output = Result<R, HandlerError>> + Send + 'static,
    R: IntoReply,
{
    fn handle(&self, task: Task) -> HandlerFuture {
        let work = self(task);
        Box::pin(async move {
            match work.await {
                Ok(reply) => Outcome::Complete { reply: reply.into_reply() },
                Err(error) => error.into_outcome(),
            }
        })
    }
}

/// What a handler may answer with.
pub trait IntoReply {
    /// The answer, if there is one.
    fn into_reply(self) -> Option<Payload>;
}

impl IntoReply for () {
    fn into_reply(self) -> Option<Payload> {
        None
    }
}

impl IntoReply for Option<Payload> {
    fn into_reply(self) -> Option<Payload> {
        self
    }
}

macro_rules! replies {
    ($($type:ty),+) => {
        $(impl IntoReply for $type {
            fn into_reply(self) -> Option<Payload> {
                Some(self.into())
            }
        })+
    };
}
replies!(Payload, String, &'static str, Vec<u8>, Bytes);

/// How a delivery ends that is not completed. Every error becomes one by `?`, and then asks for
/// another attempt with its text as the reason.
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
impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
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
