//! Builders for what is sent: tasks, requests and messages.

mod cause;
mod options;
mod wait;

pub use cause::Cause;
pub(crate) use wait::look_up;

use crate::core::Core;
use crate::session::Session;
use crate::task::Task;
use crate::{Acceptance, Reply, RequestError, host};
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Connector;
use trunkline_types::{
    Destination, Envelope, Gather, GatherRule, Gathered, Kind, MessageId, Partition, Payload,
    Publish, PublishOptions, Refusal, RefusalCode,
};

/// How long a request to several agents gathers answers unless told otherwise.
const GATHER: Duration = Duration::from_secs(30);

/// Something to be sent; `K` says what awaiting it gives.
#[must_use = "nothing is sent before it is awaited"]
pub struct Outgoing<K> {
    publish: Publish,
    timeout: Option<Duration>,
    sender: Sender,
    /// Why it cannot be sent, told to whoever awaits it.
    mistake: Option<Refusal>,
    kind: PhantomData<K>,
}

/// A task to be sent: awaiting it gives the [`Acceptance`], [`SendBuilder::wait`] the result.
pub type SendBuilder = Outgoing<kind::Send>;
/// A request: awaiting it gives the [`Reply`].
pub type RequestBuilder = Outgoing<kind::Request>;
/// A request to several agents: awaiting it gives the [`Gathered`] answers.
pub type GatherBuilder = Outgoing<kind::Gather>;
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
    /// A request to several agents.
    #[derive(Debug)]
    pub enum Gather {}
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

impl Origin {
    pub(crate) fn core(&self) -> &Core {
        match self {
            Self::Session(session) => session.core(),
            Self::Task(task) => task.core(),
        }
    }

    pub(super) fn connector(&self) -> Option<&Arc<dyn Connector>> {
        match self {
            Self::Session(session) => Some(&session.connector),
            Self::Task(task) => task.connector(),
        }
    }
}

impl Sender {
    /// A new id for an envelope.
    pub(crate) fn next_id(&self) -> MessageId {
        match self {
            Self::Open(origin) => origin.core().next_id(),
            Self::Later(_) => {
                MessageId::from_parts(crate::core::now().0, Partition(0), fastrand::u64(..))
            }
        }
    }

    pub(crate) async fn open(self) -> Result<Origin, Refusal> {
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

    /// How long the answer is of use: the envelope's time to live. At its end the broker says so;
    /// a broker that is away is waited for 2 s more.
    pub fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span.saturating_add(wait::GRACE));
        self.publish.envelope.ttl = Some(span);
        self
    }
}

impl Outgoing<kind::Gather> {
    pub(crate) fn new(sender: impl Into<Sender>, to: Destination, payload: Payload) -> Self {
        let gather = Some(Gather::new(GatherRule::All));
        let options = PublishOptions { reply: true, gather, ..PublishOptions::default() };
        Self::build(sender.into(), Kind::Request, to, payload, options).ttl(GATHER)
    }

    /// When enough has come. Default [`GatherRule::All`].
    pub fn rule(self, rule: GatherRule) -> Self {
        self.gather(|gather| gather.rule = rule)
    }

    /// How long answers are gathered: the envelope's time to live. Default 30 s.
    pub fn timeout(self, span: Duration) -> Self {
        self.ttl(span)
    }

    /// Most bytes of answers in all; an answer beyond it is left out, and named. Default 8 MiB.
    pub fn reply_bytes(self, bytes: u32) -> Self {
        self.gather(|gather| gather.reply_bytes = bytes)
    }

    fn gather(mut self, change: impl FnOnce(&mut Gather)) -> Self {
        if let Some(gather) = &mut self.publish.options.gather {
            change(gather);
        }
        self
    }
}

impl Outgoing<kind::Message> {
    pub(crate) fn new(sender: impl Into<Sender>, to: Destination, payload: Payload) -> Self {
        Self::of_kind(sender, Kind::Event, to, payload)
    }

    pub(crate) fn of_kind(
        sender: impl Into<Sender>,
        kind: Kind,
        to: Destination,
        payload: Payload,
    ) -> Self {
        Self::build(sender.into(), kind, to, payload, PublishOptions::default())
    }

    /// A response to an envelope, to the agent that sent it.
    pub(crate) fn response(sender: impl Into<Sender>, to: &Envelope, payload: Payload) -> Self {
        let Some(source) = to.source.clone() else {
            // Nowhere, so that it is refused also by who sends it in a batch.
            let nowhere = Destination::Agents(Vec::new());
            let mut response = Self::of_kind(sender, Kind::Response, nowhere, payload);
            let message = format!("'{}' was sent by no agent that a response could go to", to.id);
            response.mistake = Some(Refusal::new(RefusalCode::Invalid, message));
            return response;
        };
        let to_source = Destination::Agent(source);
        let mut response = Self::of_kind(sender, Kind::Response, to_source, payload);
        Cause::of(to).mark(&mut response.publish.envelope);
        response.correlation(to.id)
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
        let mut envelope = Envelope::new(sender.next_id(), kind, to, payload);
        if let Sender::Open(origin) = &sender {
            envelope.source.clone_from(&origin.core().agent);
            if let Origin::Task(task) = origin {
                Cause::of(task.envelope()).mark(&mut envelope);
            }
        }
        let publish = Publish { envelope, options };
        Self { publish, timeout: None, sender, mistake: None, kind: PhantomData }
    }
}

/// A future of an outgoing thing.
pub(crate) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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

impl IntoFuture for Outgoing<kind::Gather> {
    type Output = Result<Gathered, RequestError>;
    type IntoFuture = Boxed<Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send_and_gather())
    }
}

impl<K> fmt::Debug for Outgoing<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("publish", &self.publish).finish_non_exhaustive()
    }
}
