//! What a session tells its broker, but for its operations.

use crate::DecodeError;
use crate::convert::words;
use crate::decode::{all, each, optional_name, required, session_id};
use crate::v1::{self, client_frame::Frame};
use bytes::Bytes;
use trunkline_types::session::{ClientFrame, Credit, Hello, Subscription};
use trunkline_types::{AgentCard, Filter, Token, TopicPattern, WhenFull};

impl From<Credit> for v1::Credit {
    fn from(Credit { deliveries, events }: Credit) -> Self {
        Self { deliveries, events }
    }
}

impl From<v1::Credit> for Credit {
    fn from(v1::Credit { deliveries, events }: v1::Credit) -> Self {
        Self { deliveries, events }
    }
}

impl From<Subscription> for v1::Subscription {
    fn from(subscription: Subscription) -> Self {
        let Subscription { pattern, durable, filter, group, when_full } = subscription;
        Self {
            pattern: pattern.to_string(),
            durable,
            filter: filter.as_ref().map(ToString::to_string),
            group: group.as_ref().map(ToString::to_string),
            when_full: v1::WhenFull::from(when_full).into(),
        }
    }
}

impl TryFrom<v1::Subscription> for Subscription {
    type Error = DecodeError;
    fn try_from(subscription: v1::Subscription) -> Result<Self, DecodeError> {
        let v1::Subscription { pattern, durable, filter, group, when_full } = subscription;
        let pattern = TopicPattern::new(&pattern)
            .map_err(|error| DecodeError::name("subscription.pattern", &pattern, &error))?;
        Ok(Self {
            pattern,
            durable,
            filter: filter.map(|text| filter_of(&text)).transpose()?,
            group: optional_name("subscription.group", group.as_deref())?,
            when_full: words::when_full("subscription.when_full", when_full)?
                .unwrap_or(WhenFull::Reject),
        })
    }
}

fn filter_of(text: &str) -> Result<Filter, DecodeError> {
    Filter::new(text)
        .map_err(|error| DecodeError::new("subscription.filter", "not a filter", error.to_string()))
}

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        let Hello { session, card, credit, subscriptions, next_operation, held } = hello;
        Self {
            session: Bytes::copy_from_slice(&session.0.to_be_bytes()),
            card: card.map(Into::into),
            credit: Some(credit.into()),
            subscriptions: each(subscriptions),
            next_operation,
            held: each(held),
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = DecodeError;
    fn try_from(hello: v1::Hello) -> Result<Self, DecodeError> {
        Ok(Self {
            session: session_id("hello.session", &hello.session)?,
            card: hello.card.map(AgentCard::try_from).transpose()?,
            credit: hello.credit.map(Credit::from).unwrap_or_default(),
            subscriptions: all(hello.subscriptions)?,
            next_operation: number("hello.next_operation", hello.next_operation)?,
            held: hello.held.into_iter().map(Token::from).collect(),
        })
    }
}

/// The number of an operation: they are counted from 1.
fn number(field: &'static str, number: u64) -> Result<u64, DecodeError> {
    if number == 0 {
        return Err(DecodeError::new(field, 0, "operations are numbered from 1"));
    }
    Ok(number)
}

impl From<Hello> for v1::ClientFrame {
    fn from(hello: Hello) -> Self {
        Self { frame: Some(Frame::Hello(hello.into())) }
    }
}

impl From<ClientFrame> for v1::ClientFrame {
    fn from(frame: ClientFrame) -> Self {
        let frame = match frame {
            ClientFrame::Operations { first, operations } => {
                Frame::Operations(v1::Operations { first, operations: each(operations) })
            }
            ClientFrame::Heartbeat { tokens } => {
                Frame::Heartbeat(v1::Heartbeat { tokens: each(tokens) })
            }
            ClientFrame::Credit(credit) => Frame::Credit(credit.into()),
            ClientFrame::Acknowledge { through } => Frame::Acknowledge(v1::Acknowledge { through }),
            ClientFrame::Drain => Frame::Drain(v1::Nothing {}),
            ClientFrame::Goodbye => Frame::Goodbye(v1::Nothing {}),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<v1::ClientFrame> for Hello {
    type Error = DecodeError;
    fn try_from(frame: v1::ClientFrame) -> Result<Self, DecodeError> {
        match frame.frame {
            Some(Frame::Hello(hello)) => hello.try_into(),
            Some(_) => Err(DecodeError::new(
                "client_frame.frame",
                "another frame",
                "the first frame of a connection is a hello",
            )),
            None => required("client_frame.frame", None),
        }
    }
}

impl TryFrom<v1::ClientFrame> for ClientFrame {
    type Error = DecodeError;
    fn try_from(frame: v1::ClientFrame) -> Result<Self, DecodeError> {
        Ok(match required("client_frame.frame", frame.frame)? {
            Frame::Hello(_) => {
                return Err(DecodeError::new(
                    "client_frame.frame",
                    "a hello",
                    "only the first frame of a connection is one",
                ));
            }
            Frame::Operations(v1::Operations { first, operations }) => Self::Operations {
                first: number("operations.first", first)?,
                operations: all(operations)?,
            },
            Frame::Heartbeat(v1::Heartbeat { tokens }) => {
                Self::Heartbeat { tokens: tokens.into_iter().map(Token::from).collect() }
            }
            Frame::Credit(credit) => Self::Credit(credit.into()),
            Frame::Acknowledge(v1::Acknowledge { through }) => Self::Acknowledge { through },
            Frame::Drain(v1::Nothing {}) => Self::Drain,
            Frame::Goodbye(v1::Nothing {}) => Self::Goodbye,
        })
    }
}
