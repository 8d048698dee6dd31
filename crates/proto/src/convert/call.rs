//! The unary calls that do something.

use crate::decode::{id_bytes, message_id, payload, required, text};
use crate::{DecodeError, v1};
use std::sync::Arc;
use trunkline_types::session::{Accepted, Operation};
use trunkline_types::{MessageId, Publish};

impl v1::SendRequest {
    /// The publish; `new_id` makes the id that its envelope may leave out.
    ///
    /// # Errors
    /// [`DecodeError`] if a field breaks a rule.
    pub fn into_publish(
        self,
        new_id: impl FnOnce() -> MessageId,
    ) -> Result<Arc<Publish>, DecodeError> {
        let mut publish = required("send_request.publish", self.publish)?;
        complete_id(&mut publish, new_id);
        publish.try_into()
    }
}

impl v1::RequestRequest {
    /// The publish; `new_id` makes the id that its envelope may leave out. A kind that is not
    /// said is a request, and the reply is wanted whatever the options say.
    ///
    /// # Errors
    /// [`DecodeError`] if a field breaks a rule.
    pub fn into_publish(
        self,
        new_id: impl FnOnce() -> MessageId,
    ) -> Result<Arc<Publish>, DecodeError> {
        let mut publish = required("request_request.publish", self.publish)?;
        complete_id(&mut publish, new_id);
        if let Some(envelope) = &mut publish.envelope
            && envelope.kind == 0
        {
            envelope.kind = v1::Kind::Request.into();
        }
        publish.options.get_or_insert_default().reply = true;
        publish.try_into()
    }
}

fn complete_id(publish: &mut v1::Publish, new_id: impl FnOnce() -> MessageId) {
    if let Some(envelope) = &mut publish.envelope
        && envelope.id.is_empty()
    {
        envelope.id = id_bytes(new_id());
    }
}

impl From<Accepted> for v1::SendResponse {
    fn from(accepted: Accepted) -> Self {
        let Accepted { operation: _, id, duplicate, targets, dropped } = accepted;
        Self { id: id_bytes(id), duplicate, targets, dropped }
    }
}

impl TryFrom<v1::WatchTaskRequest> for (MessageId, u64) {
    type Error = DecodeError;
    fn try_from(request: v1::WatchTaskRequest) -> Result<Self, DecodeError> {
        Ok((message_id("watch_task_request.id", &request.id)?, request.after))
    }
}

impl From<(MessageId, u64)> for v1::WatchTaskRequest {
    fn from((id, after): (MessageId, u64)) -> Self {
        Self { id: id_bytes(id), after }
    }
}

impl TryFrom<v1::CancelTaskRequest> for Operation {
    type Error = DecodeError;
    fn try_from(request: v1::CancelTaskRequest) -> Result<Self, DecodeError> {
        Ok(Self::Cancel {
            task: message_id("cancel_task_request.id", &request.id)?,
            reason: text("cancel_task_request.reason", request.reason)?,
        })
    }
}

impl TryFrom<v1::ContinueTaskRequest> for Operation {
    type Error = DecodeError;
    fn try_from(request: v1::ContinueTaskRequest) -> Result<Self, DecodeError> {
        Ok(Self::Continue {
            task: message_id("continue_task_request.id", &request.id)?,
            payload: payload(request.payload)?,
        })
    }
}
