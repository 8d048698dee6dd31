//! The operations of a session.

use crate::DecodeError;
use crate::convert::words;
use crate::decode::{id_bytes, message_id, name, payload, required, text};
use crate::v1::{self, operation::Operation as Wire, update::Body};
use trunkline_types::session::{LetterAddress, Operation, Redrive, Update, UpdateBody};
use trunkline_types::{
    AgentChange, AgentId, Destination, InboxAddress, InboxChange, Payload, ScheduleName,
};

impl From<Update> for v1::Update {
    fn from(Update { token, body }: Update) -> Self {
        let body = match body {
            UpdateBody::Started => Body::Started(v1::Nothing {}),
            UpdateBody::Progress(progress) => Body::Progress(progress.into()),
            UpdateBody::Artifact(chunk) => Body::Artifact(chunk.into()),
        };
        Self { token: Some(token.into()), body: Some(body) }
    }
}

impl TryFrom<v1::Update> for Update {
    type Error = DecodeError;
    fn try_from(v1::Update { token, body }: v1::Update) -> Result<Self, DecodeError> {
        let body = match required("update.body", body)? {
            Body::Started(v1::Nothing {}) => UpdateBody::Started,
            Body::Progress(progress) => UpdateBody::Progress(progress.try_into()?),
            Body::Artifact(chunk) => UpdateBody::Artifact(chunk.try_into()?),
        };
        Ok(Self { token: required("update.token", token)?.into(), body })
    }
}

impl From<LetterAddress> for v1::LetterAddress {
    fn from(LetterAddress { id, inbox }: LetterAddress) -> Self {
        Self { id: id_bytes(id), inbox: inbox.map(Into::into) }
    }
}

impl TryFrom<v1::LetterAddress> for LetterAddress {
    type Error = DecodeError;
    fn try_from(v1::LetterAddress { id, inbox }: v1::LetterAddress) -> Result<Self, DecodeError> {
        Ok(Self {
            id: message_id("letter_address.id", &id)?,
            inbox: inbox.map(InboxAddress::try_from).transpose()?,
        })
    }
}

impl From<Redrive> for v1::Redrive {
    fn from(Redrive { letter, id, payload, destination, priority }: Redrive) -> Self {
        Self {
            letter: Some(letter.into()),
            id: id_bytes(id),
            payload: payload.map(Into::into),
            destination: destination.map(Into::into),
            priority: v1::Priority::from(priority).into(),
        }
    }
}

impl TryFrom<v1::Redrive> for Redrive {
    type Error = DecodeError;
    fn try_from(redrive: v1::Redrive) -> Result<Self, DecodeError> {
        Ok(Self {
            letter: required("redrive.letter", redrive.letter)?.try_into()?,
            id: message_id("redrive.id", &redrive.id)?,
            payload: redrive.payload.map(Payload::try_from).transpose()?,
            destination: redrive.destination.map(Destination::try_from).transpose()?,
            priority: words::optional_priority("redrive.priority", redrive.priority)?,
        })
    }
}

impl From<(AgentId, AgentChange)> for v1::SetAgent {
    fn from((agent, change): (AgentId, AgentChange)) -> Self {
        Self { agent: agent.to_string(), change: Some(change.into()) }
    }
}

impl TryFrom<v1::SetAgent> for Operation {
    type Error = DecodeError;
    fn try_from(v1::SetAgent { agent, change }: v1::SetAgent) -> Result<Self, DecodeError> {
        let agent = name("set_agent.agent", &agent)?;
        Ok(Self::SetAgent { agent, change: change.map(AgentChange::from).unwrap_or_default() })
    }
}

impl TryFrom<v1::Unregister> for Operation {
    type Error = DecodeError;
    fn try_from(v1::Unregister { agent }: v1::Unregister) -> Result<Self, DecodeError> {
        Ok(Self::Unregister { agent: name("unregister.agent", &agent)? })
    }
}

impl From<(InboxAddress, InboxChange)> for v1::SetInbox {
    fn from((inbox, change): (InboxAddress, InboxChange)) -> Self {
        Self { inbox: Some(inbox.into()), change: Some(change.into()) }
    }
}

impl TryFrom<v1::SetInbox> for Operation {
    type Error = DecodeError;
    fn try_from(v1::SetInbox { inbox, change }: v1::SetInbox) -> Result<Self, DecodeError> {
        let inbox = required("set_inbox.inbox", inbox)?.try_into()?;
        let change = change.map(InboxChange::try_from).transpose()?.unwrap_or_default();
        Ok(Self::SetInbox { inbox, change: Box::new(change) })
    }
}

impl From<ScheduleName> for v1::RemoveSchedule {
    fn from(name: ScheduleName) -> Self {
        Self { name: name.to_string() }
    }
}

impl TryFrom<v1::RemoveSchedule> for Operation {
    type Error = DecodeError;
    fn try_from(
        v1::RemoveSchedule { name: given }: v1::RemoveSchedule,
    ) -> Result<Self, DecodeError> {
        Ok(Self::RemoveSchedule { name: name("remove_schedule.name", &given)? })
    }
}

impl TryFrom<v1::Cancel> for Operation {
    type Error = DecodeError;
    fn try_from(cancel: v1::Cancel) -> Result<Self, DecodeError> {
        let v1::Cancel { id, reason, descendants } = cancel;
        let id = message_id("cancel.id", &id)?;
        Ok(Self::Cancel { id, reason: text("cancel.reason", reason)?, descendants })
    }
}

impl From<Operation> for v1::Operation {
    fn from(operation: Operation) -> Self {
        let operation = match operation {
            Operation::Publish(publish) => Wire::Publish((&*publish).into()),
            Operation::Settle(settle) => Wire::Settle(settle.into()),
            Operation::Update(update) => Wire::Update(update.into()),
            Operation::Subscribe(subscription) => Wire::Subscribe(subscription.into()),
            Operation::Unsubscribe(subscription) => Wire::Unsubscribe(subscription.into()),
            Operation::Watch { task, after } => {
                Wire::Watch(v1::Watch { task: id_bytes(task), after })
            }
            Operation::Unwatch { task } => Wire::Unwatch(v1::Unwatch { task: id_bytes(task) }),
            Operation::Cancel { id, reason, descendants } => {
                Wire::Cancel(v1::Cancel { id: id_bytes(id), reason, descendants })
            }
            Operation::Continue { task, payload } => {
                Wire::Continue(v1::Continue { task: id_bytes(task), payload: Some(payload.into()) })
            }
            Operation::Redrive(redrive) => Wire::Redrive((*redrive).into()),
            Operation::Purge(letter) => Wire::Purge(letter.into()),
            Operation::SetAgent { agent, change } => Wire::SetAgent((agent, change).into()),
            Operation::Unregister { agent } => {
                Wire::Unregister(v1::Unregister { agent: agent.to_string() })
            }
            Operation::SetInbox { inbox, change } => Wire::SetInbox((inbox, *change).into()),
            Operation::SetSchedule(schedule) => Wire::SetSchedule((*schedule).into()),
            Operation::RemoveSchedule { name } => Wire::RemoveSchedule(name.into()),
            Operation::WatchAgents(filter) => Wire::WatchAgents((*filter).into()),
            Operation::UnwatchAgents => Wire::UnwatchAgents(v1::Nothing {}),
        };
        Self { operation: Some(operation) }
    }
}

impl TryFrom<v1::Operation> for Operation {
    type Error = DecodeError;
    fn try_from(operation: v1::Operation) -> Result<Self, DecodeError> {
        Ok(match required("operation.operation", operation.operation)? {
            Wire::Publish(publish) => Self::Publish(publish.try_into()?),
            Wire::Settle(settle) => Self::Settle(settle.try_into()?),
            Wire::Update(update) => Self::Update(update.try_into()?),
            Wire::Subscribe(subscription) => Self::Subscribe(subscription.try_into()?),
            Wire::Unsubscribe(subscription) => Self::Unsubscribe(subscription.try_into()?),
            Wire::Watch(v1::Watch { task, after }) => {
                Self::Watch { task: message_id("watch.task", &task)?, after }
            }
            Wire::Unwatch(v1::Unwatch { task }) => {
                Self::Unwatch { task: message_id("unwatch.task", &task)? }
            }
            Wire::Cancel(cancel) => cancel.try_into()?,
            Wire::Continue(v1::Continue { task, payload: said }) => Self::Continue {
                task: message_id("continue.task", &task)?,
                payload: payload(said)?,
            },
            Wire::Redrive(redrive) => Self::Redrive(Box::new(redrive.try_into()?)),
            Wire::Purge(letter) => Self::Purge(letter.try_into()?),
            Wire::SetAgent(set) => set.try_into()?,
            Wire::Unregister(unregister) => unregister.try_into()?,
            Wire::SetInbox(set) => set.try_into()?,
            Wire::SetSchedule(schedule) => Self::SetSchedule(Box::new(schedule.try_into()?)),
            Wire::RemoveSchedule(remove) => remove.try_into()?,
            Wire::WatchAgents(watch) => Self::WatchAgents(Box::new(watch.try_into()?)),
            Wire::UnwatchAgents(v1::Nothing {}) => Self::UnwatchAgents,
        })
    }
}
