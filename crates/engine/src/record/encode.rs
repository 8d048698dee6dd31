//! From records to bytes. The layout is in `docs/log-format.md`.

use super::carried_encode;
use super::codec::Write;
use super::kinds::{AcceptedRecord, AgentRecord, End, Record, ReturnedRecord, ScheduledRecord};
use trunkline_types::session::Subscription;
use trunkline_types::{
    Absent, AgentCard, AgentControl, AttemptNote, Binding, Destination, Durability, Envelope,
    InboxAddress, InboxSettings, Publish, PublishOptions, Schedule, SkillSchemas, Token,
};

impl Record {
    /// Appends the body (without tag and length) to `out`.
    #[allow(clippy::too_many_lines, reason = "one arm for each kind of record")]
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Boot { epoch, at } => {
                out.number(u64::from(epoch.0));
                out.time(*at);
            }
            Self::Agent(record) => agent(out, record),
            Self::Subscribed { tenant, agent, subscription: wanted }
            | Self::Unsubscribed { tenant, agent, subscription: wanted } => {
                out.text(tenant.as_str());
                out.text(agent.as_str());
                subscription(out, wanted);
            }
            Self::Accepted(record) => accepted(out, record),
            Self::Leased { entry, token: granted, session, agent, at } => {
                out.number(entry.0);
                token(out, *granted);
                out.wide(session.0);
                out.text(agent.as_str());
                out.time(*at);
            }
            Self::Begun { entry } => out.number(entry.0),
            Self::Ran { entry, ran } => {
                out.number(entry.0);
                out.span(*ran);
            }
            Self::Returned(record) => returned(out, record),
            Self::Paused { entry, reason, message, at } => {
                out.number(entry.0);
                out.number(u64::from(reason.number()));
                out.option(message.as_ref(), Write::payload);
                out.time(*at);
            }
            Self::Continued { entry, payload, from, session, operation, at } => {
                out.number(entry.0);
                out.payload(payload);
                out.option(from.as_ref(), |out, from| out.text(from.as_str()));
                out.wide(session.0);
                out.number(*operation);
                out.time(*at);
            }
            Self::Settled { entry, end: how, at } => {
                out.number(entry.0);
                end(out, how);
                out.time(*at);
            }
            Self::Artifact { entry, session, operation, chunk, at } => {
                out.number(entry.0);
                out.wide(session.0);
                out.number(*operation);
                out.text(&chunk.name);
                out.number(u64::from(chunk.append));
                out.number(u64::from(chunk.last));
                out.payload(&chunk.payload);
                out.time(*at);
            }
            Self::Lost { tenant, inbox, count } => {
                out.text(tenant.as_str());
                out.option(inbox.as_ref(), address);
                out.number(*count);
            }
            Self::AgentSet { tenant, agent, control, session, operation, at } => {
                let AgentControl { weight, draining, healthy } = control;
                out.text(tenant.as_str());
                out.text(agent.as_str());
                out.number(u64::from(*weight));
                out.number(u64::from(*draining));
                out.number(u64::from(*healthy));
                out.wide(session.0);
                out.number(*operation);
                out.time(*at);
            }
            Self::AgentGone { tenant, agent, session, operation, at } => {
                out.text(tenant.as_str());
                out.text(agent.as_str());
                out.wide(session.0);
                out.number(*operation);
                out.time(*at);
            }
            Self::InboxSet { tenant, inbox, settings, session, operation, at } => {
                out.text(tenant.as_str());
                address(out, inbox);
                inbox_settings(out, settings);
                out.wide(session.0);
                out.number(*operation);
                out.time(*at);
            }
            Self::Scheduled(record) => scheduled(out, record),
            Self::Unscheduled { tenant, name, session, operation, at } => {
                out.text(tenant.as_str());
                out.text(name.as_str());
                out.wide(session.0);
                out.number(*operation);
                out.time(*at);
            }
            Self::Fired { name, due, next, accepted: record } => {
                out.text(name.as_str());
                out.time(*due);
                out.option(*next, Write::time);
                accepted(out, record);
            }
            Self::Redriven { letter, inbox, accepted: record } => {
                out.wide(letter.as_u128());
                address(out, inbox);
                accepted(out, record);
            }
            Self::Purged { tenant, letter, inbox, session, operation, at } => {
                out.text(tenant.as_str());
                out.wide(letter.as_u128());
                address(out, inbox);
                out.wide(session.0);
                out.number(*operation);
                out.time(*at);
            }
            Self::Carried(record) => carried_encode::encode(out, record),
            Self::Routed { entry, first_entry, inboxes, at } => {
                out.number(entry.0);
                out.number(first_entry.0);
                out.list(inboxes, address);
                out.time(*at);
            }
        }
    }
}

pub(super) fn subscription(out: &mut Vec<u8>, wanted: &Subscription) {
    let Subscription { pattern, durable, filter, group, when_full } = wanted;
    out.text(pattern.as_str());
    out.number(u64::from(*durable));
    out.option(filter.as_ref(), |out, filter| out.text(filter.as_str()));
    out.option(group.as_ref(), |out, group| out.text(group.as_str()));
    out.number(u64::from(when_full.number()));
}

/// A time to live stands at the end, and only in records of the tags that are for that.
pub(super) fn inbox_settings(out: &mut Vec<u8>, settings: &InboxSettings) {
    let InboxSettings { when_full, wait, limit, ttl, routing, bindings } = settings;
    out.option(*when_full, |out, policy| out.number(u64::from(policy.number())));
    out.option(*wait, Write::span);
    out.option(*limit, |out, limit| out.number(u64::from(limit)));
    out.option(*routing, |out, policy| out.number(u64::from(policy.number())));
    out.list(bindings, |out, binding| {
        let Binding { priority, key, value } = binding;
        out.number(u64::from(priority.number()));
        out.text(key);
        out.text(value);
    });
    if let Some(ttl) = ttl {
        out.span(*ttl);
    }
}

fn scheduled(out: &mut Vec<u8>, record: &ScheduledRecord) {
    let ScheduledRecord { tenant, owner, schedule, next, session, operation, at } = record;
    let Schedule { name, cron, zone, publish } = schedule;
    out.text(tenant.as_str());
    out.text(owner);
    out.text(name.as_str());
    out.text(cron);
    out.text(zone);
    out.option(*next, Write::time);
    out.wide(session.0);
    out.number(*operation);
    out.time(*at);
    options(out, &publish.options);
    envelope(out, &publish.envelope);
}

/// Schemas stand at the end, and only in records of the tags that are for that.
pub(super) fn agent(out: &mut Vec<u8>, record: &AgentRecord) {
    let AgentRecord { tenant, owner, card, at } = record;
    out.text(tenant.as_str());
    out.text(owner);
    let AgentCard {
        id,
        name,
        description,
        types,
        skills,
        schemas,
        capabilities,
        labels,
        region,
        version,
    } = card;
    out.text(id.as_str());
    out.text(name);
    out.text(description);
    out.list(types, |out, text| out.text(text));
    out.list(skills, |out, skill| out.text(skill.as_str()));
    out.list(capabilities, |out, text| out.text(text));
    out.list(labels, |out, (key, value)| {
        out.text(key);
        out.text(value);
    });
    out.text(region);
    out.text(version);
    out.time(*at);
    if !schemas.is_empty() {
        out.list(schemas, |out, SkillSchemas { skill, input, output }| {
            out.text(skill.as_str());
            for schema in [input, output] {
                out.option(schema.as_ref(), |out, schema| out.text(schema.as_str()));
            }
        });
    }
}

fn accepted(out: &mut Vec<u8>, record: &AcceptedRecord) {
    let AcceptedRecord { publish, session, operation, at, first_entry, inboxes, pending } = record;
    out.wide(session.0);
    out.number(*operation);
    out.time(*at);
    out.number(first_entry.0);
    out.list(inboxes, address);
    out.number(u64::from(*pending));
    let Publish { envelope: carried, options: asked } = &**publish;
    options(out, asked);
    envelope(out, carried);
}

/// Writes an address as its text, without making that text first.
pub(super) fn address(out: &mut Vec<u8>, inbox: &InboxAddress) {
    match inbox {
        InboxAddress::Agent(id) => named(out, "agent:", id.as_str()),
        InboxAddress::Skill(skill) => named(out, "skill:", skill.as_str()),
    }
}

/// Writes a destination as its text, which is made only where it is long.
pub(super) fn destination(out: &mut Vec<u8>, to: &Destination) {
    match to {
        Destination::Agent(id) => named(out, "agent:", id.as_str()),
        Destination::Skill(skill) => named(out, "skill:", skill.as_str()),
        Destination::Topic(topic) => named(out, "topic:", topic.as_str()),
        Destination::All | Destination::Agents(_) => out.text(&to.to_string()),
    }
}

fn named(out: &mut Vec<u8>, kind: &str, name: &str) {
    out.number((kind.len() + name.len()) as u64);
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(name.as_bytes());
}

pub(super) fn options(out: &mut Vec<u8>, options: &PublishOptions) {
    // What gathers answers is ephemeral: of it only the use of its key is written.
    let PublishOptions {
        task,
        reply,
        durability,
        attempts,
        delay,
        not_before,
        max_run,
        gather: _,
        absent,
    } = options;
    out.number(u64::from(*task));
    out.number(u64::from(*reply));
    out.option(*durability, |out, level: Durability| out.number(u64::from(level.number())));
    out.option(*attempts, |out, attempts| out.number(u64::from(attempts)));
    out.option(*delay, Write::span);
    out.option(*not_before, Write::time);
    out.option(*max_run, Write::span);
    out.number(match absent {
        None => 0,
        Some(Absent::Park) => 1,
        Some(Absent::Fail) => 2,
        Some(Absent::Discard) => 3,
    });
}

pub(super) fn envelope(out: &mut Vec<u8>, envelope: &Envelope) {
    let Envelope {
        id,
        tenant,
        kind,
        source,
        destination,
        priority,
        ttl,
        ordering_key,
        idempotency_key,
        correlation_id,
        causation_id,
        root_id,
        redriven_from,
        context_id,
        traceparent,
        headers,
        payload,
    } = envelope;
    out.wide(id.as_u128());
    out.text(tenant.as_str());
    out.number(u64::from(kind.number()));
    out.option(source.as_ref(), |out, agent| out.text(agent.as_str()));
    self::destination(out, destination);
    out.number(u64::from(priority.number()));
    out.option(*ttl, Write::span);
    out.option(ordering_key.as_ref(), |out, key| out.text(key.as_str()));
    out.option(idempotency_key.as_ref(), |out, key| out.text(key.as_str()));
    for id in [correlation_id, causation_id, root_id, &redriven_from.as_deref().copied()] {
        out.option(*id, |out, id| out.wide(id.as_u128()));
    }
    out.option(context_id.as_ref(), |out, id| out.text(id.as_str()));
    out.option(traceparent.as_ref(), |out, text| out.text(text));
    out.list(headers, |out, (name, value)| {
        out.text(name);
        out.text(value);
    });
    out.payload(payload);
}

fn returned(out: &mut Vec<u8>, record: &ReturnedRecord) {
    let ReturnedRecord { entry, attempts, losses, due, token_stays, called_off, note: last, at } =
        record;
    out.number(entry.0);
    out.number(u64::from(*attempts));
    out.number(u64::from(*losses));
    out.time(*due);
    out.number(u64::from(*token_stays));
    out.number(u64::from(*called_off));
    out.option(last.as_ref(), note);
    out.time(*at);
}

fn end(out: &mut Vec<u8>, end: &End) {
    match end {
        End::Completed { reply } => {
            out.number(1);
            out.option(reply.as_ref(), Write::payload);
        }
        End::Failed { reason } => {
            out.number(2);
            out.text(reason);
        }
        End::Rejected { reason } => {
            out.number(3);
            out.text(reason);
        }
        End::Expired => out.number(4),
        End::Canceled { reason } => {
            out.number(5);
            out.text(reason);
        }
        End::DeadLettered { reason, note: last } => {
            out.number(6);
            out.text(reason);
            out.option(last.as_ref(), note);
        }
        End::Dropped => out.number(7),
    }
}

#[allow(clippy::ptr_arg, reason = "it is handed to Write::option as a function")]
pub(super) fn note(out: &mut Vec<u8>, note: &AttemptNote) {
    let AttemptNote { attempt, agent, at, reason } = note;
    out.number(u64::from(*attempt));
    out.option(agent.as_ref(), |out, agent| out.text(agent.as_str()));
    out.time(*at);
    out.text(reason);
}

pub(super) fn token(out: &mut Vec<u8>, token: Token) {
    out.number(u64::from(token.epoch.0));
    out.number(token.counter);
}
