//! The short way from a broker to agents, sends and requests.

use crate::outgoing::{GatherBuilder, MessageBuilder, RequestBuilder, SendBuilder, Sender};
use crate::{AgentBuilder, AgentWatch, Events, RedriveBuilder, Session, SessionOptions};
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use trunkline_types::session::{Connector, LetterAddress, Subscription};
use trunkline_types::{
    AgentChange, AgentFilter, AgentId, AgentPage, DeadLetterFilter, DeadLetterPage, Destination,
    InboxAddress, InboxChange, InboxInfo, Kind, MessageId, MessageStatus, Payload, Refusal,
    Schedule, ScheduleFilter, ScheduleName, SchedulePage, Topic, TopicPattern,
};

/// What every broker offers, in this process or elsewhere: agents, sessions, and the calls of a
/// session over one that the clones of the connector share. The shared session is opened by the
/// first call and opened again when it has ended.
pub trait Host: Connector + Clone {
    /// Describes an agent, to be started with [`AgentBuilder::start`].
    fn agent(&self, id: &str) -> AgentBuilder {
        AgentBuilder::new(Arc::new(self.clone()), id)
    }

    /// Opens a session of its own with the default bounds.
    fn session(&self) -> impl Future<Output = Result<Session, Refusal>> + Send {
        Session::open(Arc::new(self.clone()))
    }

    /// Opens a session of its own.
    fn session_with(
        &self,
        options: SessionOptions,
    ) -> impl Future<Output = Result<Session, Refusal>> + Send {
        Session::open_with(Arc::new(self.clone()), options)
    }

    /// The session that the short calls share.
    fn shared_session(&self) -> impl Future<Output = Result<Session, Refusal>> + Send {
        shared(Arc::new(self.clone()))
    }

    /// See [`Session::send`].
    fn send(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> SendBuilder {
        SendBuilder::new(sender(self), to.into(), payload.into())
    }

    /// See [`Session::request`].
    fn request(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> RequestBuilder {
        RequestBuilder::new(sender(self), to.into(), payload.into())
    }

    /// See [`Session::publish`].
    fn publish(&self, topic: Topic, payload: impl Into<Payload>) -> MessageBuilder {
        MessageBuilder::new(sender(self), Destination::Topic(topic), payload.into())
    }

    /// See [`Session::tell`].
    fn tell(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> MessageBuilder {
        MessageBuilder::new(sender(self), to.into(), payload.into())
    }

    /// See [`Session::gather`].
    fn gather(&self, to: impl Into<Destination>, payload: impl Into<Payload>) -> GatherBuilder {
        GatherBuilder::new(sender(self), to.into(), payload.into())
    }

    /// See [`Session::broadcast`].
    fn broadcast(&self, payload: impl Into<Payload>) -> MessageBuilder {
        MessageBuilder::of_kind(sender(self), Kind::Broadcast, Destination::All, payload.into())
    }

    /// See [`Session::redrive`].
    fn redrive(&self, letter: impl Into<LetterAddress>) -> RedriveBuilder {
        RedriveBuilder::new(sender(self), letter.into())
    }

    /// See [`Session::subscribe`].
    fn subscribe(
        &self,
        pattern: TopicPattern,
    ) -> impl Future<Output = Result<Events, Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.subscribe(pattern).await }
    }

    /// See [`Session::subscribe_with`].
    fn subscribe_with(
        &self,
        subscription: Subscription,
    ) -> impl Future<Output = Result<Events, Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.subscribe_with(subscription).await }
    }

    /// See [`Session::message`].
    fn message(
        &self,
        id: MessageId,
    ) -> impl Future<Output = Result<MessageStatus, Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.message(id).await }
    }

    /// See [`Session::cancel`].
    fn cancel(
        &self,
        id: MessageId,
        reason: impl Into<String> + Send,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.cancel(id, reason).await }
    }

    /// See [`Session::set_agent`].
    fn set_agent(
        &self,
        id: AgentId,
        change: AgentChange,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.set_agent(id, change).await }
    }

    /// See [`Session::unregister`].
    fn unregister(&self, id: AgentId) -> impl Future<Output = Result<(), Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.unregister(id).await }
    }

    /// See [`Session::agents`].
    fn agents(
        &self,
        filter: AgentFilter,
    ) -> impl Future<Output = Result<AgentPage, Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.agents(filter).await }
    }

    /// See [`Session::watch_agents`].
    fn watch_agents(
        &self,
        filter: AgentFilter,
    ) -> impl Future<Output = Result<AgentWatch, Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.watch_agents(filter).await }
    }

    /// See [`Session::inbox`].
    fn inbox(
        &self,
        inbox: InboxAddress,
    ) -> impl Future<Output = Result<InboxInfo, Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.inbox(inbox).await }
    }

    /// See [`Session::set_inbox`].
    fn set_inbox(
        &self,
        inbox: InboxAddress,
        change: InboxChange,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.set_inbox(inbox, change).await }
    }

    /// See [`Session::schedules`].
    fn schedules(
        &self,
        filter: ScheduleFilter,
    ) -> impl Future<Output = Result<SchedulePage, Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.schedules(filter).await }
    }

    /// See [`Session::set_schedule`].
    fn set_schedule(&self, schedule: Schedule) -> impl Future<Output = Result<(), Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.set_schedule(schedule).await }
    }

    /// See [`Session::remove_schedule`].
    fn remove_schedule(
        &self,
        name: ScheduleName,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.remove_schedule(name).await }
    }

    /// See [`Session::dead_letters`].
    fn dead_letters(
        &self,
        filter: DeadLetterFilter,
    ) -> impl Future<Output = Result<DeadLetterPage, Refusal>> + Send {
        let session = self.shared_session();
        async move { session.await?.dead_letters(filter).await }
    }

    /// See [`Session::purge`].
    fn purge(
        &self,
        letter: impl Into<LetterAddress>,
    ) -> impl Future<Output = Result<(), Refusal>> + Send {
        let (session, letter) = (self.shared_session(), letter.into());
        async move { session.await?.purge(letter).await }
    }
}

impl<C: Connector + Clone> Host for C {}

/// The shared session, kept in the connector's companion.
///
/// It is kept without its connector: the connector owns the companion, and would otherwise keep
/// itself alive.
#[derive(Default)]
struct Shared {
    line: Mutex<Option<Arc<crate::session::Line>>>,
    /// Held while a session is opened, so that only one is.
    opening: tokio::sync::Mutex<()>,
}

impl Shared {
    fn current(&self, connector: &Arc<dyn Connector>) -> Option<Session> {
        let line = self.line.lock().clone()?;
        let session = Session { line, connector: Arc::clone(connector) };
        (!session.is_closed()).then_some(session)
    }
}

fn kept(connector: &Arc<dyn Connector>) -> Option<Arc<Shared>> {
    connector.companion()?.get_or_init(Shared::default)
}

fn sender<C: Connector + Clone>(connector: &C) -> Sender {
    let connector: Arc<dyn Connector> = Arc::new(connector.clone());
    match kept(&connector).and_then(|shared| shared.current(&connector)) {
        Some(session) => session.into(),
        None => Sender::Later(connector),
    }
}

/// The shared session of a connector, opened if there is none.
pub(crate) async fn shared(connector: Arc<dyn Connector>) -> Result<Session, Refusal> {
    let Some(shared) = kept(&connector) else { return Session::open(connector).await };
    let opening = shared.opening.lock().await;
    if let Some(session) = shared.current(&connector) {
        return Ok(session);
    }
    let session = Session::open(connector).await?;
    *shared.line.lock() = Some(Arc::clone(&session.line));
    drop(opening);
    Ok(session)
}
