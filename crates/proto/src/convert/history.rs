//! What was said in tasks and conversations.

use crate::DecodeError;
use crate::convert::words;
use crate::decode::{all, each, id_bytes, message_id, name, optional_name, payload};
use crate::v1;
use trunkline_types::{ContextId, ContextSnapshot, History, HistoryMessage, MessageId, WallTime};

impl From<(MessageId, Option<u32>)> for v1::GetTaskRequest {
    fn from((id, history_length): (MessageId, Option<u32>)) -> Self {
        Self { id: id_bytes(id), history_length }
    }
}

impl TryFrom<v1::GetTaskRequest> for (MessageId, Option<u32>) {
    type Error = DecodeError;
    fn try_from(request: v1::GetTaskRequest) -> Result<Self, DecodeError> {
        Ok((message_id("get_task_request.id", &request.id)?, request.history_length))
    }
}

impl From<(ContextId, Option<u32>)> for v1::GetContextRequest {
    fn from((id, history_length): (ContextId, Option<u32>)) -> Self {
        Self { id: id.to_string(), history_length }
    }
}

impl TryFrom<v1::GetContextRequest> for (ContextId, Option<u32>) {
    type Error = DecodeError;
    fn try_from(request: v1::GetContextRequest) -> Result<Self, DecodeError> {
        Ok((name("get_context_request.id", &request.id)?, request.history_length))
    }
}

impl From<HistoryMessage> for v1::HistoryMessage {
    fn from(message: HistoryMessage) -> Self {
        let HistoryMessage { task, role, from, at, payload } = message;
        Self {
            task: id_bytes(task),
            role: v1::Role::from(role).into(),
            from: from.as_ref().map(ToString::to_string),
            said_at_ms: at.0,
            payload: Some(payload.into()),
        }
    }
}

impl TryFrom<v1::HistoryMessage> for HistoryMessage {
    type Error = DecodeError;
    fn try_from(message: v1::HistoryMessage) -> Result<Self, DecodeError> {
        Ok(Self {
            task: message_id("history_message.task", &message.task)?,
            role: words::role("history_message.role", message.role)?,
            from: optional_name("history_message.from", message.from.as_deref())?,
            at: WallTime(message.said_at_ms),
            payload: payload(message.payload)?,
        })
    }
}

impl From<History> for v1::History {
    fn from(History { messages, more }: History) -> Self {
        Self { messages: each(messages), more }
    }
}

impl TryFrom<v1::History> for History {
    type Error = DecodeError;
    fn try_from(v1::History { messages, more }: v1::History) -> Result<Self, DecodeError> {
        Ok(Self { messages: all(messages)?, more })
    }
}

/// A history as it is carried: left out if there is nothing in it.
pub(super) fn carried(history: History) -> Option<v1::History> {
    (history != History::default()).then(|| history.into())
}

/// A history as it was carried.
pub(super) fn read(history: Option<v1::History>) -> Result<History, DecodeError> {
    history.map_or_else(|| Ok(History::default()), History::try_from)
}

impl From<ContextSnapshot> for v1::ContextSnapshot {
    fn from(ContextSnapshot { id, tasks, tasks_open, history }: ContextSnapshot) -> Self {
        Self { id: id.to_string(), tasks, tasks_open, history: carried(history) }
    }
}

impl TryFrom<v1::ContextSnapshot> for ContextSnapshot {
    type Error = DecodeError;
    fn try_from(context: v1::ContextSnapshot) -> Result<Self, DecodeError> {
        let v1::ContextSnapshot { id, tasks, tasks_open, history } = context;
        let id = name("context_snapshot.id", &id)?;
        Ok(Self { id, tasks, tasks_open, history: read(history)? })
    }
}
