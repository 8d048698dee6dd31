//! Streams: a task as it stands, then its events in order, until it ends or waits for its caller.
//!
//! Every event carries the number that it has in the task's own sequence. A client whose stream
//! broke names the last number it saw and gets the task as of that number, then everything after
//! it once. Streams of one task tell the same, because each is made of the same numbered events.

use super::tasks::tell_gap;
use super::{Call, Handler};
use crate::check::Checked;
use crate::content::{Place, text_message, to_message};
use crate::downstream::is_note;
use crate::fault::{Fault, FaultKind};
use crate::fold::Fold;
use crate::gateway::Updates;
use crate::task::{
    context, is_interrupted, may_have_artifacts, progress_metadata, status, status_message, task,
};
use crate::wire::{
    self, SendMessageRequest, StreamResponse, SubscribeToTaskRequest, TaskStatusUpdateEvent,
    stream_response::Payload as Told,
};
use futures_util::StreamExt;
use std::fmt;
use std::sync::Arc;
use trunkline_types::{
    MessageId, Principal, Progress, TaskEvent, TaskEventBody, TaskSnapshot, TaskState, TaskUpdate,
    WallTime,
};

/// One thing that a stream tells.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Item {
    /// The number of the task's event; `None` for progress, which has none.
    pub(crate) number: Option<u64>,
    /// What is told.
    pub(crate) response: StreamResponse,
    /// Whether nothing comes after it.
    pub(crate) last: bool,
}

/// A task that is being told.
pub(crate) struct TaskStream {
    handler: Arc<Handler>,
    who: Principal,
    id: MessageId,
    context: String,
    updates: Updates,
    fold: Fold,
    /// What comes before anything else.
    first: Option<Item>,
    /// The number of the last event that had happened when the stream began. A pause up to there
    /// is over, or is what the client waits to see the end of.
    known: u64,
    over: bool,
    /// Whether it goes on while the task waits for its caller.
    through: bool,
}

impl Handler {
    /// Sends a message and tells what becomes of its task.
    pub(crate) async fn send_stream(
        self: &Arc<Self>,
        call: &Call,
        request: SendMessageRequest,
    ) -> Result<TaskStream, Fault> {
        let configuration = request.configuration.clone().unwrap_or_default();
        let sent = self.take_in(call, request).await?;
        let length = configuration.history_length;
        let asked = crate::task::messages_to_ask(length);
        let snapshot = self.snapshot(&sent.who, sent.task, asked).await?;
        let waits = is_interrupted(snapshot.state);
        let mut stream = self.told(sent.who, snapshot, None, length).await?;
        // The message has been worked on already, and led to another question.
        stream.over |= waits;
        Ok(stream)
    }

    /// Tells what becomes of a task that was begun earlier.
    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        call: &Call,
        request: SubscribeToTaskRequest,
    ) -> Result<TaskStream, Fault> {
        request.check()?;
        let who = call.who(&request.tenant)?;
        let target = self.target(&who, call).await?;
        let snapshot = self.visible(&who, &target, &request.id, None).await?;
        let seen = match &call.last_event_id {
            None => None,
            Some(text) => Some(last_seen(text, &snapshot)?),
        };
        // One that ended while its client was away still has its last events to tell.
        if snapshot.state.is_terminal() && seen.is_none_or(|seen| seen >= snapshot.last_event) {
            let message =
                format!("task {} has ended and is {}; ask for it", snapshot.id, snapshot.state);
            return Err(Fault::new(FaultKind::UnsupportedOperation, message)
                .with("taskId", snapshot.id.to_string()));
        }
        self.told(who, snapshot, seen, None).await
    }

    /// The task as of an event, or as it stands, and what comes after.
    pub(crate) async fn told(
        self: &Arc<Self>,
        who: Principal,
        snapshot: TaskSnapshot,
        seen: Option<u64>,
        history_length: Option<i32>,
    ) -> Result<TaskStream, Fault> {
        let begin = seen.unwrap_or(snapshot.last_event);
        // Without artifacts there is nothing to be had from what came before.
        let skip = seen.is_none() && !may_have_artifacts(&snapshot);
        let after = if skip { begin } else { 0 };
        let mut updates = self.gateway.watch(who.clone(), snapshot.id, after).await?;
        let mut fold = Fold { last: after, ..Fold::default() };
        let mut over = false;
        while fold.last < begin {
            let Some(update) = updates.next().await else {
                over = true;
                break;
            };
            fold.take(&update?)?;
        }
        let known = snapshot.last_event;
        let as_of =
            if fold.last < snapshot.last_event { as_of(&snapshot, &fold) } else { snapshot };
        let mut shown = task(&as_of, std::mem::take(&mut fold.artifacts), history_length)?;
        tell_gap(&mut shown.metadata, fold.gap);
        // What comes is told with the state that was shown last.
        fold.state.get_or_insert((as_of.state, as_of.reason.clone()));
        let number = Some(fold.last.max(after));
        Ok(TaskStream {
            handler: self.clone(),
            who,
            id: as_of.id,
            context: context(as_of.id, as_of.context_id.as_ref()),
            updates,
            fold,
            first: Some(Item { number, response: response(Told::Task(shown)), last: false }),
            known,
            over: over || as_of.state.is_terminal(),
            through: false,
        })
    }
}

/// The number that a client saw last.
fn last_seen(text: &str, snapshot: &TaskSnapshot) -> Result<u64, Fault> {
    let field = "Last-Event-ID";
    let seen: u64 = text
        .trim()
        .parse()
        .map_err(|_no_number| Fault::field(field, "is no number of an event"))?;
    if seen > snapshot.last_event {
        let why = format!("is {seen}, but task {} has {}", snapshot.id, snapshot.last_event);
        return Err(Fault::field(field, format!("{why} events")));
    }
    Ok(seen)
}

/// A task as it was when its latest event was the last one of `fold`. Before the first event it
/// is shown as it began.
fn as_of(snapshot: &TaskSnapshot, fold: &Fold) -> TaskSnapshot {
    let at = fold.at.unwrap_or(snapshot.created_at);
    let (state, reason) = fold.state.clone().unwrap_or((TaskState::Submitted, None));
    let mut then = snapshot.clone();
    then.state = state;
    then.reason = reason;
    then.updated_at = at;
    then.result = None;
    then.progress = None;
    then.history.messages.retain(|message| message.at <= at);
    then
}

fn response(payload: Told) -> StreamResponse {
    StreamResponse { payload: Some(payload) }
}

impl TaskStream {
    /// The same without what the task was before, and to its very end.
    pub(crate) fn only_news(mut self) -> Self {
        self.first = None;
        self.through = true;
        self
    }

    /// What is told next; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Result<Item, Fault>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        while !self.over {
            let told = match self.updates.next().await {
                None => {
                    self.over = true;
                    self.ended().await
                }
                Some(Ok(update)) => self.tell(&update).await,
                Some(Err(refusal)) => Err(refusal.into()),
            };
            match told {
                Ok(None) => {}
                Ok(Some(item)) => return Some(Ok(item)),
                Err(fault) => {
                    self.over = true;
                    return Some(Err(fault));
                }
            }
        }
        None
    }

    /// What a client is told of one piece of news, if anything.
    async fn tell(&mut self, update: &TaskUpdate) -> Result<Option<Item>, Fault> {
        self.fold.follow(update);
        let number = Some(self.fold.last);
        let payload = match update {
            TaskUpdate::Progress(progress) => {
                let response = response(self.progress(progress));
                return Ok(Some(Item { number: None, response, last: false }));
            }
            TaskUpdate::Gap { first, last } => {
                let (state, _) = self.fold.state.clone().unwrap_or((TaskState::Submitted, None));
                let mut event = self.status_event(state, None, None);
                tell_gap(&mut event.metadata, Some((*first, *last)));
                Told::StatusUpdate(event)
            }
            TaskUpdate::Event(TaskEvent { body: TaskEventBody::Artifact(chunk), .. })
                if is_note(chunk) =>
            {
                return Ok(None);
            }
            TaskUpdate::Event(TaskEvent { body: TaskEventBody::Artifact(chunk), .. }) => {
                let (task, context) = (self.id.to_string(), self.context.clone());
                Told::ArtifactUpdate(self.fold.artifact_event(chunk, task, context)?)
            }
            // What the caller says it knows, and what the agent asks comes with the state.
            TaskUpdate::Event(TaskEvent { body: TaskEventBody::Message { .. }, .. }) => {
                return Ok(None);
            }
            TaskUpdate::Event(event) => match &event.body {
                TaskEventBody::Status { state, reason } => {
                    let pauses =
                        is_interrupted(*state) && event.number > self.known && !self.through;
                    self.over = state.is_terminal() || pauses;
                    Told::StatusUpdate(self.changed(*state, reason.as_deref(), event.at).await?)
                }
                TaskEventBody::Artifact(_) | TaskEventBody::Message { .. } => return Ok(None),
            },
        };
        Ok(Some(Item { number, response: response(payload), last: self.over }))
    }

    /// What is told of a new state.
    async fn changed(
        &mut self,
        state: TaskState,
        reason: Option<&str>,
        at: WallTime,
    ) -> Result<TaskStatusUpdateEvent, Fault> {
        let result = match state {
            TaskState::Completed => {
                self.handler.snapshot(&self.who, self.id, Some(0)).await?.result
            }
            _ => None,
        };
        let place = Place { task: self.id, context: &self.context, at };
        let message = match &self.fold.question {
            Some((question, at)) if is_interrupted(state) => {
                Some(to_message(question, wire::Role::Agent, Place { at: *at, ..place })?)
            }
            _ => status_message(state, reason, result.as_ref(), place)?,
        };
        Ok(self.status_event(state, message, Some(at)))
    }

    fn progress(&self, progress: &Progress) -> Told {
        let at = WallTime(self.handler.gateway.next_id().millis());
        let place = Place { task: self.id, context: &self.context, at };
        let text = (!progress.text.is_empty()).then(|| text_message(&progress.text, place));
        let mut event = self.status_event(TaskState::Working, text, Some(at));
        event.metadata = Some(progress_metadata(progress));
        Told::StatusUpdate(event)
    }

    fn status_event(
        &self,
        state: TaskState,
        message: Option<wire::Message>,
        at: Option<WallTime>,
    ) -> TaskStatusUpdateEvent {
        let mut status = status(state, message, at.unwrap_or_default());
        status.timestamp = at.map(Into::into);
        TaskStatusUpdateEvent {
            task_id: self.id.to_string(),
            context_id: self.context.clone(),
            status: Some(status),
            metadata: None,
        }
    }

    /// The broker has no more news. If the end was among what is gone, the end itself is known.
    async fn ended(&mut self) -> Result<Option<Item>, Fault> {
        let snapshot = self.handler.snapshot(&self.who, self.id, Some(0)).await?;
        let shown = self.fold.state.as_ref().is_some_and(|(state, _)| state.is_terminal());
        if shown {
            return Ok(None);
        }
        if !snapshot.state.is_terminal() {
            let message = format!("task {} goes on, but is not told any longer", self.id);
            return Err(Fault::new(FaultKind::Unavailable, message));
        }
        let TaskSnapshot { state, reason, updated_at, last_event, .. } = snapshot;
        let event = self.changed(state, reason.as_deref(), updated_at).await?;
        let response = response(Told::StatusUpdate(event));
        Ok(Some(Item { number: Some(last_event), response, last: true }))
    }
}

impl fmt::Debug for TaskStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskStream").field("id", &self.id).finish_non_exhaustive()
    }
}
