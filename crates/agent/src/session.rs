//! A client session: sends, asks, subscribes and watches.

use crate::core::{Core, Entry, Waiter};
use crate::outgoing::{MessageBuilder, RequestBuilder, SendBuilder};
use crate::ticket::{BatchOutcome, Ticket};
use crate::{Events, TaskUpdates};
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use trunkline_types::session::{Connector, Operation};
use trunkline_types::{
    AgentFilter, AgentPage, Answer, DeadLetterFilter, DeadLetterPage, Destination, Envelope, Kind,
    MessageId, Payload, Publish, Query, Refusal, RefusalCode, Stats, TaskFilter, TaskPage,
    TaskSnapshot, Topic, TopicPattern,
};

/// A session that sends, asks, subscribes and watches. Clones share it; it says goodbye when the
/// last clone, and everything made from one, is gone.
#[derive(Clone)]
pub struct Session {
    pub(crate) line: Arc<Line>,
    pub(crate) connector: Arc<dyn Connector>,
}

/// Bounds of a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionOptions {
    /// Most publishes, updates and commands on their way at once, 1 to 1,048,576; another number
    /// is refused. Who wants to send more waits. Default 8,192; each costs under 1 KiB besides
    /// its payload.
    pub outstanding: u32,
    /// Most events of its own subscriptions that the session holds without having taken them.
    /// Default 1,024; what comes beyond is dropped by the broker and counted as missed. With 0
    /// the session cannot subscribe.
    pub events: u32,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { outstanding: 8192, events: 1024 }
    }
}

/// A core that is closed when its last user is gone.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) core: Arc<Core>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.core.close();
    }
}

impl Session {
    /// Opens a session with the default bounds.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open(connector: Arc<dyn Connector>) -> Result<Self, Refusal> {
        Self::open_with(connector, SessionOptions::default()).await
    }

    /// Opens a session.
    ///
    /// # Errors
    /// The broker's [`Refusal`], or one that names an option that is out of range.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn open_with(
        connector: Arc<dyn Connector>,
        options: SessionOptions,
    ) -> Result<Self, Refusal> {
        let places = places(options.outstanding)?;
        let core = Core::new(None, places, options.events, None, Handle::current());
        core.connect(&*connector, None, Vec::new()).await?;
        Ok(Self { line: Arc::new(Line { core }), connector })
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.line.core
    }

    /// Whether the broker or [`Session::close`] has ended the session.
    pub fn is_closed(&self) -> bool {
        self.core().closed().is_some()
    }

    /// Ends the session for all its clones; whoever still waits on it is told so.
    pub fn close(&self) {
        self.core().close();
    }

    /// Waits until everything sent so far is answered.
    pub async fn settled(&self) {
        self.core().wait_quiet().await;
    }

    /// A task: work with states, events and a result that stays readable. Awaiting the builder
    /// gives the acceptance, [`SendBuilder::wait`] the result. Only what goes to one agent or
    /// one skill is a task: to several agents or a topic it is an event, to all a broadcast,
    /// without a life or a result of its own.
    pub fn send(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> SendBuilder {
        SendBuilder::new(self.clone(), to.into(), payload.into())
    }

    /// A plain request: ephemeral and attempted once unless asked otherwise. Awaiting the
    /// builder gives the [`Reply`](crate::Reply).
    pub fn request(
        &self,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> RequestBuilder {
        RequestBuilder::new(self.clone(), to.into(), payload.into())
    }

    /// An event for all subscribers of a topic. Awaiting the builder gives the acceptance with
    /// the number of recipients.
    pub fn publish(&self, topic: Topic, payload: impl Into<Payload>) -> MessageBuilder {
        let to = Destination::Topic(topic);
        MessageBuilder::new(self.clone(), to, payload.into())
    }

    /// A one-way message of kind `event`, ephemeral unless asked otherwise: no task, no reply.
    /// Awaiting the builder gives the acceptance.
    pub fn tell(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> MessageBuilder {
        MessageBuilder::new(self.clone(), to.into(), payload.into())
    }

    /// An envelope with a fresh id, for [`Session::publish_batch`].
    pub fn envelope(
        &self,
        kind: Kind,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> Envelope {
        Envelope::new(self.core().next_id(), kind, to.into(), payload.into())
    }

    /// Sends many publishes in one piece, in their order. Waits while too much is on its way,
    /// then returns the ticket for their acceptances without waiting for those. Replies to
    /// requests in a batch are not told to anybody.
    ///
    /// # Errors
    /// The session has ended; some of the batch may have been sent.
    pub async fn publish_batch<I, P>(&self, publishes: I) -> Result<Ticket, Refusal>
    where
        I: IntoIterator<Item = P>,
        P: Into<Arc<Publish>>,
    {
        let core = self.core();
        let mut publishes: Vec<Operation> =
            publishes.into_iter().map(|publish| Operation::Publish(publish.into())).collect();
        let mut ticket = Ticket { parts: Vec::with_capacity(1), whole: BatchOutcome::default() };
        let mut offset = 0;
        while !publishes.is_empty() {
            let rest = if publishes.len() > core.piece() {
                publishes.split_off(core.piece())
            } else {
                Vec::new()
            };
            let count = publishes.len();
            core.places(u32::try_from(count).unwrap_or(u32::MAX)).await?;
            let (sender, part) = oneshot::channel();
            let outcome = BatchOutcome { offset, ..BatchOutcome::default() };
            let waiter = Waiter::Batch(Box::new(outcome), sender);
            core.submit(publishes, Entry { bounded: true, waiter, reply: None })?;
            ticket.parts.push(part);
            offset += count;
            publishes = rest;
        }
        Ok(ticket)
    }

    /// Subscribes to topics for as long as the returned consumer lives.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as too many subscriptions.
    pub async fn subscribe(&self, pattern: TopicPattern) -> Result<Events, Refusal> {
        let core = self.core();
        if core.hub.credit() == 0 {
            let message = "the session may hold 0 events, so none would come to it; open it with \
                           `SessionOptions::events` from 1";
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        core.places(1).await?;
        // Made before the answer is awaited, so that dropping it undoes everything.
        let events = Events::new(Arc::clone(&self.line), core.want(&pattern)?);
        events.feed().subscribed().await?;
        Ok(events)
    }

    /// Follows a task from the event after number `after` (0 for all) to its end.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as that there is no such task.
    pub async fn watch(&self, task: MessageId, after: u64) -> Result<TaskUpdates, Refusal> {
        let core = self.core();
        core.places(1).await?;
        let (watcher, answer) = core.watch(task, after)?;
        let updates = TaskUpdates::new(Arc::clone(&self.line), watcher);
        core.answered(answer).await?;
        Ok(updates)
    }

    /// Calls a task off. Whoever works on it is told.
    ///
    /// # Errors
    /// The broker's [`Refusal`]: there is no such task, or it has ended.
    pub async fn cancel(&self, task: MessageId, reason: impl Into<String>) -> Result<(), Refusal> {
        self.core().ask(Operation::Cancel { task, reason: reason.into() }).await
    }

    /// Answers what a paused task waits for.
    ///
    /// # Errors
    /// The broker's [`Refusal`]: there is no such task, or it waits for nothing.
    pub async fn continue_task(
        &self,
        task: MessageId,
        payload: impl Into<Payload>,
    ) -> Result<(), Refusal> {
        self.core().ask(Operation::Continue { task, payload: payload.into() }).await
    }

    /// Asks the broker something.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn query(&self, query: Query) -> Result<Answer, Refusal> {
        self.connector.query(query).await
    }

    /// A task as it stands.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as that there is no such task.
    pub async fn task(&self, id: MessageId) -> Result<TaskSnapshot, Refusal> {
        snapshot(&*self.connector, id).await
    }

    /// Tasks, newest first.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, Refusal> {
        match self.connector.query(Query::Tasks(filter)).await? {
            Answer::Tasks(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Agents in order of their ids.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn agents(&self, filter: AgentFilter) -> Result<AgentPage, Refusal> {
        match self.connector.query(Query::Agents(filter)).await? {
            Answer::Agents(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Dead letters, newest first.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn dead_letters(&self, filter: DeadLetterFilter) -> Result<DeadLetterPage, Refusal> {
        match self.connector.query(Query::DeadLetters(filter)).await? {
            Answer::DeadLetters(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// The broker's figures.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn stats(&self) -> Result<Stats, Refusal> {
        match self.connector.query(Query::Stats).await? {
            Answer::Stats(stats) => Ok(*stats),
            other => Err(unexpected(&other)),
        }
    }
}

/// How many operations may be on their way, if the number is in range.
///
/// # Errors
/// It is not.
pub(crate) fn places(outstanding: u32) -> Result<u32, Refusal> {
    const MOST: u32 = 1 << 20;
    if (1..=MOST).contains(&outstanding) {
        return Ok(outstanding);
    }
    let message = format!("outstanding is {outstanding}, the range is 1 to {MOST}");
    Err(Refusal::new(RefusalCode::Invalid, message))
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("core", self.core()).finish_non_exhaustive()
    }
}

pub(crate) async fn snapshot(
    connector: &dyn Connector,
    id: MessageId,
) -> Result<TaskSnapshot, Refusal> {
    match connector.query(Query::Task(id)).await? {
        Answer::Task(task) => Ok(*task),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(answer: &Answer) -> Refusal {
    let what = match answer {
        Answer::Task(_) => "one task",
        Answer::Tasks(_) => "tasks",
        Answer::Agents(_) => "agents",
        Answer::DeadLetters(_) => "dead letters",
        Answer::Stats(_) => "figures",
    };
    Refusal::new(RefusalCode::Unavailable, format!("the broker answered another question: {what}"))
}
