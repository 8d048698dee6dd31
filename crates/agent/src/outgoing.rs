//! Builders for what is sent: tasks, requests and messages.

use crate::core::{Core, ReplySignal};
use crate::session::{Session, snapshot};
use crate::task::Task;
use crate::{Acceptance, Reply, RequestError, host};
use smol_str::SmolStr;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use trunkline_types::session::Connector;
use trunkline_types::{
    Absent, ContextId, Destination, Durability, Envelope, IdempotencyKey, Kind, MessageId,
    OrderingKey, Partition, Payload, Priority, Publish, PublishOptions, Refusal, RefusalCode,
};

/// Something to be sent; `K` says what awaiting it gives.
#[must_use = "nothing is sent before it is awaited"]
pub struct Outgoing<K> {
    publish: Publish,
    timeout: Option<Duration>,
    sender: Sender,
    kind: PhantomData<K>,
}

/// A task to be sent: awaiting it gives the [`Acceptance`], [`SendBuilder::wait`] the result.
pub type SendBuilder = Outgoing<kind::Send>;
/// A request: awaiting it gives the [`Reply`].
pub type RequestBuilder = Outgoing<kind::Request>;
/// A one-way message: awaiting it gives the [`Acceptance`].
pub type MessageBuilder = Outgoing<kind::Message>;

/// What kinds of [`Outgoing`] there are.
pub(crate) mod kind {
    /// A task.
    #[derive(Debug)]
    pub enum Send {}
    /// A request.
    #[derive(Debug)]
    pub enum Request {}
    /// A one-way message.
    #[derive(Debug)]
    pub enum Message {}
}

/// Over which session it is sent.
pub(crate) enum Origin {
    /// This one.
    Session(Session),
    /// That of the agent that handles this task.
    Task(Task),
}

/// Over which session it will be sent.
pub(crate) enum Sender {
    /// One that is open.
    Open(Origin),
    /// The shared one of a connector, yet to be opened.
    Later(Arc<dyn Connector>),
}

impl Sender {
    async fn open(self) -> Result<Origin, Refusal> {
        match self {
            Self::Open(origin) => Ok(origin),
            Self::Later(connector) => Ok(Origin::Session(host::shared(connector).await?)),
        }
    }
}

impl From<Session> for Sender {
    fn from(session: Session) -> Self {
        Self::Open(Origin::Session(session))
    }
}

impl From<Task> for Sender {
    fn from(task: Task) -> Self {
        Self::Open(Origin::Task(task))
    }
}

impl Outgoing<kind::Send> {
    pub(crate) fn new(sender: impl Into<Sender>, to: Destination, payload: Payload) -> Self {
        let (kind, task) = match to {
            Destination::Agent(_) | Destination::Skill(_) => (Kind::Request, true),
            Destination::Agents(_) | Destination::Topic(_) => (Kind::Event, false),
            Destination::All => (Kind::Broadcast, false),
        };
        let options = PublishOptions { task, ..PublishOptions::default() };
        Self::build(sender.into(), kind, to, payload, options)
    }

    /// Of another kind than a request; only a request is a task.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.publish.envelope.kind = kind;
        self.publish.options.task = kind == Kind::Request;
        self
    }

    /// Sends it and waits for its result. If the session is lost on the way, the result is
    /// looked up and waited for over the new one.
    ///
    /// # Errors
    /// The broker's refusal, or how the task ended without an answer. What does not go to one
    /// agent or one skill is not sent, because nobody would answer it.
    pub async fn wait(self) -> Result<Reply, RequestError> {
        self.send_and_wait().await
    }

    /// The local bound on [`SendBuilder::wait`]; unlike [`Outgoing::ttl`] it takes nothing back.
    pub fn wait_at_most(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self
    }
}

impl Outgoing<kind::Request> {
    pub(crate) fn new(sender: impl Into<Sender>, to: Destination, payload: Payload) -> Self {
        let options = PublishOptions { reply: true, ..PublishOptions::default() };
        Self::build(sender.into(), Kind::Request, to, payload, options)
    }

    /// How long the answer is of use: the envelope's time to live, and how long the caller waits.
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self.publish.envelope.ttl = Some(span);
        self
    }
}

impl Outgoing<kind::Message> {
    pub(crate) fn new(sender: impl Into<Sender>, to: Destination, payload: Payload) -> Self {
        Self::build(sender.into(), Kind::Event, to, payload, PublishOptions::default())
    }

    /// Of another kind than an event.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.publish.envelope.kind = kind;
        self
    }
}

impl<K> Outgoing<K> {
    fn build(
        sender: Sender,
        kind: Kind,
        to: Destination,
        payload: Payload,
        options: PublishOptions,
    ) -> Self {
        let id = match &sender {
            Sender::Open(origin) => origin.core().next_id(),
            Sender::Later(_) => {
                MessageId::from_parts(crate::core::now().0, Partition(0), fastrand::u64(..))
            }
        };
        let mut envelope = Envelope::new(id, kind, to, payload);
        if let Sender::Open(Origin::Task(task)) = &sender {
            task.mark(&mut envelope);
        }
        Self { publish: Publish { envelope, options }, timeout: None, sender, kind: PhantomData }
    }

    /// The id that the envelope will have, unless it turns out to be a repeat.
    pub fn id(&self) -> MessageId {
        self.publish.envelope.id
    }

    /// How urgent it is. Default normal.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.publish.envelope.priority = priority;
        self
    }

    /// How long it is of use, counted from its acceptance, at least 1 ms. Default for ever.
    pub fn ttl(mut self, span: Duration) -> Self {
        self.publish.envelope.ttl = Some(span);
        self
    }

    /// Accept it once under this key.
    pub fn key(mut self, key: IdempotencyKey) -> Self {
        self.publish.envelope.idempotency_key = Some(key);
        self
    }

    /// Handle it strictly in order with others of this key.
    pub fn ordering_key(mut self, key: OrderingKey) -> Self {
        self.publish.envelope.ordering_key = Some(key);
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<SmolStr>, value: impl Into<SmolStr>) -> Self {
        self.publish.envelope.headers.push((name.into(), value.into()));
        self
    }

    /// Adds headers.
    pub fn headers<N: Into<SmolStr>, V: Into<SmolStr>>(
        mut self,
        headers: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.publish.envelope.headers.extend(headers);
        self
    }

    /// The conversation that it belongs to.
    pub fn context(mut self, context: ContextId) -> Self {
        self.publish.envelope.context_id = Some(context);
        self
    }

    /// The envelope that it answers.
    pub fn correlation(mut self, id: MessageId) -> Self {
        self.publish.envelope.correlation_id = Some(id);
        self
    }

    /// The W3C `traceparent` to carry along.
    pub fn traceparent(mut self, traceparent: impl Into<SmolStr>) -> Self {
        self.publish.envelope.traceparent = Some(traceparent.into());
        self
    }

    /// Deliver not before this long after its acceptance.
    pub fn delay(mut self, span: Duration) -> Self {
        self.publish.options.delay = Some(span);
        self
    }

    /// How often delivery is attempted at most, from 1. Default 3 for tasks and what is logged,
    /// else 1.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.publish.options.attempts = Some(attempts);
        self
    }

    /// What a crash may take. Default: what the kind says.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.publish.options.durability = Some(durability);
        self
    }

    /// Refuse it when nobody serves the destination, rather than let it wait.
    pub fn fail_if_absent(mut self) -> Self {
        self.publish.options.absent = Absent::Fail;
        self
    }

    /// What would be sent, for [`Session::publish_batch`].
    pub fn into_publish(self) -> Publish {
        self.publish
    }

    async fn send_only(self) -> Result<Acceptance, Refusal> {
        let Self { publish, sender, .. } = self;
        let origin = sender.open().await?;
        let core = origin.core();
        core.places(1).await?;
        let acceptance = core.publish(publish)?;
        acceptance.await.unwrap_or_else(|_| Err(gone(core)))
    }

    async fn send_and_wait(self) -> Result<Reply, RequestError> {
        let timeout = self.timeout;
        match timeout {
            None => self.reply().await,
            Some(span) => tokio::time::timeout(span, self.reply())
                .await
                .unwrap_or_else(|_| Err(RequestError::timed_out(span))),
        }
    }

    async fn reply(self) -> Result<Reply, RequestError> {
        let Self { mut publish, sender, .. } = self;
        let to = &publish.envelope.destination;
        if !matches!(to, Destination::Agent(_) | Destination::Skill(_)) {
            let message = format!("only one agent or one skill gives an answer, not '{to}'");
            return Err(Refusal::new(RefusalCode::Invalid, message).into());
        }
        publish.options.reply = true;
        let id = publish.envelope.id;
        let origin = sender.open().await?;
        let core = origin.core();
        core.places(1).await?;
        let signal = core.request(publish)?;
        let mut awaited = Awaited { core, id, signal, answered: false };
        // A handler that waits holds up nobody: its permit is lent until the reply is there.
        let loan = match &origin {
            Origin::Task(task) => Some(task.lend()),
            Origin::Session(_) => None,
        };
        let result = match awaited.signal().await {
            Some(ReplySignal::Ended(result)) => result,
            Some(ReplySignal::LookUp(id)) => look_up(&origin, id).await,
            None => Err(gone(core).into()),
        };
        if let Some(loan) = loan {
            loan.end().await;
        }
        result
    }
}

/// Takes the waiter out of the book if its future is dropped before the reply is there.
struct Awaited<'a> {
    core: &'a Core,
    id: MessageId,
    signal: oneshot::Receiver<ReplySignal>,
    answered: bool,
}

impl Awaited<'_> {
    async fn signal(&mut self) -> Option<ReplySignal> {
        let signal = (&mut self.signal).await.ok();
        self.answered = true;
        signal
    }
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.core.forget_reply(self.id);
        }
    }
}

impl Origin {
    fn core(&self) -> &Core {
        match self {
            Self::Session(session) => session.core(),
            Self::Task(task) => task.core(),
        }
    }

    fn connector(&self) -> Option<&Arc<dyn Connector>> {
        match self {
            Self::Session(session) => Some(&session.connector),
            Self::Task(task) => task.connector(),
        }
    }
}

/// Finds out how a task ended whose reply will not come by itself.
async fn look_up(origin: &Origin, id: MessageId) -> Result<Reply, RequestError> {
    const SLOWEST: Duration = Duration::from_secs(2);
    let Some(connector) = origin.connector() else {
        return Err(RequestError::lost("the session was lost"));
    };
    let mut pause = Duration::from_millis(100);
    loop {
        match snapshot(&**connector, id).await {
            Ok(task) => {
                if let Some(result) = task.outcome() {
                    let payload = result?;
                    return Ok(Reply { request: task.id, agent: task.agent, payload });
                }
                let core = origin.core();
                core.places(1).await?;
                let (watcher, answer) = core.watch(id, task.last_event)?;
                let watched = Watched { core, watcher };
                core.answered(answer).await?;
                while let Some(update) = watched.watcher.next().await {
                    update?;
                }
            }
            Err(refusal) if refusal.code == RefusalCode::NotFound => {
                return Err(RequestError::lost("the broker does not know the task any longer"));
            }
            Err(refusal) if refusal.code == RefusalCode::Unavailable => {
                if let Some(refusal) = origin.core().closed() {
                    return Err(refusal.into());
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(SLOWEST);
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
}

struct Watched<'a> {
    core: &'a Core,
    watcher: Arc<crate::core::Watcher>,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.core.unwatch(&self.watcher);
    }
}

fn gone(core: &Core) -> Refusal {
    core.closed().unwrap_or_else(|| Refusal::new(RefusalCode::Unavailable, "the session has ended"))
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl IntoFuture for Outgoing<kind::Send> {
    type Output = Result<Acceptance, Refusal>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send_only())
    }
}

impl IntoFuture for Outgoing<kind::Message> {
    type Output = Result<Acceptance, Refusal>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send_only())
    }
}

impl IntoFuture for Outgoing<kind::Request> {
    type Output = Result<Reply, RequestError>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send_and_wait())
    }
}

impl<K> fmt::Debug for Outgoing<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("publish", &self.publish).finish_non_exhaustive()
    }
}
