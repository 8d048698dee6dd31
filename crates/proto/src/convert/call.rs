//! The unary calls that do something.

use crate::decode::{id_bytes, message_id, payload, required};
use crate::{DecodeError, v1};
use std::sync::Arc;
use trunkline_types::session::{Accepted, Operation, Redrive};
use trunkline_types::{MessageId, Publish, Schedule};

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
        complete_request(&mut publish, new_id);
        publish.try_into()
    }
}

impl v1::GatherRequest {
    /// The publish; `new_id` makes the id that its envelope may leave out. A kind that is not
    /// said is a request, answers are wanted whatever the options say, and everybody's if they do
    /// not say whose.
    ///
    /// # Errors
    /// [`DecodeError`] if a field breaks a rule.
    pub fn into_publish(
        self,
        new_id: impl FnOnce() -> MessageId,
    ) -> Result<Arc<Publish>, DecodeError> {
        let mut publish = required("gather_request.publish", self.publish)?;
        complete_request(&mut publish, new_id);
        publish.options.get_or_insert_default().gather.get_or_insert_default();
        publish.try_into()
    }
}

impl v1::Redrive {
    /// The operation; `new_id` makes the id of the new message if it is left out.
    ///
    /// # Errors
    /// [`DecodeError`] if a field breaks a rule.
    pub fn into_redrive(
        mut self,
        new_id: impl FnOnce() -> MessageId,
    ) -> Result<Redrive, DecodeError> {
        if self.id.is_empty() {
            self.id = id_bytes(new_id());
        }
        self.try_into()
    }
}

impl v1::Schedule {
    /// The schedule; `new_id` makes the id that the envelope of its publish may leave out.
    ///
    /// # Errors
    /// [`DecodeError`] if a field breaks a rule.
    pub fn into_schedule(
        mut self,
        new_id: impl FnOnce() -> MessageId,
    ) -> Result<Schedule, DecodeError> {
        if let Some(publish) = &mut self.publish {
            complete_id(publish, new_id);
        }
        self.try_into()
    }
}

fn complete_request(publish: &mut v1::Publish, new_id: impl FnOnce() -> MessageId) {
    complete_id(publish, new_id);
    if let Some(envelope) = &mut publish.envelope
        && envelope.kind == 0
    {
        envelope.kind = v1::Kind::Request.into();
    }
    publish.options.get_or_insert_default().reply = true;
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
        let Accepted { operation: _, id, duplicate, targets, dropped, parked } = accepted;
        Self { id: id_bytes(id), duplicate, targets, dropped, parked }
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

impl TryFrom<v1::ContinueTaskRequest> for Operation {
    type Error = DecodeError;
    fn try_from(request: v1::ContinueTaskRequest) -> Result<Self, DecodeError> {
        Ok(Self::Continue {
            task: message_id("continue_task_request.id", &request.id)?,
            payload: payload(request.payload)?,
        })
    }
}
