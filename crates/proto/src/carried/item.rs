//! Items that are read and written by hand: what every message leads to.

use super::Carry;
use super::operation::set_data;
use super::read::{END, Fields, LEN, VARINT, payload, publish, token};
use super::write::{Count, Out, PublishLengths, nested, write_payload, write_token};
use crate::decode::{message_id, millis};
use crate::v1;
use bytes::Bytes;
use std::ops::Range;
use std::time::Duration;
use trunkline_types::session::{Accepted, Delivery, EventDelivery, Reply, SessionItem};
use trunkline_types::{AgentId, InboxAddress, WallTime};

impl Carry for SessionItem {
    type Wire = v1::SessionItem;

    fn read(tag: u32, body: &[u8], data: &mut Range<usize>) -> Option<Self> {
        let fields = Fields::new(body);
        Some(match tag {
            1 => done(fields)?,
            2 => Self::Accepted(accepted(fields)?),
            4 => Self::Delivery(delivery(fields, data)?),
            5 => Self::Event(event(fields, data)?),
            6 => Self::Reply(reply(fields, data)?),
            _ => return None,
        })
    }

    fn set_data(&mut self, data: Bytes) {
        match self {
            Self::Delivery(delivery) => set_data(&mut delivery.publish, data),
            Self::Event(event) => set_data(&mut event.publish, data),
            Self::Reply(Reply { result: Ok(answer), .. }) => answer.data = data,
            _ => {}
        }
    }

    fn write(&self, out: &mut impl Out) -> bool {
        match self {
            Self::Done { first, last } => nested!(out, 1, |out| {
                out.number(1, *first);
                out.number(2, *last);
            }),
            Self::Accepted(accepted) => nested!(out, 2, |out| write_accepted(accepted, out)),
            Self::Delivery(delivery)
                if delivery.messages.is_empty() && delivery.missed.is_empty() =>
            {
                write_delivery(delivery, out);
            }
            Self::Event(EventDelivery { number, publish, missed }) => {
                let lengths = PublishLengths::of(publish);
                nested!(out, 5, |out| {
                    out.number(1, *number);
                    lengths.write(2, publish, out);
                    out.number(3, *missed);
                });
            }
            Self::Reply(Reply { request, agent, result: Ok(answer) }) => nested!(out, 6, |out| {
                out.bytes(1, &request.to_bytes());
                out.text(2, agent.as_ref().map(AgentId::as_str));
                nested!(out, 3, |out| write_payload(answer, out));
            }),
            _ => return false,
        }
        true
    }
}

fn done(mut fields: Fields<'_>) -> Option<SessionItem> {
    let (mut first, mut last) = (0, 0);
    loop {
        match fields.key()? {
            END => break,
            (1, VARINT) => first = fields.varint()?,
            (2, VARINT) => last = fields.varint()?,
            _ => return None,
        }
    }
    (first <= last).then_some(SessionItem::Done { first, last })
}

fn accepted(mut fields: Fields<'_>) -> Option<Accepted> {
    let (mut operation, mut id) = (0, None);
    let (mut duplicate, mut targets, mut dropped, mut parked) = (false, 0, 0, 0);
    loop {
        match fields.key()? {
            END => break,
            (1, VARINT) => operation = fields.varint()?,
            (2, LEN) => id = message_id("accepted.id", fields.bytes()?).ok(),
            (3, VARINT) => duplicate = fields.varint()? != 0,
            (4, VARINT) => targets = fields.small()?,
            (5, VARINT) => dropped = fields.small()?,
            (6, VARINT) => parked = fields.small()?,
            _ => return None,
        }
    }
    Some(Accepted { operation, id: id?, duplicate, targets, dropped, parked })
}

fn write_accepted(accepted: &Accepted, out: &mut impl Out) {
    let Accepted { operation, id, duplicate, targets, dropped, parked } = accepted;
    out.number(1, *operation);
    out.bytes(2, &id.to_bytes());
    out.flag(3, *duplicate);
    for (tag, count) in [(4, targets), (5, dropped), (6, parked)] {
        out.number(tag, (*count).into());
    }
}

fn inbox(mut fields: Fields<'_>) -> Option<InboxAddress> {
    let address = match fields.key()? {
        (1, LEN) => InboxAddress::Agent(fields.name()?),
        (2, LEN) => InboxAddress::Skill(fields.name()?),
        _ => return None,
    };
    (fields.key()? == END).then_some(address)
}

fn delivery(mut fields: Fields<'_>, data: &mut Range<usize>) -> Option<Delivery> {
    let (mut of, mut what, mut from) = (None, None, None);
    let (mut attempt, mut accepted_at, mut expires_at) = (0, WallTime(0), None);
    let (mut backlog, mut backlog_age, mut number) = (0, Duration::ZERO, 0);
    let mut max_run = None;
    loop {
        match fields.key()? {
            END => break,
            (1, LEN) => of = Some(token(fields.message()?)?),
            (2, LEN) => what = Some(publish(fields.message()?, data)?),
            (3, LEN) => from = Some(inbox(fields.message()?)?),
            (4, VARINT) => attempt = fields.small()?,
            (5, VARINT) => accepted_at = WallTime(fields.varint()?),
            (6, VARINT) => expires_at = Some(WallTime(fields.varint()?)),
            (7, VARINT) => backlog = fields.small()?,
            (9, VARINT) => number = fields.varint()?,
            (11, VARINT) => max_run = Some(Duration::from_millis(fields.varint()?)),
            (16, VARINT) => backlog_age = Duration::from_millis(fields.varint()?),
            _ => return None,
        }
    }
    Some(Delivery {
        token: of?,
        publish: what?,
        inbox: from?,
        attempt,
        accepted_at,
        expires_at,
        backlog,
        backlog_age,
        messages: Vec::new(),
        number,
        missed: Vec::new(),
        max_run,
    })
}

fn write_delivery(delivery: &Delivery, out: &mut impl Out) {
    let lengths = PublishLengths::of(&delivery.publish);
    nested!(out, 4, |out| {
        write_token(delivery.token, out);
        lengths.write(2, &delivery.publish, out);
        nested!(out, 3, |out| match &delivery.inbox {
            InboxAddress::Agent(id) => out.bytes(1, id.as_str().as_bytes()),
            InboxAddress::Skill(name) => out.bytes(2, name.as_str().as_bytes()),
        });
        out.number(4, delivery.attempt.into());
        out.number(5, delivery.accepted_at.0);
        if let Some(at) = delivery.expires_at {
            out.varint(6, at.0);
        }
        out.number(7, delivery.backlog.into());
        out.number(9, delivery.number);
        if let Some(span) = delivery.max_run {
            out.varint(11, millis(span));
        }
        out.number(16, millis(delivery.backlog_age));
    });
}

fn event(mut fields: Fields<'_>, data: &mut Range<usize>) -> Option<EventDelivery> {
    let (mut number, mut what, mut missed) = (0, None, 0);
    loop {
        match fields.key()? {
            END => break,
            (1, VARINT) => number = fields.varint()?,
            (2, LEN) => what = Some(publish(fields.message()?, data)?),
            (3, VARINT) => missed = fields.varint()?,
            _ => return None,
        }
    }
    Some(EventDelivery { number, publish: what?, missed })
}

fn reply(mut fields: Fields<'_>, data: &mut Range<usize>) -> Option<Reply> {
    let (mut request, mut agent, mut answer) = (None, None, None);
    loop {
        match fields.key()? {
            END => break,
            (1, LEN) => request = message_id("reply.request", fields.bytes()?).ok(),
            (2, LEN) => agent = Some(fields.name()?),
            (3, LEN) => answer = Some(payload(fields.message()?, data)?),
            _ => return None,
        }
    }
    Some(Reply { request: request?, agent, result: Ok(answer?) })
}
