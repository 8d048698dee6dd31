//! From bytes to what cleaning says again: the mirror of `carried_encode`.

use super::carried::{
    Carried, CarriedEnded, CarriedEntry, CarriedLease, CarriedLetter, CarriedMarks,
    CarriedSchedule, CarriedTally, CarriedTask, CarriedToken, Part, PartOf,
};
use super::codec::{DecodeError, Read};
use super::decode::{
    agent, entry, envelope, inbox_settings, message_id, note, options, session, subscription, token,
};
use crate::key_index::KeyRow;
use std::sync::Arc;
use trunkline_types::{
    AgentControl, ArtifactChunk, CopyState, Counters, Epoch, Publish, Schedule, Sequence,
    TaskEvent, TaskEventBody, TaskState,
};

type Result<T> = std::result::Result<T, DecodeError>;

/// Reads the body of a carried record, if the tag is that of one.
pub(super) fn decode(tag: u8, read: &mut Read<'_>) -> Result<Carried> {
    Ok(match tag {
        64 => Carried::Entry(carried_entry(read)?),
        65 => Carried::Ended(CarriedEnded {
            task: task(read)?,
            ended: read.option("end", |read| {
                Ok((read.parse("inbox")?, read.word("state", CopyState::from_number)?))
            })?,
            place: place(read)?,
            parts: read.small("parts")?,
            publish: publish(read)?,
        }),
        66 => Carried::Parts { of: part_of(read)?, parts: read.list("parts", part)? },
        67 => Carried::Letter(CarriedLetter {
            inbox: read.parse("inbox")?,
            reason: read.text("reason")?.to_owned(),
            at: read.time("time")?,
            accepted_at: read.time("time of acceptance")?,
            place: place(read)?,
            parts: read.small("parts")?,
            publish: publish(read)?,
        }),
        68 | 78 => Carried::Agent {
            record: agent(read, tag == 78)?,
            control: AgentControl {
                weight: read.small("weight")?,
                draining: read.flag("draining")?,
                healthy: read.flag("healthy")?,
            },
            subscriptions: read.small("subscriptions")?,
        },
        69 => Carried::Subscribed {
            tenant: read.parse("tenant")?,
            agent: read.parse("agent")?,
            subscription: subscription(read)?,
        },
        70 | 77 => Carried::Inbox {
            tenant: read.parse("tenant")?,
            inbox: read.option("inbox", |read| read.parse("inbox"))?,
            settings: Box::new(inbox_settings(read, tag == 77)?),
            counters: counters(read)?,
        },
        71 => Carried::Tenant {
            tenant: read.parse("tenant")?,
            tally: tally(read)?,
            keys: read
                .list("keys", |read| Ok((read.time("window's end")?, read.number("count")?)))?,
        },
        72 => Carried::Schedule(schedule(read)?),
        73 => Carried::Window {
            session: session(read)?,
            ranges: read
                .list("ranges", |read| Ok((read.number("first")?, read.number("last")?)))?,
            at: read.time("time")?,
        },
        74 => Carried::Key {
            tenant: read.parse("tenant")?,
            key: read.parse("key")?,
            row: KeyRow {
                id: message_id(read)?,
                fingerprint: read.number("fingerprint")?,
                expires_at: read.time("window's end")?,
            },
        },
        75 => Carried::Tokens(read.list("tokens", |read| {
            Ok(CarriedToken {
                tenant: read.parse("tenant")?,
                agent: read.parse("agent")?,
                token: token(read)?,
                used: read.small("use")?,
            })
        })?),
        76 => Carried::Marks(CarriedMarks {
            epoch: Epoch(read.small("epoch")?),
            born: read.time("first start")?,
            next_entry: entry(read)?,
            oldest_task: place(read)?,
            oldest_letter: place(read)?,
        }),
        other => return Err(DecodeError::Tag(other)),
    })
}

fn place(read: &mut Read<'_>) -> Result<Sequence> {
    read.number("place").map(Sequence)
}

fn publish(read: &mut Read<'_>) -> Result<Arc<Publish>> {
    let options = options(read)?;
    Ok(Arc::new(Publish { envelope: envelope(read)?, options }))
}

fn carried_entry(read: &mut Read<'_>) -> Result<CarriedEntry> {
    Ok(CarriedEntry {
        entry: entry(read)?,
        inbox: read.option("inbox", |read| read.parse("inbox"))?,
        session: session(read)?,
        accepted_at: read.time("time of acceptance")?,
        attempts: read.small("attempts")?,
        deliveries: read.small("deliveries")?,
        losses: read.small("losses")?,
        due: read.time("due time")?,
        returned: read.flag("returned")?,
        rejoined: read.flag("rejoined")?,
        paused: read.flag("paused")?,
        lease: read.option("lease", |read| {
            Ok(CarriedLease {
                token: token(read)?,
                session: session(read)?,
                agent: read.parse("agent")?,
                begun: read.flag("begun")?,
                called_off: read.flag("called off")?,
                ran: read.span("run")?,
                held: read.flag("held")?,
            })
        })?,
        task: read.option("task", task)?,
        parts: read.small("parts")?,
        publish: publish(read)?,
    })
}

fn task(read: &mut Read<'_>) -> Result<CarriedTask> {
    Ok(CarriedTask {
        state: read.word("state", TaskState::from_number)?,
        reason: read.option("reason", |read| Ok(read.text("reason")?.to_owned()))?,
        agent: read.option("agent", |read| read.parse("agent"))?,
        deliveries: read.small("deliveries")?,
        last_event: read.number("last event")?,
        created_at: read.time("time of acceptance")?,
        updated_at: read.time("time of change")?,
    })
}

fn part_of(read: &mut Read<'_>) -> Result<PartOf> {
    Ok(match read.number("thing")? {
        1 => PartOf::Entry(entry(read)?),
        2 => PartOf::Task(message_id(read)?),
        3 => PartOf::Letter(place(read)?),
        other => return Err(unknown("thing", other)),
    })
}

fn part(read: &mut Read<'_>) -> Result<Part> {
    Ok(match read.number("part")? {
        1 => Part::Note(note(read)?),
        2 => Part::Message(read.payload("message")?),
        3 => Part::TaskNote(note(read)?),
        4 => Part::Event(event(read)?),
        5 => Part::Result(read.payload("result")?),
        other => return Err(unknown("part", other)),
    })
}

pub(super) fn event(read: &mut Read<'_>) -> Result<TaskEvent> {
    let (number, epoch) = (read.number("event")?, Epoch(read.small("epoch")?));
    let at = read.time("time")?;
    let body = match read.number("kind of event")? {
        1 => TaskEventBody::Status {
            state: read.word("state", TaskState::from_number)?,
            reason: read.option("reason", |read| Ok(read.text("reason")?.to_owned()))?,
        },
        2 => TaskEventBody::Artifact(ArtifactChunk {
            name: read.text("name")?.into(),
            append: read.flag("append")?,
            last: read.flag("last")?,
            payload: read.payload("artifact")?,
        }),
        3 => TaskEventBody::Message {
            from: read.option("source", |read| read.parse("source"))?,
            payload: read.payload("message")?,
        },
        other => return Err(unknown("kind of event", other)),
    };
    Ok(TaskEvent { number, epoch, at, body })
}

fn counters(read: &mut Read<'_>) -> Result<Counters> {
    Ok(Counters {
        accepted: read.number("accepted")?,
        settled: read.number("settled")?,
        dead_lettered: read.number("dead-lettered")?,
        expired: read.number("expired")?,
        canceled: read.number("canceled")?,
        dropped: read.number("dropped")?,
        lost: read.number("lost")?,
        redeliveries: read.number("redeliveries")?,
    })
}

fn tally(read: &mut Read<'_>) -> Result<CarriedTally> {
    Ok(CarriedTally {
        accepted: read.number("accepted")?,
        completed: read.number("completed")?,
        failed: read.number("failed")?,
        canceled: read.number("canceled")?,
        redriven: read.number("redriven")?,
        purged: read.number("purged")?,
        scheduled: read.number("scheduled")?,
    })
}

fn schedule(read: &mut Read<'_>) -> Result<CarriedSchedule> {
    let (tenant, owner) = (read.parse("tenant")?, read.text("owner")?.to_owned());
    let (name, cron, zone) =
        (read.parse("schedule")?, read.text("cron")?.into(), read.text("zone")?.into());
    let next = read.option("next time", |read| read.time("next time"))?;
    let fired = read.number("fired")?;
    let last =
        read.option("last message", |read| Ok((message_id(read)?, read.time("due time")?)))?;
    let publish = publish(read)?;
    let schedule = Schedule { name, cron, zone, publish };
    Ok(CarriedSchedule { tenant, owner, schedule, next, fired, last })
}

fn unknown(field: &'static str, value: u64) -> DecodeError {
    DecodeError::Field { field, problem: format!("{value} is unknown") }
}
