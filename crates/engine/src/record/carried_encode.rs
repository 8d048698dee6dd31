//! From what cleaning says again to bytes.

use super::carried::{
    Carried, CarriedEnded, CarriedEntry, CarriedLease, CarriedLetter, CarriedMarks,
    CarriedSchedule, CarriedTally, CarriedTask, CarriedToken, Part, PartOf,
};
use super::codec::Write;
use super::encode::{self, agent, envelope, inbox_settings, note, options, subscription, token};
use crate::key_index::KeyRow;
use trunkline_types::{
    AgentControl, ArtifactChunk, Counters, InboxAddress, Publish, Schedule, TaskEvent,
    TaskEventBody,
};

/// Appends the body of a carried record.
#[allow(clippy::too_many_lines, reason = "one arm for each kind of record")]
pub(super) fn encode(out: &mut Vec<u8>, carried: &Carried) {
    match carried {
        Carried::Entry(record) => entry(out, record),
        Carried::Ended(record) => ended(out, record),
        Carried::Parts { of, parts } => {
            match of {
                PartOf::Entry(entry) => {
                    out.number(1);
                    out.number(entry.0);
                }
                PartOf::Task(id) => {
                    out.number(2);
                    out.wide(id.as_u128());
                }
                PartOf::Letter(place) => {
                    out.number(3);
                    out.number(place.0);
                }
            }
            out.list(parts, part);
        }
        Carried::Letter(record) => letter(out, record),
        Carried::Agent { record, control, subscriptions } => {
            let AgentControl { weight, draining, healthy } = control;
            agent(out, record);
            out.number(u64::from(*weight));
            out.number(u64::from(*draining));
            out.number(u64::from(*healthy));
            out.number(u64::from(*subscriptions));
        }
        Carried::Subscribed { tenant, agent, subscription: wanted } => {
            out.text(tenant.as_str());
            out.text(agent.as_str());
            subscription(out, wanted);
        }
        Carried::Inbox { tenant, inbox, settings, counters } => {
            out.text(tenant.as_str());
            address(out, inbox.as_ref());
            inbox_settings(out, settings);
            figures(out, counters);
        }
        Carried::Tenant { tenant, tally, keys } => {
            out.text(tenant.as_str());
            tallied(out, tally);
            out.list(keys, |out, &(at, count)| {
                out.time(at);
                out.number(count);
            });
        }
        Carried::Schedule(record) => schedule(out, record),
        Carried::Window { session, ranges, at } => {
            out.wide(session.0);
            out.list(ranges, |out, &(first, last)| {
                out.number(first);
                out.number(last);
            });
            out.time(*at);
        }
        Carried::Key { tenant, key, row } => {
            let KeyRow { id, fingerprint, expires_at } = row;
            out.text(tenant.as_str());
            out.text(key.as_str());
            out.wide(id.as_u128());
            out.number(*fingerprint);
            out.time(*expires_at);
        }
        Carried::Tokens(tokens) => out.list(tokens, |out, used| {
            let CarriedToken { tenant, agent, token: of, used } = used;
            out.text(tenant.as_str());
            out.text(agent.as_str());
            token(out, *of);
            out.number(u64::from(*used));
        }),
        Carried::Marks(marks) => {
            let CarriedMarks { epoch, born, next_entry, oldest_task, oldest_letter } = marks;
            out.number(u64::from(epoch.0));
            out.time(*born);
            out.number(next_entry.0);
            out.number(oldest_task.0);
            out.number(oldest_letter.0);
        }
    }
}

fn address(out: &mut Vec<u8>, inbox: Option<&InboxAddress>) {
    out.option(inbox, encode::address);
}

fn publish(out: &mut Vec<u8>, publish: &Publish) {
    options(out, &publish.options);
    envelope(out, &publish.envelope);
}

fn entry(out: &mut Vec<u8>, record: &CarriedEntry) {
    let CarriedEntry {
        entry,
        inbox,
        publish: sent,
        session,
        accepted_at,
        attempts,
        deliveries,
        losses,
        due,
        returned,
        rejoined,
        paused,
        lease,
        task: of,
        parts,
    } = record;
    out.number(entry.0);
    address(out, inbox.as_ref());
    out.wide(session.0);
    out.time(*accepted_at);
    out.number(u64::from(*attempts));
    out.number(u64::from(*deliveries));
    out.number(u64::from(*losses));
    out.time(*due);
    out.number(u64::from(*returned));
    out.number(u64::from(*rejoined));
    out.number(u64::from(*paused));
    out.option(lease.as_ref(), |out, lease| {
        let CarriedLease { token: of, session, agent, begun, called_off, ran, held } = lease;
        token(out, *of);
        out.wide(session.0);
        out.text(agent.as_str());
        out.number(u64::from(*begun));
        out.number(u64::from(*called_off));
        out.span(*ran);
        out.number(u64::from(*held));
    });
    out.option(of.as_ref(), task);
    out.number(u64::from(*parts));
    publish(out, sent);
}

#[allow(clippy::ptr_arg, reason = "it is handed to Write::option as a function")]
fn task(out: &mut Vec<u8>, task: &CarriedTask) {
    let CarriedTask { state, reason, agent, deliveries, last_event, created_at, updated_at } = task;
    out.number(u64::from(state.number()));
    out.option(reason.as_ref(), |out, reason| out.text(reason));
    out.option(agent.as_ref(), |out, agent| out.text(agent.as_str()));
    out.number(u64::from(*deliveries));
    out.number(*last_event);
    out.time(*created_at);
    out.time(*updated_at);
}

fn ended(out: &mut Vec<u8>, record: &CarriedEnded) {
    let CarriedEnded { publish: sent, task: of, ended, place, parts } = record;
    task(out, of);
    out.option(ended.as_ref(), |out, (inbox, state)| {
        encode::address(out, inbox);
        out.number(u64::from(state.number()));
    });
    out.number(place.0);
    out.number(u64::from(*parts));
    publish(out, sent);
}

fn letter(out: &mut Vec<u8>, record: &CarriedLetter) {
    let CarriedLetter { publish: sent, inbox, reason, at, accepted_at, place, parts } = record;
    encode::address(out, inbox);
    out.text(reason);
    out.time(*at);
    out.time(*accepted_at);
    out.number(place.0);
    out.number(u64::from(*parts));
    publish(out, sent);
}

#[allow(clippy::ptr_arg, reason = "it is handed to Write::list as a function")]
fn part(out: &mut Vec<u8>, part: &Part) {
    match part {
        Part::Note(of) => {
            out.number(1);
            note(out, of);
        }
        Part::Message(payload) => {
            out.number(2);
            out.payload(payload);
        }
        Part::TaskNote(of) => {
            out.number(3);
            note(out, of);
        }
        Part::Event(of) => {
            out.number(4);
            event(out, of);
        }
        Part::Result(payload) => {
            out.number(5);
            out.payload(payload);
        }
    }
}

pub(super) fn event(out: &mut Vec<u8>, event: &TaskEvent) {
    let TaskEvent { number, epoch, at, body } = event;
    out.number(*number);
    out.number(u64::from(epoch.0));
    out.time(*at);
    match body {
        TaskEventBody::Status { state, reason } => {
            out.number(1);
            out.number(u64::from(state.number()));
            out.option(reason.as_ref(), |out, reason| out.text(reason));
        }
        TaskEventBody::Artifact(ArtifactChunk { name, append, last, payload }) => {
            out.number(2);
            out.text(name);
            out.number(u64::from(*append));
            out.number(u64::from(*last));
            out.payload(payload);
        }
        TaskEventBody::Message { from, payload } => {
            out.number(3);
            out.option(from.as_ref(), |out, from| out.text(from.as_str()));
            out.payload(payload);
        }
    }
}

fn figures(out: &mut Vec<u8>, counters: &Counters) {
    let Counters {
        accepted,
        settled,
        dead_lettered,
        expired,
        canceled,
        dropped,
        lost,
        redeliveries,
    } = *counters;
    for count in [accepted, settled, dead_lettered, expired, canceled, dropped, lost, redeliveries]
    {
        out.number(count);
    }
}

fn tallied(out: &mut Vec<u8>, tally: &CarriedTally) {
    let CarriedTally { accepted, completed, failed, canceled, redriven, purged, scheduled } =
        *tally;
    for count in [accepted, completed, failed, canceled, redriven, purged, scheduled] {
        out.number(count);
    }
}

fn schedule(out: &mut Vec<u8>, record: &CarriedSchedule) {
    let CarriedSchedule { tenant, owner, schedule, next, fired, last } = record;
    let Schedule { name, cron, zone, publish: sent } = schedule;
    out.text(tenant.as_str());
    out.text(owner);
    out.text(name.as_str());
    out.text(cron);
    out.text(zone);
    out.option(*next, Write::time);
    out.number(*fired);
    out.option(*last, |out, (id, due)| {
        out.wide(id.as_u128());
        out.time(due);
    });
    publish(out, sent);
}
