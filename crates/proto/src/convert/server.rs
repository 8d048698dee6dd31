//! What a broker tells a session.

use crate::DecodeError;
use crate::decode::{all, each, id_bytes, message_id, millis, optional_name, required, text};
use crate::v1::{self, reply, session_item::Item};
use std::time::Duration;
use trunkline_types::session::{
    Accepted, Canceled, Delivery, EventDelivery, NumberRange, Pressure, Reply, SessionItem, Welcome,
};
use trunkline_types::{Epoch, Limits, Payload, Token, WallTime};

/// The frame that carries a batch, leaving `items` empty and its room in place.
pub fn server_frame(items: &mut Vec<SessionItem>) -> v1::ServerFrame {
    v1::ServerFrame { welcome: None, items: items.drain(..).map(Into::into).collect() }
}

impl From<Welcome> for v1::ServerFrame {
    fn from(welcome: Welcome) -> Self {
        Self { welcome: Some(welcome.into()), items: Vec::new() }
    }
}

impl From<Limits> for v1::Limits {
    fn from(limits: Limits) -> Self {
        let Limits {
            payload_bytes,
            headers,
            header_bytes,
            destinations,
            operations_per_frame,
            subscriptions,
            card_entries,
            schema_bytes,
            card_schema_bytes,
            credit,
            longest_span,
            attempts,
            reason_bytes,
        } = limits;
        Self {
            payload_bytes: payload_bytes as u64,
            headers: headers as u64,
            header_bytes: header_bytes as u64,
            destinations: destinations as u64,
            operations_per_frame: operations_per_frame as u64,
            subscriptions: subscriptions as u64,
            card_entries: card_entries as u64,
            schema_bytes: schema_bytes as u64,
            card_schema_bytes: card_schema_bytes as u64,
            credit,
            longest_span_ms: millis(longest_span),
            attempts,
            reason_bytes: reason_bytes as u64,
        }
    }
}

fn size(field: &'static str, size: u64) -> Result<usize, DecodeError> {
    usize::try_from(size).map_err(|_too_large| {
        DecodeError::new(field, size, "it is more than this machine can address")
    })
}

impl TryFrom<v1::Limits> for Limits {
    type Error = DecodeError;
    fn try_from(limits: v1::Limits) -> Result<Self, DecodeError> {
        if limits.operations_per_frame == 0 {
            let rule = "a frame must have room for an operation";
            return Err(DecodeError::new("limits.operations_per_frame", 0, rule));
        }
        Ok(Self {
            payload_bytes: size("limits.payload_bytes", limits.payload_bytes)?,
            headers: size("limits.headers", limits.headers)?,
            header_bytes: size("limits.header_bytes", limits.header_bytes)?,
            destinations: size("limits.destinations", limits.destinations)?,
            operations_per_frame: size("limits.operations_per_frame", limits.operations_per_frame)?,
            subscriptions: size("limits.subscriptions", limits.subscriptions)?,
            card_entries: size("limits.card_entries", limits.card_entries)?,
            schema_bytes: size("limits.schema_bytes", limits.schema_bytes)?,
            card_schema_bytes: size("limits.card_schema_bytes", limits.card_schema_bytes)?,
            credit: limits.credit,
            longest_span: Duration::from_millis(limits.longest_span_ms),
            attempts: limits.attempts,
            reason_bytes: size("limits.reason_bytes", limits.reason_bytes)?,
        })
    }
}

impl From<Welcome> for v1::Welcome {
    fn from(Welcome { epoch, resumed, lease, revoked, limits, now }: Welcome) -> Self {
        Self {
            epoch: epoch.0,
            resumed,
            lease_ms: millis(lease),
            revoked: each(revoked),
            limits: Some(limits.into()),
            now_ms: now.0,
        }
    }
}

impl TryFrom<v1::Welcome> for Welcome {
    type Error = DecodeError;
    fn try_from(welcome: v1::Welcome) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: Epoch(welcome.epoch),
            resumed: welcome.resumed,
            lease: Duration::from_millis(welcome.lease_ms),
            revoked: welcome.revoked.into_iter().map(Token::from).collect(),
            limits: required("welcome.limits", welcome.limits)?.try_into()?,
            now: WallTime(welcome.now_ms),
        })
    }
}

impl From<Accepted> for v1::Accepted {
    fn from(accepted: Accepted) -> Self {
        let Accepted { operation, id, duplicate, targets, dropped, parked } = accepted;
        Self { operation, id: id_bytes(id), duplicate, targets, dropped, parked }
    }
}

impl TryFrom<v1::Accepted> for Accepted {
    type Error = DecodeError;
    fn try_from(accepted: v1::Accepted) -> Result<Self, DecodeError> {
        let v1::Accepted { operation, id, duplicate, targets, dropped, parked } = accepted;
        let id = message_id("accepted.id", &id)?;
        Ok(Self { operation, id, duplicate, targets, dropped, parked })
    }
}

impl From<Pressure> for v1::Pressure {
    fn from(Pressure { inbox, percent, pace }: Pressure) -> Self {
        let pace_us = u64::try_from(pace.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        Self { inbox: Some(inbox.into()), percent: percent.into(), pace_us }
    }
}

impl TryFrom<v1::Pressure> for Pressure {
    type Error = DecodeError;
    fn try_from(
        v1::Pressure { inbox, percent, pace_us }: v1::Pressure,
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            inbox: required("pressure.inbox", inbox)?.try_into()?,
            percent: u8::try_from(percent).map_err(|_over| {
                DecodeError::new("pressure.percent", percent, "the range is 0 to 255")
            })?,
            pace: Duration::from_micros(pace_us),
        })
    }
}

impl From<NumberRange> for v1::NumberRange {
    fn from(NumberRange { first, last }: NumberRange) -> Self {
        Self { first, last }
    }
}

impl TryFrom<v1::NumberRange> for NumberRange {
    type Error = DecodeError;
    fn try_from(v1::NumberRange { first, last }: v1::NumberRange) -> Result<Self, DecodeError> {
        if first > last {
            let rule = format!("it must not be above number_range.last, which is {last}");
            return Err(DecodeError::new("number_range.first", first, rule));
        }
        Ok(Self { first, last })
    }
}

impl From<Delivery> for v1::Delivery {
    fn from(delivery: Delivery) -> Self {
        let Delivery {
            token,
            publish,
            inbox,
            attempt,
            accepted_at,
            expires_at,
            backlog,
            backlog_age,
            messages,
            number,
            missed,
            max_run,
        } = delivery;
        Self {
            token: Some(token.into()),
            publish: Some((&*publish).into()),
            inbox: Some(inbox.into()),
            attempt,
            accepted_at_ms: accepted_at.0,
            expires_at_ms: expires_at.map(|at| at.0),
            backlog,
            messages: each(messages),
            number,
            missed: each(missed),
            max_run_ms: max_run.map(millis),
            backlog_age_ms: millis(backlog_age),
        }
    }
}

impl TryFrom<v1::Delivery> for Delivery {
    type Error = DecodeError;
    fn try_from(delivery: v1::Delivery) -> Result<Self, DecodeError> {
        Ok(Self {
            token: required("delivery.token", delivery.token)?.into(),
            publish: required("delivery.publish", delivery.publish)?.try_into()?,
            inbox: required("delivery.inbox", delivery.inbox)?.try_into()?,
            attempt: delivery.attempt,
            accepted_at: WallTime(delivery.accepted_at_ms),
            expires_at: delivery.expires_at_ms.map(WallTime),
            backlog: delivery.backlog,
            backlog_age: Duration::from_millis(delivery.backlog_age_ms),
            messages: all(delivery.messages)?,
            number: delivery.number,
            missed: all(delivery.missed)?,
            max_run: delivery.max_run_ms.map(Duration::from_millis),
        })
    }
}

impl From<EventDelivery> for v1::EventDelivery {
    fn from(EventDelivery { number, publish, missed }: EventDelivery) -> Self {
        Self { number, publish: Some((&*publish).into()), missed }
    }
}

impl TryFrom<v1::EventDelivery> for EventDelivery {
    type Error = DecodeError;
    fn try_from(event: v1::EventDelivery) -> Result<Self, DecodeError> {
        let publish = required("event_delivery.publish", event.publish)?.try_into()?;
        Ok(Self { number: event.number, publish, missed: event.missed })
    }
}

impl From<Reply> for v1::Reply {
    fn from(Reply { request, agent, result }: Reply) -> Self {
        let result = match result {
            Ok(answer) => reply::Result::Answer(answer.into()),
            Err(failure) => reply::Result::Failure(failure.into()),
        };
        let agent = agent.as_ref().map(ToString::to_string);
        Self { request: id_bytes(request), agent, result: Some(result) }
    }
}

impl TryFrom<v1::Reply> for Reply {
    type Error = DecodeError;
    fn try_from(v1::Reply { request, agent, result }: v1::Reply) -> Result<Self, DecodeError> {
        Ok(Self {
            request: message_id("reply.request", &request)?,
            agent: optional_name("reply.agent", agent.as_deref())?,
            result: match required("reply.result", result)? {
                reply::Result::Answer(answer) => Ok(Payload::try_from(answer)?),
                reply::Result::Failure(failure) => Err(failure.try_into()?),
            },
        })
    }
}

impl From<SessionItem> for v1::SessionItem {
    fn from(item: SessionItem) -> Self {
        let item = match item {
            SessionItem::Done { first, last } => Item::Done(v1::Done { first, last }),
            SessionItem::Accepted(accepted) => Item::Accepted(accepted.into()),
            SessionItem::Canceled(Canceled { operation, messages }) => {
                Item::Canceled(v1::Canceled { operation, messages })
            }
            SessionItem::Refused { operation, refusal } => {
                Item::Refused(v1::Refused { operation, refusal: Some(refusal.into()) })
            }
            SessionItem::Delivery(delivery) => Item::Delivery(delivery.into()),
            SessionItem::Event(event) => Item::Event(event.into()),
            SessionItem::Reply(reply) => Item::Reply(reply.into()),
            SessionItem::Task { task, update } => {
                Item::Task(v1::TaskNews { task: id_bytes(task), update: Some(update.into()) })
            }
            SessionItem::Cancel { token, reason } => {
                Item::Cancel(v1::Revoke { token: Some(token.into()), reason })
            }
            SessionItem::Gathered(gathered) => Item::Gathered(gathered.into()),
            SessionItem::Pressure(pressure) => Item::Pressure(pressure.into()),
            SessionItem::Agent(news) => Item::Agent((*news).into()),
            SessionItem::Drain { reason } => Item::Drain(v1::Drain { reason }),
            SessionItem::GoAway { reason, reconnect } => {
                Item::GoAway(v1::GoAway { reason, reconnect })
            }
        };
        Self { item: Some(item) }
    }
}

impl TryFrom<v1::SessionItem> for SessionItem {
    type Error = DecodeError;
    fn try_from(item: v1::SessionItem) -> Result<Self, DecodeError> {
        Ok(match required("session_item.item", item.item)? {
            Item::Done(v1::Done { first, last }) if first <= last => Self::Done { first, last },
            Item::Done(v1::Done { first, last }) => {
                let rule = format!("it must not be above done.last, which is {last}");
                return Err(DecodeError::new("done.first", first, rule));
            }
            Item::Accepted(accepted) => Self::Accepted(accepted.try_into()?),
            Item::Canceled(v1::Canceled { operation, messages }) => {
                Self::Canceled(Canceled { operation, messages })
            }
            Item::Refused(v1::Refused { operation, refusal }) => Self::Refused {
                operation,
                refusal: required("refused.refusal", refusal)?.try_into()?,
            },
            Item::Delivery(delivery) => Self::Delivery(delivery.try_into()?),
            Item::Event(event) => Self::Event(event.try_into()?),
            Item::Reply(reply) => Self::Reply(reply.try_into()?),
            Item::Task(v1::TaskNews { task, update }) => Self::Task {
                task: message_id("task_news.task", &task)?,
                update: required("task_news.update", update)?.try_into()?,
            },
            Item::Cancel(v1::Revoke { token, reason }) => Self::Cancel {
                token: required("revoke.token", token)?.into(),
                reason: text("revoke.reason", reason)?,
            },
            Item::Gathered(gathered) => Self::Gathered(gathered.try_into()?),
            Item::Pressure(pressure) => Self::Pressure(pressure.try_into()?),
            Item::Agent(news) => Self::Agent(Box::new(news.try_into()?)),
            Item::Drain(v1::Drain { reason }) => {
                Self::Drain { reason: text("drain.reason", reason)? }
            }
            Item::GoAway(v1::GoAway { reason, reconnect }) => {
                Self::GoAway { reason: text("go_away.reason", reason)?, reconnect }
            }
        })
    }
}
