//! What was said in a task and in a conversation. Nothing is kept for it: the first message is
//! what was sent, the last one the result, and what lies between are events.

use crate::engine::Engine;
use crate::spill::SentRef;
use crate::stats::page::{self, Room};
use crate::table::{TaskKey, TenantKey};
use crate::task::ended::EndedTask;
use crate::task::table::Task;
use crate::task::unknown_task;
use std::collections::VecDeque;
use trunkline_types::{
    AgentId, ContextId, ContextSnapshot, History, HistoryMessage, MessageId, Payload, Refusal,
    RefusalCode, Role, TaskEvent, TaskEventBody, TaskSnapshot, TaskState, WallTime,
};

/// How many tasks of a conversation are looked at: the newest; as the snapshot's docs say.
const TASKS: usize = 1000;
/// How many events of a conversation's tasks are looked at; what comes before is left out and
/// shows as more.
const EVENTS: usize = 100_000;

/// A message where it lies. The payload of what was sent may have left memory: it is read only
/// for those who are told of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    at: WallTime,
    task: MessageId,
    role: Role,
    from: Option<&'a AgentId>,
    payload: &'a Payload,
    /// The task whose payload must be read, if it is that, and how many bytes that has.
    unread: Option<(TaskKey, usize)>,
}

impl Engine {
    /// A task as it stands, with its latest messages.
    pub(crate) fn task_snapshot(
        &self,
        tenant: TenantKey,
        id: MessageId,
        length: Option<u32>,
    ) -> Result<TaskSnapshot, Refusal> {
        if let Some(key) = self.tasks.find(tenant, id) {
            let task = &self.tasks.rows[key];
            let sent = self.task_sent(task);
            let history = task.talk(key, sent).history(self, length)?;
            return Ok(TaskSnapshot { history, ..task.snapshot(sent) });
        }
        let past = self.past_task(tenant, id)?.ok_or_else(|| unknown_task(id))?;
        let history = past.talk().history(self, length)?;
        Ok(TaskSnapshot { history, ..past.task })
    }

    /// A conversation as it stands, with its latest messages.
    pub(crate) fn context(
        &self,
        tenant: TenantKey,
        id: &ContextId,
        length: Option<u32>,
    ) -> Result<ContextSnapshot, Refusal> {
        let history = History::default();
        let mut context = ContextSnapshot { id: id.clone(), tasks: 0, tasks_open: 0, history };
        let mut found = Vec::new();
        let (mut looked_at, mut more) = (0, false);
        let mut tasks = self.tasks.orders.of_context(tenant, id, None);
        for key in tasks.by_ref().take(TASKS).filter_map(|id| self.tasks.find(tenant, id)) {
            let task = &self.tasks.rows[key];
            context.tasks += 1;
            context.tasks_open += u64::from(!task.state.is_terminal());
            if length == Some(0) {
                continue;
            }
            looked_at += task.more().events.len();
            if looked_at > EVENTS && context.tasks > 1 {
                more = true;
                continue;
            }
            // No more of one task than fit can be among the latest of all.
            let said = task.talk(key, self.task_sent(task)).said().take(page::MOST_MESSAGES + 1);
            found.extend(said.enumerate());
        }
        if context.tasks == 0 {
            return Err(unknown_context(id));
        }
        more |= tasks.next().is_some();
        if length == Some(0) {
            return Ok(context);
        }
        // Latest first; within a task the order of its own.
        found.sort_by(|(place, a), (other, b)| {
            (b.at, b.task).cmp(&(a.at, a.task)).then(place.cmp(other))
        });
        let mut latest = Latest::new(length);
        for (_, said) in &found {
            if !latest.take(self, said)? {
                more = true;
                break;
            }
        }
        context.history = latest.history(more);
        Ok(context)
    }
}

impl Task {
    /// What its messages are made of.
    fn talk<'a>(&'a self, key: TaskKey, sent: SentRef<'a>) -> Talk<'a> {
        let more = self.more();
        Talk {
            task: sent.id,
            source: sent.body.source(),
            payload: sent.body.payload(),
            created_at: self.created_at,
            agent: more.agent.as_ref(),
            result: more.result.as_ref(),
            updated_at: self.updated_at(),
            // The first event is no message, whether it is kept or not.
            events: &more.events,
            unread: sent.body.is_away().then_some((key, sent.size as usize)),
        }
    }
}

impl EndedTask {
    /// What its messages are made of.
    pub(super) fn talk(&self) -> Talk<'_> {
        let task = &self.task;
        Talk {
            task: task.id,
            source: task.source.as_ref(),
            payload: &self.payload,
            created_at: task.created_at,
            agent: task.agent.as_ref(),
            result: task.result.as_ref(),
            updated_at: task.updated_at,
            events: &self.events,
            unread: None,
        }
    }
}

/// What the messages of a task are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Talk<'a> {
    task: MessageId,
    source: Option<&'a AgentId>,
    payload: &'a Payload,
    created_at: WallTime,
    agent: Option<&'a AgentId>,
    result: Option<&'a Payload>,
    updated_at: WallTime,
    events: &'a VecDeque<TaskEvent>,
    /// The task whose payload must be read, and how many bytes that has.
    unread: Option<(TaskKey, usize)>,
}

impl<'a> Talk<'a> {
    /// The latest messages, as many as were asked for.
    fn history(self, engine: &Engine, length: Option<u32>) -> Result<History, Refusal> {
        if length == Some(0) {
            return Ok(History::default());
        }
        let mut latest = Latest::new(length);
        for said in self.said() {
            if !latest.take(engine, &said)? {
                return Ok(latest.history(true));
            }
        }
        Ok(latest.history(false))
    }

    /// What was said in it, latest first.
    pub(super) fn said(self) -> impl Iterator<Item = Said<'a>> {
        let task = self.task;
        let reply = self.result.map(|payload| {
            let from = self.agent;
            Said { at: self.updated_at, task, role: Role::Agent, from, payload, unread: None }
        });
        let last = self.events.len();
        let between = (0..last).rev().filter_map(move |place| {
            let event = &self.events[place];
            let TaskEventBody::Message { from, payload } = &event.body else { return None };
            let role = self.role_at(place);
            let from = from.as_ref();
            Some(Said { at: event.at, task, role, from, payload, unread: None })
        });
        let (at, from, payload) = (self.created_at, self.source, self.payload);
        let unread = self.unread;
        let first = Said { at, task, role: Role::Caller, from, payload, unread };
        reply.into_iter().chain(between).chain(std::iter::once(first))
    }

    /// Who said what an event tells: a question goes with the state that waits for the answer, and
    /// a caller's message with the one that ends the wait. Those states are the next event.
    fn role_at(self, place: usize) -> Role {
        match self.events.get(place + 1).map(|next| &next.body) {
            Some(TaskEventBody::Status { state: TaskState::Submitted, .. }) => Role::Caller,
            _ => Role::Agent,
        }
    }
}

impl Said<'_> {
    /// It, on its own.
    pub(super) fn message(&self) -> HistoryMessage {
        let &Self { at, task, role, from, payload, .. } = self;
        HistoryMessage { task, role, from: from.cloned(), at, payload: payload.clone() }
    }
}

/// The latest messages, collected latest first for as long as there is room.
pub(super) struct Latest {
    room: Room,
    messages: Vec<HistoryMessage>,
}

impl Latest {
    pub(super) fn new(length: Option<u32>) -> Self {
        Self { room: Room::of_messages(length), messages: Vec::new() }
    }

    /// Takes one more, if there is room.
    fn take(&mut self, engine: &Engine, said: &Said<'_>) -> Result<bool, Refusal> {
        let unread = said.unread.map_or(0, |(_, bytes)| bytes);
        let has_room = self.room.take(page::payload(said.payload) + unread);
        if has_room {
            let mut message = said.message();
            if let Some((key, _)) = said.unread {
                message.payload = engine.whole_task(key)?.envelope.payload.clone();
            }
            self.messages.push(message);
        }
        Ok(has_room)
    }

    /// Takes one more that stands for itself, if there is room.
    pub(super) fn take_message(&mut self, message: HistoryMessage) -> bool {
        let has_room = self.room.take(page::payload(&message.payload));
        if has_room {
            self.messages.push(message);
        }
        has_room
    }

    pub(super) fn history(mut self, more: bool) -> History {
        self.messages.reverse();
        History { messages: self.messages, more }
    }
}

pub(super) fn unknown_context(id: &ContextId) -> Refusal {
    let message = format!("context '{id}' is unknown: no task of it is kept");
    Refusal::new(RefusalCode::NotFound, message)
}
