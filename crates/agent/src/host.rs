//! The short way from a broker to agents, sends and requests.

use crate::outgoing::{MessageBuilder, RequestBuilder, SendBuilder, Sender};
use crate::{AgentBuilder, Session, SessionOptions};
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use trunkline_types::session::Connector;
use trunkline_types::{Destination, Payload, Refusal, Topic};

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
