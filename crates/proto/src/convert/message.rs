//! Messages as they stand.

use crate::convert::words;
use crate::decode::{all, each, id_bytes, message_id, optional_name};
use crate::{DecodeError, v1};
use trunkline_types::{CopyStatus, Destination, InboxAddress, MessageId, MessageStatus, WallTime};

impl From<MessageId> for v1::GetMessageRequest {
    fn from(id: MessageId) -> Self {
        Self { id: id_bytes(id) }
    }
}

impl TryFrom<v1::GetMessageRequest> for MessageId {
    type Error = DecodeError;
    fn try_from(request: v1::GetMessageRequest) -> Result<Self, DecodeError> {
        message_id("get_message_request.id", &request.id)
    }
}

impl From<CopyStatus> for v1::CopyStatus {
    fn from(CopyStatus { inbox, state, attempts, agent }: CopyStatus) -> Self {
        Self {
            inbox: inbox.map(Into::into),
            state: v1::CopyState::from(state).into(),
            attempts,
            agent: agent.as_ref().map(ToString::to_string),
        }
    }
}

impl TryFrom<v1::CopyStatus> for CopyStatus {
    type Error = DecodeError;
    fn try_from(copy: v1::CopyStatus) -> Result<Self, DecodeError> {
        Ok(Self {
            inbox: copy.inbox.map(InboxAddress::try_from).transpose()?,
            state: words::copy_state("copy_status.state", copy.state)?,
            attempts: copy.attempts,
            agent: optional_name("copy_status.agent", copy.agent.as_deref())?,
        })
    }
}

impl From<MessageStatus> for v1::MessageStatus {
    fn from(status: MessageStatus) -> Self {
        let MessageStatus { id, kind, destination, accepted_at, copies } = status;
        Self {
            id: id_bytes(id),
            kind: kind.map_or(v1::Kind::Unspecified, Into::into).into(),
            destination: destination.map(Into::into),
            accepted_at_ms: accepted_at.map(|at| at.0),
            copies: each(copies),
        }
    }
}

impl TryFrom<v1::MessageStatus> for MessageStatus {
    type Error = DecodeError;
    fn try_from(status: v1::MessageStatus) -> Result<Self, DecodeError> {
        let kind = match status.kind {
            0 => None,
            kind => Some(words::kind("message_status.kind", kind)?),
        };
        Ok(Self {
            id: message_id("message_status.id", &status.id)?,
            kind,
            destination: status.destination.map(Destination::try_from).transpose()?,
            accepted_at: status.accepted_at_ms.map(WallTime),
            copies: all(status.copies)?,
        })
    }
}
