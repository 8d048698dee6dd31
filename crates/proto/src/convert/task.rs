//! Tasks: progress, artifacts, events, snapshots.

use crate::DecodeError;
use crate::convert::{history, words};
use crate::decode::{
    all, each, id_bytes, message_id, optional_id, optional_name, payload, required, small_text,
    text,
};
use crate::v1::{self, task_event::Body, task_update::Update};
use trunkline_types::{
    ArtifactChunk, Epoch, Payload, Progress, TaskEvent, TaskEventBody, TaskSnapshot, TaskUpdate,
    WallTime,
};

impl From<Progress> for v1::Progress {
    fn from(Progress { percent, text }: Progress) -> Self {
        Self { percent: percent.into(), text }
    }
}

impl TryFrom<v1::Progress> for Progress {
    type Error = DecodeError;
    fn try_from(progress: v1::Progress) -> Result<Self, DecodeError> {
        let percent = progress.percent;
        let within = u8::try_from(percent).ok().filter(|&percent| percent <= 100);
        Ok(Self {
            percent: within.ok_or_else(|| {
                DecodeError::new("progress.percent", percent, "the range is 0 to 100")
            })?,
            text: text("progress.text", progress.text)?,
        })
    }
}

impl From<ArtifactChunk> for v1::ArtifactChunk {
    fn from(ArtifactChunk { name, append, last, payload }: ArtifactChunk) -> Self {
        Self { name: name.into(), append, last, payload: Some(payload.into()) }
    }
}

impl TryFrom<v1::ArtifactChunk> for ArtifactChunk {
    type Error = DecodeError;
    fn try_from(chunk: v1::ArtifactChunk) -> Result<Self, DecodeError> {
        Ok(Self {
            name: small_text("artifact_chunk.name", chunk.name)?,
            append: chunk.append,
            last: chunk.last,
            payload: payload(chunk.payload)?,
        })
    }
}

impl From<TaskEvent> for v1::TaskEvent {
    fn from(TaskEvent { number, epoch, at, body }: TaskEvent) -> Self {
        let body = match body {
            TaskEventBody::Status { state, reason } => {
                Body::Status(v1::TaskStatus { state: v1::TaskState::from(state).into(), reason })
            }
            TaskEventBody::Artifact(chunk) => Body::Artifact(chunk.into()),
            TaskEventBody::Message { from, payload } => Body::Message(v1::TaskMessage {
                from: from.as_ref().map(ToString::to_string),
                payload: Some(payload.into()),
            }),
        };
        Self { number, epoch: epoch.0, made_at_ms: at.0, body: Some(body) }
    }
}

impl TryFrom<v1::TaskEvent> for TaskEvent {
    type Error = DecodeError;
    fn try_from(event: v1::TaskEvent) -> Result<Self, DecodeError> {
        let body = match required("task_event.body", event.body)? {
            Body::Status(v1::TaskStatus { state, reason }) => TaskEventBody::Status {
                state: words::task_state("task_status.state", state)?,
                reason: reason.map(|reason| text("task_status.reason", reason)).transpose()?,
            },
            Body::Artifact(chunk) => TaskEventBody::Artifact(chunk.try_into()?),
            Body::Message(message) => TaskEventBody::Message {
                from: optional_name("task_message.from", message.from.as_deref())?,
                payload: payload(message.payload)?,
            },
        };
        let (epoch, at) = (Epoch(event.epoch), WallTime(event.made_at_ms));
        Ok(Self { number: event.number, epoch, at, body })
    }
}

impl From<TaskUpdate> for v1::TaskUpdate {
    fn from(update: TaskUpdate) -> Self {
        let update = match update {
            TaskUpdate::Event(event) => Update::Event(event.into()),
            TaskUpdate::Progress(progress) => Update::Progress(progress.into()),
            TaskUpdate::Gap { first, last } => Update::Gap(v1::Gap { first, last }),
        };
        Self { update: Some(update) }
    }
}

impl TryFrom<v1::TaskUpdate> for TaskUpdate {
    type Error = DecodeError;
    fn try_from(update: v1::TaskUpdate) -> Result<Self, DecodeError> {
        Ok(match required("task_update.update", update.update)? {
            Update::Event(event) => Self::Event(event.try_into()?),
            Update::Progress(progress) => Self::Progress(progress.try_into()?),
            Update::Gap(v1::Gap { first, last }) => Self::Gap { first, last },
        })
    }
}

impl From<TaskSnapshot> for v1::TaskSnapshot {
    fn from(task: TaskSnapshot) -> Self {
        let TaskSnapshot {
            id,
            destination,
            source,
            context_id,
            causation_id,
            root_id,
            state,
            reason,
            agent,
            attempts,
            notes,
            progress,
            result,
            last_event,
            created_at,
            updated_at,
            history,
        } = task;
        Self {
            id: id_bytes(id),
            destination: Some(destination.into()),
            source: source.as_ref().map(ToString::to_string),
            context_id: context_id.as_ref().map(ToString::to_string),
            causation_id: causation_id.map(id_bytes),
            root_id: root_id.map(id_bytes),
            state: v1::TaskState::from(state).into(),
            reason,
            agent: agent.as_ref().map(ToString::to_string),
            attempts,
            notes: each(notes),
            progress: progress.map(Into::into),
            result: result.map(Into::into),
            last_event,
            created_at_ms: created_at.0,
            updated_at_ms: updated_at.0,
            history: history::carried(history),
        }
    }
}

impl TryFrom<v1::TaskSnapshot> for TaskSnapshot {
    type Error = DecodeError;
    fn try_from(task: v1::TaskSnapshot) -> Result<Self, DecodeError> {
        Ok(Self {
            id: message_id("task_snapshot.id", &task.id)?,
            destination: required("task_snapshot.destination", task.destination)?.try_into()?,
            source: optional_name("task_snapshot.source", task.source.as_deref())?,
            context_id: optional_name("task_snapshot.context_id", task.context_id.as_deref())?,
            causation_id: optional_id("task_snapshot.causation_id", task.causation_id.as_ref())?,
            root_id: optional_id("task_snapshot.root_id", task.root_id.as_ref())?,
            state: words::task_state("task_snapshot.state", task.state)?,
            reason: task.reason.map(|reason| text("task_snapshot.reason", reason)).transpose()?,
            agent: optional_name("task_snapshot.agent", task.agent.as_deref())?,
            attempts: task.attempts,
            notes: all(task.notes)?,
            progress: task.progress.map(Progress::try_from).transpose()?,
            result: task.result.map(Payload::try_from).transpose()?,
            last_event: task.last_event,
            created_at: WallTime(task.created_at_ms),
            updated_at: WallTime(task.updated_at_ms),
            history: history::read(task.history)?,
        })
    }
}
