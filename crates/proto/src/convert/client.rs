//! What a session tells its broker.

use crate::DecodeError;
use crate::decode::{all, each, id_bytes, message_id, payload, required, session_id, text};
use crate::v1::{self, client_frame::Frame, operation::Operation as Wire, update::Body};
use bytes::Bytes;
use trunkline_types::session::{
    ClientFrame, Credit, Hello, Operation, Subscription, Update, UpdateBody,
};
use trunkline_types::{AgentCard, Token, TopicPattern};

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
    fn from(Subscription { pattern, durable }: Subscription) -> Self {
        Self { pattern: pattern.to_string(), durable }
    }
}

impl TryFrom<v1::Subscription> for Subscription {
    type Error = DecodeError;
    fn try_from(subscription: v1::Subscription) -> Result<Self, DecodeError> {
        let v1::Subscription { pattern, durable } = subscription;
        let pattern = TopicPattern::new(&pattern)
            .map_err(|error| DecodeError::name("subscription.pattern", &pattern, &error))?;
        Ok(Self { pattern, durable })
    }
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

impl From<Update> for v1::Update {
    fn from(Update { token, body }: Update) -> Self {
        let body = match body {
            UpdateBody::Started => Body::Started(v1::Nothing {}),
            UpdateBody::Progress(progress) => Body::Progress(progress.into()),
            UpdateBody::Artifact(chunk) => Body::Artifact(chunk.into()),
        };
        Self { token: Some(token.into()), body: Some(body) }
    }
}

impl TryFrom<v1::Update> for Update {
    type Error = DecodeError;
    fn try_from(v1::Update { token, body }: v1::Update) -> Result<Self, DecodeError> {
        let body = match required("update.body", body)? {
            Body::Started(v1::Nothing {}) => UpdateBody::Started,
            Body::Progress(progress) => UpdateBody::Progress(progress.try_into()?),
            Body::Artifact(chunk) => UpdateBody::Artifact(chunk.try_into()?),
        };
        Ok(Self { token: required("update.token", token)?.into(), body })
    }
}

impl From<Operation> for v1::Operation {
    fn from(operation: Operation) -> Self {
        let operation = match operation {
            Operation::Publish(publish) => Wire::Publish(publish.into()),
            Operation::Settle(settle) => Wire::Settle(settle.into()),
            Operation::Update(update) => Wire::Update(update.into()),
            Operation::Subscribe(subscription) => Wire::Subscribe(subscription.into()),
            Operation::Unsubscribe(subscription) => Wire::Unsubscribe(subscription.into()),
            Operation::Watch { task, after } => {
                Wire::Watch(v1::Watch { task: id_bytes(task), after })
            }
            Operation::Unwatch { task } => Wire::Unwatch(v1::Unwatch { task: id_bytes(task) }),
            Operation::Cancel { task, reason } => {
                Wire::Cancel(v1::Cancel { task: id_bytes(task), reason })
            }
            Operation::Continue { task, payload } => {
                Wire::Continue(v1::Continue { task: id_bytes(task), payload: Some(payload.into()) })
            }
        };
        Self { operation: Some(operation) }
    }
}

impl TryFrom<v1::Operation> for Operation {
    type Error = DecodeError;
    fn try_from(operation: v1::Operation) -> Result<Self, DecodeError> {
        Ok(match required("operation.operation", operation.operation)? {
            Wire::Publish(publish) => Self::Publish(publish.try_into()?),
            Wire::Settle(settle) => Self::Settle(settle.try_into()?),
            Wire::Update(update) => Self::Update(update.try_into()?),
            Wire::Subscribe(subscription) => Self::Subscribe(subscription.try_into()?),
            Wire::Unsubscribe(subscription) => Self::Unsubscribe(subscription.try_into()?),
            Wire::Watch(v1::Watch { task, after }) => {
                Self::Watch { task: message_id("watch.task", &task)?, after }
            }
            Wire::Unwatch(v1::Unwatch { task }) => {
                Self::Unwatch { task: message_id("unwatch.task", &task)? }
            }
            Wire::Cancel(v1::Cancel { task, reason }) => Self::Cancel {
                task: message_id("cancel.task", &task)?,
                reason: text("cancel.reason", reason)?,
            },
            Wire::Continue(v1::Continue { task, payload: said }) => Self::Continue {
                task: message_id("continue.task", &task)?,
                payload: payload(said)?,
            },
        })
    }
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
