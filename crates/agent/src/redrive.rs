//! The builder for a dead letter that is sent again.

use crate::outgoing::{Boxed, Sender};
use std::fmt;
use std::future::IntoFuture;
use trunkline_types::session::{LetterAddress, Operation, Redrive};
use trunkline_types::{Destination, MessageId, Payload, Priority, Refusal};

/// A dead letter to be sent again: awaiting it gives the id of the new message.
#[must_use = "nothing is sent before it is awaited"]
pub struct RedriveBuilder {
    redrive: Redrive,
    sender: Sender,
}

impl RedriveBuilder {
    pub(crate) fn new(sender: impl Into<Sender>, letter: LetterAddress) -> Self {
        let sender = sender.into();
        let id = sender.next_id();
        let redrive = Redrive { letter, id, payload: None, destination: None, priority: None };
        Self { redrive, sender }
    }

    /// The id that the new message will have.
    pub fn id(&self) -> MessageId {
        self.redrive.id
    }

    /// With another payload than the letter has.
    pub fn payload(mut self, payload: impl Into<Payload>) -> Self {
        self.redrive.payload = Some(payload.into());
        self
    }

    /// To another agent or skill than the one in whose inbox the letter died.
    pub fn destination(mut self, to: impl Into<Destination>) -> Self {
        self.redrive.destination = Some(to.into());
        self
    }

    /// With another priority than the letter has.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.redrive.priority = Some(priority);
        self
    }
}

impl IntoFuture for RedriveBuilder {
    type Output = Result<MessageId, Refusal>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let Self { redrive, sender } = self;
            let id = redrive.id;
            let origin = sender.open().await?;
            origin.core().ask(Operation::Redrive(Box::new(redrive))).await?;
            Ok(id)
        })
    }
}

impl fmt::Debug for RedriveBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedriveBuilder").field("redrive", &self.redrive).finish_non_exhaustive()
    }
}
