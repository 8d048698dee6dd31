//! From bytes to records: the mirror of `encode`.

use super::carried_decode;
use super::codec::{DecodeError, Read};
use super::kinds::{
    AcceptedRecord, AgentRecord, End, EntryId, Record, ReturnedRecord, ScheduledRecord,
};
use std::sync::Arc;
use trunkline_types::session::Subscription;
use trunkline_types::{
    Absent, AgentCard, AgentControl, ArtifactChunk, AttemptNote, Binding, Durability, Envelope,
    Epoch, InboxSettings, Kind, MessageId, PauseReason, Priority, Publish, PublishOptions, Routing,
    Schedule, SessionId, SkillSchemas, Token, WhenFull,
};

type Result<T> = std::result::Result<T, DecodeError>;

impl Record {
    /// Reads a record from its tag and body.
    ///
    /// # Errors
    /// [`DecodeError`] if the tag is unknown or the body is not what [`Record::encode`] writes.
    pub fn decode(tag: u8, body: &[u8]) -> Result<Self> {
        let mut read = Read(body);
        let record = decode(tag, &mut read)?;
        if read.0.is_empty() { Ok(record) } else { Err(DecodeError::Long(read.0.len())) }
    }
}

#[allow(clippy::too_many_lines, reason = "one arm for each kind of record")]
fn decode(tag: u8, read: &mut Read<'_>) -> Result<Record> {
    Ok(match tag {
        1 => Record::Boot { epoch: Epoch(read.small("epoch")?), at: read.time("time")? },
        2 | 25 => Record::Agent(Box::new(agent(read, tag == 25)?)),
        3 => Record::Subscribed {
            tenant: read.parse("tenant")?,
            agent: read.parse("agent")?,
            subscription: subscription(read)?,
        },
        4 => Record::Unsubscribed {
            tenant: read.parse("tenant")?,
            agent: read.parse("agent")?,
            subscription: subscription(read)?,
        },
        5 => Record::Accepted(Box::new(accepted(read)?)),
        6 => Record::Leased {
            entry: entry(read)?,
            token: token(read)?,
            session: session(read)?,
            agent: read.parse("agent")?,
            at: read.time("time")?,
        },
        7 => Record::Begun { entry: entry(read)? },
        8 => Record::Returned(Box::new(returned(read)?)),
        9 => Record::Paused {
            entry: entry(read)?,
            reason: read.word("pause reason", PauseReason::from_number)?,
            message: read.option("message", |read| read.payload("message"))?,
            at: read.time("time")?,
        },
        10 => Record::Continued {
            entry: entry(read)?,
            payload: read.payload("payload")?,
            from: read.option("source", |read| read.parse("source"))?,
            session: session(read)?,
            operation: read.number("operation")?,
            at: read.time("time")?,
        },
        11 => Record::Settled { entry: entry(read)?, end: end(read)?, at: read.time("time")? },
        12 => Record::Artifact {
            entry: entry(read)?,
            session: session(read)?,
            operation: read.number("operation")?,
            chunk: ArtifactChunk {
                name: read.text("artifact name")?.into(),
                append: read.flag("append")?,
                last: read.flag("last")?,
                payload: read.payload("artifact")?,
            },
            at: read.time("time")?,
        },
        13 => Record::Lost {
            tenant: read.parse("tenant")?,
            inbox: read.option("inbox", |read| read.parse("inbox"))?,
            count: read.number("count")?,
        },
        14 => Record::AgentSet {
            tenant: read.parse("tenant")?,
            agent: read.parse("agent")?,
            control: AgentControl {
                weight: read.small("weight")?,
                draining: read.flag("draining")?,
                healthy: read.flag("healthy")?,
            },
            session: session(read)?,
            operation: read.number("operation")?,
            at: read.time("time")?,
        },
        15 => Record::AgentGone {
            tenant: read.parse("tenant")?,
            agent: read.parse("agent")?,
            session: session(read)?,
            operation: read.number("operation")?,
            at: read.time("time")?,
        },
        16 | 24 => Record::InboxSet {
            tenant: read.parse("tenant")?,
            inbox: read.parse("inbox")?,
            settings: Box::new(inbox_settings(read, tag == 24)?),
            session: session(read)?,
            operation: read.number("operation")?,
            at: read.time("time")?,
        },
        17 => Record::Scheduled(Box::new(scheduled(read)?)),
        18 => Record::Unscheduled {
            tenant: read.parse("tenant")?,
            name: read.parse("schedule")?,
            session: session(read)?,
            operation: read.number("operation")?,
            at: read.time("time")?,
        },
        19 => Record::Fired {
            name: read.parse("schedule")?,
            due: read.time("due time")?,
            next: read.option("next time", |read| read.time("next time"))?,
            accepted: Box::new(accepted(read)?),
        },
        20 => Record::Redriven {
            letter: message_id(read)?,
            inbox: read.parse("inbox")?,
            accepted: Box::new(accepted(read)?),
        },
        21 => Record::Purged {
            tenant: read.parse("tenant")?,
            letter: message_id(read)?,
            inbox: read.parse("inbox")?,
            session: session(read)?,
            operation: read.number("operation")?,
            at: read.time("time")?,
        },
        22 => Record::Routed {
            entry: entry(read)?,
            first_entry: entry(read)?,
            inboxes: read.list("inboxes", |read| read.parse("inbox"))?,
            at: read.time("time")?,
        },
        23 => Record::Ran { entry: entry(read)?, ran: read.span("run")? },
        tag => Record::Carried(Box::new(carried_decode::decode(tag, read)?)),
    })
}

pub(super) fn entry(read: &mut Read<'_>) -> Result<EntryId> {
    read.number("entry").map(EntryId)
}

pub(super) fn session(read: &mut Read<'_>) -> Result<SessionId> {
    read.wide("session").map(SessionId)
}

pub(super) fn token(read: &mut Read<'_>) -> Result<Token> {
    Ok(Token { epoch: Epoch(read.small("epoch")?), counter: read.number("token")? })
}

pub(super) fn agent(read: &mut Read<'_>, has_schemas: bool) -> Result<AgentRecord> {
    let mut record = AgentRecord {
        tenant: read.parse("tenant")?,
        owner: read.text("owner")?.to_owned(),
        card: AgentCard {
            id: read.parse("agent")?,
            name: read.text("name")?.to_owned(),
            description: read.text("description")?.to_owned(),
            types: read.list("types", |read| Ok(read.text("type")?.into()))?,
            skills: read.list("skills", |read| read.parse("skill"))?,
            schemas: Vec::new(),
            capabilities: read.list("capabilities", |read| Ok(read.text("capability")?.into()))?,
            labels: read.list("labels", |read| {
                Ok((read.text("label")?.into(), read.text("label value")?.into()))
            })?,
            region: read.text("region")?.into(),
            version: read.text("version")?.into(),
        },
        at: read.time("time")?,
    };
    if has_schemas {
        record.card.schemas = read.list("schemas", skill_schemas)?;
        if record.card.schemas.is_empty() {
            let problem = "there are none in a record that is for them".into();
            return Err(DecodeError::Field { field: "schemas", problem });
        }
    }
    Ok(record)
}

fn skill_schemas(read: &mut Read<'_>) -> Result<SkillSchemas> {
    Ok(SkillSchemas {
        skill: read.parse("skill")?,
        input: read.option("input schema", |read| read.parse("input schema"))?,
        output: read.option("output schema", |read| read.parse("output schema"))?,
    })
}

pub(super) fn subscription(read: &mut Read<'_>) -> Result<Subscription> {
    Ok(Subscription {
        pattern: read.parse("pattern")?,
        durable: read.flag("durable")?,
        filter: read.option("filter", |read| read.parse("filter"))?,
        group: read.option("group", |read| read.parse("group"))?,
        when_full: read.word("policy for a full inbox", WhenFull::from_number)?,
    })
}

pub(super) fn inbox_settings(read: &mut Read<'_>, has_ttl: bool) -> Result<InboxSettings> {
    Ok(InboxSettings {
        when_full: read.option("policy for a full inbox", |read| {
            read.word("policy for a full inbox", WhenFull::from_number)
        })?,
        wait: read.option("wait", |read| read.span("wait"))?,
        limit: read.option("limit", |read| read.small("limit"))?,
        routing: read.option("routing", |read| read.word("routing", Routing::from_number))?,
        bindings: read.list("bindings", |read| {
            Ok(Binding {
                priority: read.word("priority", Priority::from_number)?,
                key: read.text("label")?.into(),
                value: read.text("label value")?.into(),
            })
        })?,
        ttl: if has_ttl { Some(read.span("time to live")?) } else { None },
    })
}

fn scheduled(read: &mut Read<'_>) -> Result<ScheduledRecord> {
    let (tenant, owner) = (read.parse("tenant")?, read.text("owner")?.to_owned());
    let (name, cron, zone) =
        (read.parse("schedule")?, read.text("cron")?.into(), read.text("zone")?.into());
    let next = read.option("next time", |read| read.time("next time"))?;
    let (session, operation) = (session(read)?, read.number("operation")?);
    let at = read.time("time")?;
    let options = options(read)?;
    let publish = Arc::new(Publish { envelope: envelope(read)?, options });
    Ok(ScheduledRecord {
        tenant,
        owner,
        schedule: Schedule { name, cron, zone, publish },
        next,
        session,
        operation,
        at,
    })
}

fn accepted(read: &mut Read<'_>) -> Result<AcceptedRecord> {
    Ok(AcceptedRecord {
        session: session(read)?,
        operation: read.number("operation")?,
        at: read.time("time")?,
        first_entry: entry(read)?,
        inboxes: read.list("inboxes", |read| read.parse("inbox"))?,
        pending: read.flag("pending")?,
        publish: {
            let options = options(read)?;
            Arc::new(Publish { envelope: envelope(read)?, options })
        },
    })
}

pub(super) fn options(read: &mut Read<'_>) -> Result<PublishOptions> {
    Ok(PublishOptions {
        task: read.flag("task")?,
        reply: read.flag("reply")?,
        durability: read
            .option("durability", |read| read.word("durability", Durability::from_number))?,
        attempts: read.option("attempts", |read| read.small("attempts"))?,
        delay: read.option("delay", |read| read.span("delay"))?,
        not_before: read.option("not-before time", |read| read.time("not-before time"))?,
        max_run: read.option("longest run", |read| read.span("longest run"))?,
        gather: None,
        absent: read.word("absent", |number| match number {
            0 => Some(None),
            1 => Some(Some(Absent::Park)),
            2 => Some(Some(Absent::Fail)),
            3 => Some(Some(Absent::Discard)),
            _ => None,
        })?,
    })
}

pub(super) fn envelope(read: &mut Read<'_>) -> Result<Envelope> {
    Ok(Envelope {
        id: message_id(read)?,
        tenant: read.parse("tenant")?,
        kind: read.word("kind", Kind::from_number)?,
        source: read.option("source", |read| read.parse("source"))?,
        destination: read.parse("destination")?,
        priority: read.word("priority", Priority::from_number)?,
        ttl: read.option("time to live", |read| read.span("time to live"))?,
        ordering_key: read.option("ordering key", |read| read.parse("ordering key"))?,
        idempotency_key: read.option("idempotency key", |read| read.parse("idempotency key"))?,
        correlation_id: read.option("correlation id", message_id)?,
        causation_id: read.option("causation id", message_id)?,
        root_id: read.option("root id", message_id)?,
        redriven_from: read.option("redriven from", message_id)?.map(Box::new),
        context_id: read.option("context id", |read| read.parse("context id"))?,
        traceparent: read.option("traceparent", |read| Ok(read.text("traceparent")?.into()))?,
        headers: read.list("headers", |read| {
            Ok((read.text("header")?.into(), read.text("header value")?.into()))
        })?,
        payload: read.payload("payload")?,
    })
}

pub(super) fn message_id(read: &mut Read<'_>) -> Result<MessageId> {
    let bytes = read.wide("message id")?.to_be_bytes();
    MessageId::from_bytes(bytes).ok_or_else(|| DecodeError::Field {
        field: "message id",
        problem: "it is no version 7 UUID".into(),
    })
}

fn returned(read: &mut Read<'_>) -> Result<ReturnedRecord> {
    Ok(ReturnedRecord {
        entry: entry(read)?,
        attempts: read.small("attempts")?,
        losses: read.small("losses")?,
        due: read.time("due time")?,
        token_stays: read.flag("token stays")?,
        called_off: read.flag("called off")?,
        note: read.option("note", note)?,
        at: read.time("time")?,
    })
}

fn end(read: &mut Read<'_>) -> Result<End> {
    Ok(match read.number("end")? {
        1 => End::Completed { reply: read.option("reply", |read| read.payload("reply"))? },
        2 => End::Failed { reason: read.text("reason")?.to_owned() },
        3 => End::Rejected { reason: read.text("reason")?.to_owned() },
        4 => End::Expired,
        5 => End::Canceled { reason: read.text("reason")?.to_owned() },
        6 => End::DeadLettered {
            reason: read.text("reason")?.to_owned(),
            note: read.option("note", note)?,
        },
        7 => End::Dropped,
        other => {
            return Err(DecodeError::Field {
                field: "end",
                problem: format!("{other} is unknown"),
            });
        }
    })
}

pub(super) fn note(read: &mut Read<'_>) -> Result<AttemptNote> {
    Ok(AttemptNote {
        attempt: read.small("attempt")?,
        agent: read.option("agent", |read| read.parse("agent"))?,
        at: read.time("time")?,
        reason: read.text("reason")?.to_owned(),
    })
}
