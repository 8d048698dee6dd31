//! An ended task as bytes, for the index. They are of two parts: what lists show, and the rest.

use super::carried_decode::event as read_event;
use super::carried_encode::event;
use super::codec::{DecodeError, Read, Write};
use super::decode::{message_id, note as read_note};
use super::encode::{address, destination, note};
use crate::task::EndedTask;
use trunkline_types::{
    CopyState, History, Kind, Progress, Sequence, TaskSnapshot, TaskState, TenantId,
};

type Result<T> = std::result::Result<T, DecodeError>;

/// The version of both parts, their first byte.
const VERSION: u8 = 1;

impl EndedTask {
    /// Appends what lists show: the task as it stands.
    pub fn encode_head(&self, out: &mut Vec<u8>) {
        let Self { place: _, tenant, kind, task, payload: _, ended, events: _ } = self;
        let TaskSnapshot {
            id,
            destination: to,
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
            history: _,
        } = task;
        out.push(VERSION);
        out.text(tenant.as_str());
        out.number(u64::from(kind.number()));
        out.wide(id.as_u128());
        destination(out, to);
        out.option(source.as_ref(), |out, source| out.text(source.as_str()));
        out.option(context_id.as_ref(), |out, context| out.text(context.as_str()));
        out.option(*causation_id, |out, id| out.wide(id.as_u128()));
        out.option(*root_id, |out, id| out.wide(id.as_u128()));
        out.number(u64::from(state.number()));
        out.option(reason.as_ref(), |out, reason| out.text(reason));
        out.option(agent.as_ref(), |out, agent| out.text(agent.as_str()));
        out.number(u64::from(*attempts));
        out.list(notes, note);
        out.option(progress.as_ref(), |out, Progress { percent, text }| {
            out.number(u64::from(*percent));
            out.text(text);
        });
        out.option(result.as_ref(), Write::payload);
        out.number(*last_event);
        out.time(*created_at);
        out.time(*updated_at);
        out.option(ended.as_ref(), |out, (inbox, state)| {
            address(out, inbox);
            out.number(u64::from(state.number()));
        });
    }

    /// Appends the rest: its first message and its events.
    pub fn encode_rest(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.payload(&self.payload);
        out.number(self.events.len() as u64);
        self.events.iter().for_each(|one| event(out, one));
    }

    /// Reads what [`Self::encode_head`] wrote: a task without its messages and events.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no such thing.
    pub fn decode_head(place: Sequence, head: &[u8]) -> Result<Self> {
        let mut read = versioned(head, VERSION)?;
        let read = &mut read;
        let tenant: TenantId = read.parse("tenant")?;
        let kind = read.word("kind", Kind::from_number)?;
        let task = TaskSnapshot {
            id: message_id(read)?,
            destination: read.parse("destination")?,
            source: read.option("source", |read| read.parse("source"))?,
            context_id: read.option("context", |read| read.parse("context"))?,
            causation_id: read.option("cause", message_id)?,
            root_id: read.option("root", message_id)?,
            state: read.word("state", TaskState::from_number)?,
            reason: read.option("reason", |read| Ok(read.text("reason")?.to_owned()))?,
            agent: read.option("agent", |read| read.parse("agent"))?,
            attempts: read.small("attempts")?,
            notes: read.list("notes", read_note)?,
            progress: read.option("progress", |read| {
                let percent = read.small("percent")?;
                Ok(Progress { percent, text: read.text("progress")?.to_owned() })
            })?,
            result: read.option("result", |read| read.payload("result"))?,
            last_event: read.number("last event")?,
            created_at: read.time("time of acceptance")?,
            updated_at: read.time("time of change")?,
            history: History::default(),
        };
        let ended = read.option("end", |read| {
            Ok((read.parse("inbox")?, read.word("end", CopyState::from_number)?))
        })?;
        over(read)?;
        let (payload, events) = Default::default();
        Ok(Self { place, tenant, kind, task, payload, ended, events })
    }

    /// Adds what [`Self::encode_rest`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are no such thing.
    pub fn decode_rest(&mut self, rest: &[u8]) -> Result<()> {
        let mut read = versioned(rest, VERSION)?;
        self.payload = read.payload("payload")?;
        self.events = read.list("events", read_event)?.into();
        over(&read)
    }
}

/// What follows the version, which must be this one.
pub(super) fn versioned(bytes: &[u8], version: u8) -> Result<Read<'_>> {
    match bytes.split_first() {
        Some((&found, rest)) if found == version => Ok(Read(rest)),
        Some((&other, _)) => {
            let problem = format!("{other} is unknown; a newer version may have written it");
            Err(DecodeError::Field { field: "version", problem })
        }
        None => Err(DecodeError::Short("version")),
    }
}

/// Nothing may follow the last field.
pub(super) fn over(read: &Read<'_>) -> Result<()> {
    if read.0.is_empty() { Ok(()) } else { Err(DecodeError::Long(read.0.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{
        AttemptNote, Epoch, MessageId, Partition, TaskEvent, TaskEventBody, WallTime,
    };

    fn ended() -> EndedTask {
        let id = |unique| MessageId::from_parts(9, Partition(0), unique);
        let task = TaskSnapshot {
            id: id(1),
            destination: "skill:s".parse().unwrap(),
            source: "b".parse().ok(),
            context_id: "talk".parse().ok(),
            causation_id: Some(id(2)),
            root_id: Some(id(3)),
            state: TaskState::Failed,
            reason: Some("no".into()),
            agent: "a".parse().ok(),
            attempts: 2,
            notes: vec![AttemptNote {
                attempt: 1,
                agent: "a".parse().ok(),
                at: WallTime(4),
                reason: "once".into(),
            }],
            progress: Some(Progress { percent: 7, text: "on".into() }),
            result: Some("r".into()),
            last_event: 3,
            created_at: WallTime(1),
            updated_at: WallTime(5),
            history: History::default(),
        };
        let body = TaskEventBody::Status { state: TaskState::Failed, reason: Some("no".into()) };
        let event = TaskEvent { number: 3, epoch: Epoch(2), at: WallTime(5), body };
        EndedTask {
            place: Sequence(8),
            tenant: TenantId::default(),
            kind: Kind::Request,
            task,
            payload: "x".into(),
            ended: Some(("skill:s".parse().unwrap(), CopyState::Failed)),
            events: [event].into(),
        }
    }

    fn encoded(task: &EndedTask) -> (Vec<u8>, Vec<u8>) {
        let (mut head, mut rest) = (Vec::new(), Vec::new());
        task.encode_head(&mut head);
        task.encode_rest(&mut rest);
        (head, rest)
    }

    #[test]
    fn an_ended_task_is_read_as_it_was_written() {
        let task = ended();
        let (head, rest) = encoded(&task);
        let mut read = EndedTask::decode_head(task.place, &head).unwrap();
        read.decode_rest(&rest).unwrap();
        assert_eq!(read, task);
    }

    #[test]
    fn what_is_too_short_too_long_or_of_another_version_is_refused() {
        let mut task = ended();
        let (mut head, mut rest) = encoded(&task);
        for length in 0..head.len() {
            EndedTask::decode_head(task.place, &head[..length]).unwrap_err();
        }
        for length in 0..rest.len() {
            task.decode_rest(&rest[..length]).unwrap_err();
        }
        for bytes in [&mut head, &mut rest] {
            bytes.push(0);
        }
        EndedTask::decode_head(task.place, &head).unwrap_err();
        task.decode_rest(&rest).unwrap_err();
        for bytes in [&mut head, &mut rest] {
            bytes.pop();
            bytes[0] += 1;
        }
        EndedTask::decode_head(task.place, &head).unwrap_err();
        task.decode_rest(&rest).unwrap_err();
    }
}
