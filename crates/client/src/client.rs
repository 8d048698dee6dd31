//! A way to a broker elsewhere.

use crate::dialer::{Calls, Dialer};
use crate::session::{self, Policy};
use crate::{ClientConfig, failure, query};
use std::fmt;
use std::sync::{Arc, OnceLock};
use trunkline_proto::v1;
use trunkline_types::session::{BoxFuture, Companion, Connected, Connector, Hello, Sink};
use trunkline_types::{A2aAgent, A2aAgentSettings, AgentId, Answer, Query, Refusal};

/// A session, for an executor of its own; see [`Client::executor`].
pub type SessionFuture = BoxFuture<'static, ()>;

/// Takes a session and sees to it that it is polled.
pub(crate) type Executor = Arc<dyn Fn(SessionFuture) + Send + Sync>;

/// A way to a broker elsewhere. Cheap to clone; clones share the connection for queries, while
/// every session has one of its own.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    executor: Executor,
}

struct Inner {
    dialer: Dialer,
    policy: Policy,
    /// Dialled with the first query, because dialling needs a runtime and sessions do without.
    calls: OnceLock<Calls>,
    companion: Companion,
}

impl Client {
    /// Checks the settings. Nothing is dialled before the first session or query.
    ///
    /// # Errors
    /// A [`Refusal`] with code `invalid`: the URL or the principal is malformed, or a setting is
    /// out of its range.
    pub fn new(config: &ClientConfig) -> Result<Self, Refusal> {
        config.check()?;
        let dialer = Dialer::new(config)?;
        let policy = Policy::new(config);
        let (calls, companion) = (OnceLock::new(), Companion::default());
        let executor: Executor = Arc::new(|session| drop(tokio::spawn(session)));
        Ok(Self { inner: Arc::new(Inner { dialer, policy, calls, companion }), executor })
    }

    /// The same, with its sessions driven by `executor` rather than as tasks of the tokio runtime in
    /// which they are opened. It is called within that runtime, in which they must be polled.
    #[must_use]
    pub fn executor(self, executor: impl Fn(SessionFuture) + Send + Sync + 'static) -> Self {
        Self { executor: Arc::new(executor), ..self }
    }

    /// Where the broker listens.
    pub fn url(&self) -> &str {
        &self.inner.dialer.url
    }

    /// Makes a server of `Agent2Agent` elsewhere an agent of the broker, which reads its card first.
    ///
    /// # Errors
    /// A [`Refusal`]: something is out of range, the card cannot be had or is none, leads back to
    /// the broker or where it must not, the id is taken, or the broker is not there.
    pub async fn add_a2a_agent(&self, settings: A2aAgentSettings) -> Result<A2aAgent, Refusal> {
        let mut calls = self.calls().clone();
        query::answer(self.url(), calls.add_a2a_agent(v1::AddA2aAgentRequest::from(settings)).await)
    }

    /// The servers of `Agent2Agent` elsewhere that are agents of the broker, in the order of their
    /// ids.
    ///
    /// # Errors
    /// A [`Refusal`]: the broker is not there.
    pub async fn a2a_agents(&self) -> Result<Vec<A2aAgent>, Refusal> {
        let mut calls = self.calls().clone();
        query::answer(self.url(), calls.list_a2a_agents(v1::ListA2aAgentsRequest {}).await)
    }

    /// Has a server of `Agent2Agent` elsewhere called no more, and takes it out of the directory.
    /// What waits for it is parked.
    ///
    /// # Errors
    /// A [`Refusal`]: there is none of this id, or the broker is not there.
    pub async fn remove_a2a_agent(&self, id: AgentId) -> Result<(), Refusal> {
        let mut calls = self.calls().clone();
        let removed = calls.remove_a2a_agent(v1::RemoveA2aAgentRequest::from(id)).await;
        removed.map(|_nothing| ()).map_err(|status| failure::refused(self.url(), &status))
    }

    fn calls(&self) -> &Calls {
        self.inner.calls.get_or_init(|| self.inner.dialer.lazy())
    }
}

/// Futures must be polled within a tokio runtime, which then also drives the session.
impl Connector for Client {
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>> {
        let Inner { dialer, policy, .. } = &*self.inner;
        Box::pin(async move {
            let calls = self.calls().clone();
            let executor = &self.executor;
            session::open(dialer.clone(), calls, policy.clone(), executor, hello, sink).await
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(async move { query::ask(self.calls(), self.url(), query).await })
    }

    fn companion(&self) -> Option<&Companion> {
        Some(&self.inner.companion)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url()).finish_non_exhaustive()
    }
}
