//! A client session: sends, asks, subscribes and watches.

use crate::content::Content;
use crate::core::{Core, CoreOptions, Entry, Waiter};
use crate::outgoing::{GatherBuilder, MessageBuilder, RequestBuilder, SendBuilder};
use crate::ticket::{BatchOutcome, Ticket};
use crate::{AgentWatch, Events, TaskUpdates};
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use trunkline_content::Compression;
use trunkline_types::session::{Connector, Operation, Pressure, Subscription};
use trunkline_types::{
    AgentFilter, Destination, Envelope, Kind, MessageId, Payload, Publish, Refusal, RefusalCode,
    Topic, TopicPattern, WhenFull,
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
    /// Whether what is sent to an inbox under pressure waits its turn, as the broker's pace says
    /// and at most 10 s a publish, instead of being refused when the inbox is full. Default true.
    pub obey_pressure: bool,
    /// Which payloads are compressed at sending, and how. Default not at all. It takes its time
    /// on the sender's thread: a MiB some milliseconds, with gzip some tens of them.
    pub compression: Compression,
    /// Most bytes that a payload may have once its compression is undone, which is done to
    /// everything that comes. An answer beyond it is told as left out, an event comes as it is.
    /// Default 8 MiB; with 0 nothing that is compressed is taken.
    pub max_decompressed: usize,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            outstanding: 8192,
            events: 1024,
            obey_pressure: true,
            compression: Compression::default(),
            max_decompressed: Content::MOST,
        }
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
        let SessionOptions { events, obey_pressure, compression, max_decompressed, .. } = options;
        let content = Content { compression, most: max_decompressed };
        let options = CoreOptions { places, events, obey_pressure, content };
        let core = Core::new(None, options, None, Handle::current());
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

    /// A request to several agents: those named, all, or every agent that offers a skill.
    /// Awaiting the builder gives what has [`Gathered`](trunkline_types::Gathered) by its end,
    /// with who is missing. By default everybody's answer is wanted, within 30 s and 8 MiB.
    pub fn gather(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> GatherBuilder {
        GatherBuilder::new(self.clone(), to.into(), payload.into())
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

    /// A message of kind `broadcast` for every agent but the sender.
    pub fn broadcast(&self, payload: impl Into<Payload>) -> MessageBuilder {
        MessageBuilder::of_kind(self.clone(), Kind::Broadcast, Destination::All, payload.into())
    }

    /// A message of kind `context-share`: hands over what belongs to a conversation, which
    /// [`MessageBuilder::context`] names.
    pub fn share_context(
        &self,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> MessageBuilder {
        MessageBuilder::of_kind(self.clone(), Kind::ContextShare, to.into(), payload.into())
    }

    /// A message of kind `status`: says how something is going.
    pub fn report_status(
        &self,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> MessageBuilder {
        MessageBuilder::of_kind(self.clone(), Kind::Status, to.into(), payload.into())
    }

    /// A message of kind `error`: says that something went wrong.
    pub fn report_error(
        &self,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> MessageBuilder {
        MessageBuilder::of_kind(self.clone(), Kind::Error, to.into(), payload.into())
    }

    /// A message of kind `response` to the agent that sent an envelope, with that one's id as
    /// its correlation id. Sending it is refused if the sender is no agent. It is a message like
    /// any other; the reply that a requester waits for is what a handler returns.
    pub fn respond(&self, to: &Envelope, payload: impl Into<Payload>) -> MessageBuilder {
        MessageBuilder::response(self.clone(), to, payload.into())
    }

    /// The pressure on the inbox that a destination names, or the slowest pace if it names
    /// several; `None` if it is under none that the broker has told this session of. What goes
    /// to a topic or to all has no inbox of its own.
    pub fn pressure(&self, to: &Destination) -> Option<Pressure> {
        self.core().pressures.of(to)
    }

    /// An envelope with a fresh id, for [`Session::publish_batch`].
    pub fn envelope(
        &self,
        kind: Kind,
        to: impl Into<Destination>,
        payload: impl Into<Payload>,
    ) -> Envelope {
        let mut envelope = Envelope::new(self.core().next_id(), kind, to.into(), payload.into());
        envelope.source.clone_from(&self.core().agent);
        envelope
    }

    /// Sends many publishes in one piece, in their order. Waits while too much is on its way, or
    /// an inbox that some go to is under pressure, then returns the ticket for their acceptances
    /// without waiting for those. Replies to requests in a batch are not told to anybody.
    ///
    /// # Errors
    /// The session has ended; some of the batch may have been sent.
    pub async fn publish_batch<I, P>(&self, publishes: I) -> Result<Ticket, Refusal>
    where
        I: IntoIterator<Item = P>,
        P: Into<Arc<Publish>>,
    {
        publish_batch(self.core(), publishes.into_iter().map(Into::into).collect()).await
    }

    /// Subscribes to topics for as long as the returned consumer lives.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as too many subscriptions.
    pub async fn subscribe(&self, pattern: TopicPattern) -> Result<Events, Refusal> {
        self.want(&Subscription::new(pattern)).await
    }

    /// Subscribes to some events of topics, in a group, or with the newest events instead of the
    /// oldest when too many wait, for as long as the returned consumer lives. Such a subscription
    /// gets a session of its own with the bounds of this one, because a session is sent an event
    /// once however many of its subscriptions want it.
    ///
    /// # Errors
    /// The broker's [`Refusal`], such as a filter that does not compile. A durable subscription
    /// is refused: it belongs to an agent.
    pub async fn subscribe_with(&self, subscription: Subscription) -> Result<Events, Refusal> {
        let Subscription { pattern, durable, filter, group, when_full } = &subscription;
        if *durable {
            let message = format!(
                "the subscription to '{pattern}' is durable and so an agent's; its events come to \
                 the handler that is given to `AgentBuilder::on_event_with`"
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if filter.is_none() && group.is_none() && *when_full == WhenFull::Reject {
            return self.want(&subscription).await;
        }
        self.sibling().await?.want(&subscription).await
    }

    /// Follows the directory: first the agents that are there, then what changes. The `presence`,
    /// `after` and `limit` of the filter are of no account. It takes a session of its own,
    /// because a session follows the directory once.
    ///
    /// # Errors
    /// The broker's [`Refusal`].
    pub async fn watch_agents(&self, filter: AgentFilter) -> Result<AgentWatch, Refusal> {
        let sibling = self.sibling().await?;
        sibling.core().follow(filter).await?;
        Ok(AgentWatch::new(sibling.line))
    }

    /// Another session of no agent, for one consumer, with the same bounds.
    async fn sibling(&self) -> Result<Self, Refusal> {
        let options = self.core().sibling_options();
        let core = Core::new(None, options, None, Handle::current());
        core.connect(&*self.connector, None, Vec::new()).await?;
        let connector = Arc::clone(&self.connector);
        Ok(Self { line: Arc::new(Line { core }), connector })
    }

    async fn want(&self, subscription: &Subscription) -> Result<Events, Refusal> {
        let core = self.core();
        if core.hub.credit() == 0 {
            let message = "the session may hold 0 events, so none would come to it; open it with \
                           `SessionOptions::events` from 1";
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        core.places(1).await?;
        // Made before the answer is awaited, so that dropping it undoes everything.
        let events = Events::new(Arc::clone(&self.line), core.want(subscription)?);
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

/// See [`Session::publish_batch`].
pub(crate) async fn publish_batch(
    core: &Core,
    mut publishes: Vec<Arc<Publish>>,
) -> Result<Ticket, Refusal> {
    for publish in &mut publishes {
        core.content.pack_shared(publish);
    }
    let mut ticket = Ticket { parts: Vec::with_capacity(1), whole: BatchOutcome::default() };
    let mut offset = 0;
    while !publishes.is_empty() {
        let rest = if publishes.len() > core.piece() {
            publishes.split_off(core.piece())
        } else {
            Vec::new()
        };
        let count = publishes.len();
        let to = publishes.iter().map(|publish| &publish.envelope.destination);
        let turn = core.pressures.turn(to).await;
        core.places(u32::try_from(count).unwrap_or(u32::MAX)).await?;
        let (sender, part) = oneshot::channel();
        let outcome = BatchOutcome { offset, ..BatchOutcome::default() };
        let waiter = Waiter::Batch(Box::new(outcome), sender);
        let operations = publishes.into_iter().map(Operation::Publish);
        core.submit(operations, Entry { bounded: true, waiter, reply: None })?;
        turn.sent();
        ticket.parts.push(part);
        offset += count;
        publishes = rest;
    }
    Ok(ticket)
}
