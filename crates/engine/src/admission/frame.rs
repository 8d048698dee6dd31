//! Frames of connected sessions, and the numbering of their operations.

use crate::command::{ConnectionKey, Verdicts};
use crate::defect::Defect;
use crate::effect::{Effect, Output};
use crate::engine::Engine;
use crate::gate::Held;
use crate::now::Now;
use crate::settle::Loss;
use crate::table::SessionKey;
use trunkline_types::session::{Accepted, Canceled, ClientFrame, Credit, Operation, SessionItem};
use trunkline_types::{Durability, Refusal, RefusalCode, Sequence};

/// How an operation is answered if it is not refused.
pub(crate) enum Answered {
    /// Done, once it is as durable as said.
    Done(Durability),
    /// Accepted, with more to say, once it is as durable as said.
    Accepted(Durability, Accepted),
    /// Called off, with how many messages that were, once it is as durable as said.
    Canceled(Durability, u32),
    /// Answered already, or about to be: there is nothing to say here.
    Already,
    /// Not yet: it waits outside a full inbox, and is answered when it is admitted or refused.
    Later,
}

impl Engine {
    /// Handles a frame. One of a connection that was closed is too late and changes nothing.
    pub(crate) fn frame(
        &mut self,
        now: Now,
        connection: ConnectionKey,
        frame: ClientFrame,
        verdicts: Verdicts,
        out: &mut Output,
    ) {
        let Some(session) = self.session_of(connection) else { return };
        match frame {
            ClientFrame::Operations { first, operations } => {
                self.operations(now, connection, session, (first, operations), verdicts, out);
            }
            ClientFrame::Heartbeat { tokens } => self.heartbeat(now, session, &tokens),
            ClientFrame::Credit(credit) => {
                self.sessions[session].credit = self.capped(credit);
                self.dispatch_session(now, session, out);
                self.send_events(now, session, out);
            }
            ClientFrame::Acknowledge { through } => self.acknowledge(now, session, through, out),
            ClientFrame::Drain => {
                let agent = self.sessions[session].agent;
                let before = self.standing(agent);
                self.sessions[session].draining = true;
                self.count_available(session);
                self.tell_standing(now, agent, before, out);
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
        (first, operations): (u64, Vec<Operation>),
        verdicts: Verdicts,
        out: &mut Output,
    ) {
        let (count, limit) = (operations.len(), self.config.limits.operations_per_frame);
        let judged = !verdicts.is_empty();
        let mut verdicts = verdicts.into_iter().peekable();
        // Numbered by hand: adapters would carry each operation around once more.
        let mut next = first;
        for operation in operations {
            let number = next;
            next = number.saturating_add(1);
            if judged {
                self.verdicts.clear();
                while let Some((_, known)) =
                    verdicts.next_if(|&(at, _)| at as u64 <= number - first)
                {
                    self.verdicts = known;
                }
            }
            let row = &mut self.sessions[session];
            let expected = row.next_operation;
            if number > expected {
                let message = format!("operation {number} came when {expected} was expected");
                refuse(connection, number, Refusal::new(RefusalCode::OutOfOrder, message), out);
                continue;
            }
            let done = row.window.contains(number);
            if number == expected {
                row.next_operation += 1;
            } else if !done {
                // It was refused, and told so over this very connection.
                continue;
            }
            if done && !self.planted(Defect::RepeatedOperation) {
                let item = self.repeated(session, number);
                self.hold_item(now, Durability::Synced, (connection, item), out);
                continue;
            }
            // What follows a task or the directory is its connection, so it is asked for anew over
            // each one.
            let lasting = !matches!(
                operation,
                Operation::Watch { .. }
                    | Operation::Unwatch { .. }
                    | Operation::WatchAgents(_)
                    | Operation::UnwatchAgents
            );
            let latest = self.sequence;
            let result = if count > limit {
                let message = format!("the frame has {count} operations, the limit is {limit}");
                Err(Refusal::new(RefusalCode::TooLarge, message))
            } else {
                self.operation(now, session, number, operation, out)
            };
            if !self.is_over(session, connection) {
                // It ended the session that it came from, and was answered before that.
                break;
            }
            if lasting {
                self.remember(session, number, latest, &result);
            }
            if let Ok(Answered::Done(Durability::Ephemeral)) = result {
                // The plain case has nothing to wait for, and the connection was just looked at.
                let item = SessionItem::Done { first: number, last: number };
                out.effects.push(Effect::Item { connection, item });
            } else {
                self.answer(now, connection, number, result, out);
            }
        }
        self.verdicts.clear();
    }

    /// Remembers an operation if it was done, so that it is not done again; for good if it left a
    /// record behind one that was the latest.
    #[inline]
    pub(crate) fn remember(
        &mut self,
        session: SessionKey,
        number: u64,
        latest: Sequence,
        result: &Result<Answered, Refusal>,
    ) {
        let recorded = self.sequence > latest;
        let row = &mut self.sessions[session];
        let level = match result {
            Ok(
                Answered::Done(level) | Answered::Accepted(level, _) | Answered::Canceled(level, _),
            ) => Some(*level),
            _ => None,
        };
        if let Some(level) = level {
            row.window.insert(number);
            if recorded && level.is_logged() {
                row.lasting.insert(number);
            }
        }
        // A repeat leaves no record, so a restart looks its key up anew.
        if let Ok(Answered::Accepted(_, accepted)) = result
            && accepted.duplicate
        {
            row.window.insert_repeat(number, accepted.id);
        }
    }

    /// Answers an operation, unless it is to wait.
    pub(crate) fn answer(
        &mut self,
        now: Now,
        connection: ConnectionKey,
        number: u64,
        result: Result<Answered, Refusal>,
        out: &mut Output,
    ) {
        let (level, item) = match result {
            Err(refusal) => return refuse(connection, number, refusal, out),
            Ok(Answered::Already | Answered::Later) => return,
            Ok(Answered::Done(level)) if level.is_logged() => {
                return self.hold(now, level, Held::Done(connection, number), out);
            }
            Ok(Answered::Done(level)) => (level, SessionItem::Done { first: number, last: number }),
            Ok(Answered::Accepted(level, accepted)) => (level, SessionItem::Accepted(accepted)),
            Ok(Answered::Canceled(level, messages)) => {
                (level, SessionItem::Canceled(Canceled { operation: number, messages }))
            }
        };
        self.hold_item(now, level, (connection, item), out);
    }

    /// The answer to an operation that was done before. A publish that was itself a repeat under
    /// an idempotency key is told again which envelope came first.
    fn repeated(&self, session: SessionKey, number: u64) -> SessionItem {
        if let Some(id) = self.sessions[session].window.repeat_of(number) {
            let accepted = Accepted {
                operation: number,
                id,
                duplicate: true,
                targets: 0,
                dropped: 0,
                parked: 0,
            };
            return SessionItem::Accepted(accepted);
        }
        SessionItem::Done { first: number, last: number }
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call would carry the operation around once more")]
    fn operation(
        &mut self,
        now: Now,
        session: SessionKey,
        number: u64,
        operation: Operation,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        match operation {
            Operation::Publish(publish) => {
                self.check_not_draining(session)?;
                self.publish(now, session, number, &publish, out)
            }
            Operation::Settle(settle) => self.settle(now, session, settle, out).map(Answered::Done),
            Operation::Update(update) => {
                self.update(now, session, number, update, out).map(Answered::Done)
            }
            Operation::Subscribe(wanted) => {
                if wanted.durable && self.config.logged {
                    self.check_log()?;
                }
                self.subscribe(now, session, &wanted, true, out)
            }
            Operation::Unsubscribe(unwanted) => self.subscribe(now, session, &unwanted, false, out),
            Operation::Watch { task, after } => {
                self.watch(now, session, task, after, out)?;
                Ok(Answered::Done(Durability::Ephemeral))
            }
            Operation::Unwatch { task } => {
                self.unwatch(session, task)?;
                Ok(Answered::Done(Durability::Ephemeral))
            }
            Operation::Cancel { id, reason, descendants: false } => {
                self.cancel(now, session, id, &reason, out).map(Answered::Done)
            }
            Operation::Cancel { id, reason, descendants: true } => {
                let canceled = self.cancel_descendants(now, session, id, &reason, out);
                canceled.map(|(level, messages)| Answered::Canceled(level, messages))
            }
            Operation::Continue { task, payload } => {
                self.continue_task(now, session, number, task, payload, out).map(Answered::Done)
            }
            Operation::Redrive(redrive) => {
                self.check_not_draining(session)?;
                self.redrive(now, session, number, *redrive, out)
            }
            Operation::Purge(letter) => {
                self.purge(now, session, number, &letter, out).map(Answered::Done)
            }
            Operation::SetSchedule(schedule) => {
                self.set_schedule(now, session, number, *schedule, out).map(Answered::Done)
            }
            Operation::RemoveSchedule { name } => {
                self.remove_schedule(now, session, number, name, out).map(Answered::Done)
            }
            Operation::SetInbox { inbox, change } => {
                self.set_inbox(now, session, number, (&inbox, &change), out)
            }
            Operation::SetAgent { agent, change } => {
                self.set_agent(now, session, number, (&agent, change), out)
            }
            Operation::Unregister { agent } => self.unregister(now, session, number, &agent, out),
            Operation::WatchAgents(filter) => {
                self.follow_agents(now, session, filter, out)?;
                // Confirmed after all who were there have been told.
                Ok(Answered::Done(Durability::Synced))
            }
            Operation::UnwatchAgents => {
                self.unfollow_agents(session);
                Ok(Answered::Done(Durability::Ephemeral))
            }
        }
    }
}

fn refuse(connection: ConnectionKey, operation: u64, refusal: Refusal, out: &mut Output) {
    let item = SessionItem::Refused { operation, refusal };
    out.effects.push(Effect::Item { connection, item });
}
