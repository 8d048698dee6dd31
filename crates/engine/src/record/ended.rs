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
        let mut read = versioned(head)?;
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
        let mut read = versioned(rest)?;
        self.payload = read.payload("payload")?;
        self.events = read.list("events", read_event)?.into();
        over(&read)
    }
}

fn versioned(bytes: &[u8]) -> Result<Read<'_>> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(Read(rest)),
        Some((&other, _)) => {
            let problem = format!("{other} is unknown; a newer version may have written it");
            Err(DecodeError::Field { field: "version", problem })
        }
        None => Err(DecodeError::Short("version")),
    }
}

fn over(read: &Read<'_>) -> Result<()> {
    if read.0.is_empty() { Ok(()) } else { Err(DecodeError::Long(read.0.len())) }
}
