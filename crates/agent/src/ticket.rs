//! The ticket for a batch of publishes that is on its way.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use trunkline_types::session::Accepted;
use trunkline_types::{Refusal, RefusalCode};

/// Becomes the [`BatchOutcome`] once every publish of a batch is answered. Dropping it takes
/// nothing back.
#[derive(Debug)]
#[must_use = "what the broker refuses is told here only"]
pub struct Ticket {
    pub(crate) parts: Vec<oneshot::Receiver<BatchOutcome>>,
    pub(crate) whole: BatchOutcome,
}

/// How a batch of publishes was answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BatchOutcome {
    /// How many were accepted, repeats included.
    pub accepted: u64,
    /// How many of those were repeats under an idempotency key.
    pub duplicates: u64,
    /// How many recipients were over their bound, so that something was dropped for them.
    pub dropped: u64,
    /// What was refused: the place in the batch, from 0, and why.
    pub refused: Vec<(usize, Refusal)>,
    /// The place of this part's first publish in the whole batch.
    pub(crate) offset: usize,
}

impl BatchOutcome {
    pub(crate) fn count(
        &mut self,
        place: usize,
        answered: u64,
        answer: Result<Option<&Accepted>, &Refusal>,
    ) {
        match answer {
            Ok(more) => {
                self.accepted += answered;
                if let Some(more) = more {
                    self.duplicates += u64::from(more.duplicate);
                    self.dropped += u64::from(more.dropped);
                }
            }
            Err(refusal) => {
                let answered = usize::try_from(answered).unwrap_or(usize::MAX);
                for at in place..place.saturating_add(answered) {
                    self.refused.push((self.offset + at, refusal.clone()));
                }
            }
        }
    }

    fn add(&mut self, part: Self) {
        let Self { accepted, duplicates, dropped, refused, offset: _ } = part;
        self.accepted += accepted;
        self.duplicates += duplicates;
        self.dropped += dropped;
        self.refused.extend(refused);
    }
}

impl Future for Ticket {
    type Output = Result<BatchOutcome, Refusal>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some(part) = self.parts.last_mut() {
            match Pin::new(part).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(outcome)) => {
                    self.whole.add(outcome);
                    self.parts.pop();
                }
                Poll::Ready(Err(_)) => {
                    let message = "the session ended before the batch was answered";
                    return Poll::Ready(Err(Refusal::new(RefusalCode::Unavailable, message)));
                }
            }
        }
        let mut whole = std::mem::take(&mut self.whole);
        whole.refused.sort_by_key(|&(place, _)| place);
        Poll::Ready(Ok(whole))
    }
}
