//! A way to a broker elsewhere.

use crate::dialer::{Calls, Dialer};
use crate::session::{self, Policy};
use crate::{ClientConfig, query};
use std::fmt;
use std::sync::{Arc, OnceLock};
use trunkline_types::session::{BoxFuture, Companion, Connected, Connector, Hello, Sink};
use trunkline_types::{Answer, Query, Refusal};

/// A way to a broker elsewhere. Cheap to clone; clones share the connection for queries, while
/// every session has one of its own.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
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
        Ok(Self { inner: Arc::new(Inner { dialer, policy, calls, companion }) })
    }

    /// Where the broker listens.
    pub fn url(&self) -> &str {
        &self.inner.dialer.url
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
            session::open(dialer.clone(), calls, policy.clone(), hello, sink).await
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
