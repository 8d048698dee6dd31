//! What a sender gets back: acceptances and replies.

use serde::de::DeserializeOwned;
use std::borrow::Cow;
use trunkline_content::{ContentError, Json, MsgPack};
use trunkline_types::session::Accepted;
use trunkline_types::{AgentId, MessageId, Payload};

/// What the broker said when it accepted an envelope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acceptance {
    /// The envelope's id, and the task's: the first one's if this was a repeat.
    pub id: MessageId,
    /// Whether this was a repeat under an idempotency key.
    pub duplicate: bool,
    /// How many inboxes and subscriptions it went to.
    pub targets: u32,
    /// How many were over their bound, so that it was dropped for them.
    pub dropped: u32,
    /// How many of the inboxes nobody serves at the moment, so that it waits there; 1 without
    /// targets for an event that waits for its first subscriber.
    pub parked: u32,
}

impl Acceptance {
    /// An acceptance of which there is nothing more to say.
    pub(crate) fn plain(id: MessageId) -> Self {
        Self { id, duplicate: false, targets: 1, dropped: 0, parked: 0 }
    }
}

impl From<&Accepted> for Acceptance {
    fn from(accepted: &Accepted) -> Self {
        let &Accepted { operation: _, id, duplicate, targets, dropped, parked } = accepted;
        Self { id, duplicate, targets, dropped, parked }
    }
}

/// The answer to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The request.
    pub request: MessageId,
    /// The agent that answered, if the broker said which.
    pub agent: Option<AgentId>,
    /// The answer; empty if the agent gave none.
    pub payload: Payload,
}

impl Reply {
    /// The answer read as UTF-8, with a replacement character for what is not.
    pub fn text(&self) -> Cow<'_, str> {
        self.payload.to_text()
    }

    /// The answer read as JSON.
    ///
    /// # Errors
    /// It is something else, or no such value.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ContentError> {
        Json::decode(&self.payload).map(|Json(value)| value)
    }

    /// The answer read as MessagePack.
    ///
    /// # Errors
    /// It is something else, or no such value.
    pub fn msgpack<T: DeserializeOwned>(&self) -> Result<T, ContentError> {
        MsgPack::decode(&self.payload).map(|MsgPack(value)| value)
    }

    /// The answer alone.
    pub fn into_payload(self) -> Payload {
        self.payload
    }
}
