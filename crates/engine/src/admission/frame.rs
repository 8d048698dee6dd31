//! Frames of connected sessions, and the numbering of their operations.

use crate::command::ConnectionKey;
use crate::defect::Defect;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::record::Record;
use crate::settle::Loss;
use crate::table::SessionKey;
use trunkline_types::session::{
    Accepted, ClientFrame, Credit, Operation, SessionItem, Subscription,
};
use trunkline_types::{Durability, Refusal, RefusalCode};

/// How an operation is answered if it is not refused.
pub(crate) enum Answered {
    /// Done, once it is as durable as said.
    Done(Durability),
    /// Accepted, with more to say, once it is as durable as said.
    Accepted(Durability, Accepted),
}

impl Engine {
    /// Handles a frame. One of a connection that was closed is too late and changes nothing.
    pub(crate) fn frame(
        &mut self,
        now: Now,
        connection: ConnectionKey,
        frame: ClientFrame,
        out: &mut Output,
    ) {
        let Some(session) = self.session_of(connection) else { return };
        match frame {
            ClientFrame::Operations { first, operations } => {
                self.operations(now, connection, session, first, operations, out);
            }
            ClientFrame::Heartbeat { tokens } => self.heartbeat(now, session, &tokens),
            ClientFrame::Credit(credit) => {
                self.sessions[session].credit = self.capped(credit);
                self.dispatch_session(now, session, out);
                self.send_events(now, session, out);
            }
            ClientFrame::Acknowledge { through } => self.acknowledge(now, session, through, out),
            ClientFrame::Drain => {
                self.sessions[session].draining = true;
                self.count_available(session);
            }
            ClientFrame::Goodbye => {
                self.end_session(now, session, Loss::Goodbye, out);
            }
        }
    }

    /// Credit within the bounds: that for deliveries is told in the welcome, that for events is
    /// what an inbox may hold.
    pub(crate) fn capped(&self, credit: Credit) -> Credit {
        let limit = self.config.limits.credit;
        Credit {
            deliveries: credit.deliveries.min(limit),
            events: credit.events.min(self.config.inbox_ephemeral),
        }
    }

    fn operations(
        &mut self,
        now: Now,
        connection: ConnectionKey,
        session: SessionKey,
        first: u64,
        operations: Vec<Operation>,
        out: &mut Output,
    ) {
        let (count, limit) = (operations.len(), self.config.limits.operations_per_frame);
        for (number, operation) in (first..).zip(operations) {
            let expected = self.sessions[session].next_operation;
            if number > expected {
                let message = format!("operation {number} came when {expected} was expected");
                refuse(connection, number, Refusal::new(RefusalCode::OutOfOrder, message), out);
                continue;
            }
            let done = self.sessions[session].window.contains(number);
            if number == expected {
                self.sessions[session].next_operation += 1;
            } else if !done {
                // It was refused, and told so over this very connection.
                continue;
            }
            if done && !self.planted(Defect::RepeatedOperation) {
                let item = self.repeated(session, number, &operation);
                self.hold(now, Durability::Synced, Held::Item(connection, item), out);
                continue;
            }
            // What follows a task is its connection, so it is asked for anew over each one.
            let lasting = !matches!(operation, Operation::Watch { .. } | Operation::Unwatch { .. });
            let result = if count > limit {
                let message = format!("the frame has {count} operations, the limit is {limit}");
                Err(Refusal::new(RefusalCode::TooLarge, message))
            } else {
                self.operation(now, session, number, operation, out)
            };
            match result {
                Err(refusal) => refuse(connection, number, refusal, out),
                Ok(answered) => {
                    if lasting {
                        self.sessions[session].window.insert(number);
                    }
                    let (level, item) = match answered {
                        Answered::Done(level) => {
                            (level, SessionItem::Done { first: number, last: number })
                        }
                        Answered::Accepted(level, accepted) => {
                            (level, SessionItem::Accepted(accepted))
                        }
                    };
                    self.hold(now, level, Held::Item(connection, item), out);
                }
            }
        }
    }

    /// The answer to an operation that was done before. A publish that was itself a repeat under
    /// an idempotency key is told again which envelope came first.
    fn repeated(&self, session: SessionKey, number: u64, operation: &Operation) -> SessionItem {
        let tenant = &self.tenants[self.sessions[session].tenant];
        if let Operation::Publish(publish) = operation
            && let Some(key) = &publish.envelope.idempotency_key
            && let Some(first) = tenant.keys.first(key).filter(|&id| id != publish.envelope.id)
        {
            let id = first;
            let accepted =
                Accepted { operation: number, id, duplicate: true, targets: 0, dropped: 0 };
            return SessionItem::Accepted(accepted);
        }
        SessionItem::Done { first: number, last: number }
    }

    fn operation(
        &mut self,
        now: Now,
        session: SessionKey,
        number: u64,
        operation: Operation,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        match operation {
            Operation::Publish(publish) => self.publish(now, session, number, &publish, out),
            Operation::Settle(settle) => self.settle(now, session, settle, out).map(Answered::Done),
            Operation::Update(update) => {
                self.update(now, session, number, update, out).map(Answered::Done)
            }
            Operation::Subscribe(wanted) => {
                if wanted.durable && self.config.logged {
                    self.check_log()?;
                }
                self.subscribe(session, &wanted, true, out)
            }
            Operation::Unsubscribe(unwanted) => self.subscribe(session, &unwanted, false, out),
            Operation::Watch { task, after } => {
                self.watch(now, session, task, after, out)?;
                Ok(Answered::Done(Durability::Ephemeral))
            }
            Operation::Unwatch { task } => {
                self.unwatch(session, task)?;
                Ok(Answered::Done(Durability::Ephemeral))
            }
            Operation::Cancel { task, reason } => {
                self.cancel(now, session, task, reason, out).map(Answered::Done)
            }
            Operation::Continue { task, payload } => {
                self.continue_task(now, session, number, task, payload, out).map(Answered::Done)
            }
        }
    }

    /// Adds or removes a subscription.
    pub(crate) fn subscribe(
        &mut self,
        session: SessionKey,
        subscription: &Subscription,
        wanted: bool,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let Subscription { pattern, durable } = subscription;
        let limit = self.config.limits.subscriptions;
        let full = |count: usize| {
            let message = format!("there are {count} subscriptions already, the limit is {limit}");
            Refusal::new(RefusalCode::TooLarge, message)
        };
        if !durable {
            let events = self.sessions[session].events.as_ref();
            let mut patterns = events.map(|events| events.patterns.clone()).unwrap_or_default();
            patterns.retain(|other| other != pattern);
            if wanted {
                if patterns.len() >= limit {
                    return Err(full(patterns.len()));
                }
                patterns.push(pattern.clone());
            }
            self.set_session_patterns(session, patterns);
            return Ok(Answered::Done(Durability::Ephemeral));
        }
        let Some(key) = self.sessions[session].agent else {
            let message = "a durable subscription belongs to an agent; this session has none";
            return Err(Refusal::new(RefusalCode::Invalid, message));
        };
        let agent = &self.agents[key];
        if agent.subscriptions.contains(pattern) != wanted {
            if wanted && agent.subscriptions.len() >= limit {
                return Err(full(agent.subscriptions.len()));
            }
            if self.config.logged {
                let tenant = self.tenants[agent.tenant].id.clone();
                let (agent, pattern) = (agent.id.clone(), pattern.clone());
                let record = if wanted {
                    Record::Subscribed { tenant, agent, pattern }
                } else {
                    Record::Unsubscribed { tenant, agent, pattern }
                };
                self.emit(record, out);
            }
            self.apply_subscribed(key, pattern, wanted);
        }
        let level = if self.config.logged { Durability::Synced } else { Durability::Ephemeral };
        Ok(Answered::Done(level))
    }
}

fn refuse(connection: ConnectionKey, operation: u64, refusal: Refusal, out: &mut Output) {
    let item = SessionItem::Refused { operation, refusal };
    out.effects.push(Effect::Item { connection, item });
}
