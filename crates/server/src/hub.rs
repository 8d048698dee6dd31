//! What all edges of a server share: the broker once it is there, and the counts of the edge.

use crate::ServerConfig;
use crate::backend::{Backend, Readiness};
use crate::entropy::{Ids, random};
use crate::proxy::Proxies;
use crate::push::Pushes;
use crate::session::{Lent, Pool, Streams, Welcomes};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;
use trunkline_broker::BrokerState;
use trunkline_types::session::Connector;
use trunkline_types::{Principal, Refusal, RefusalCode};

/// The shared state of a server.
pub(crate) struct Hub {
    /// The settings.
    pub(crate) config: ServerConfig,
    /// The open streams.
    pub(crate) streams: Arc<Streams>,
    /// The places of sessions that are being welcomed.
    pub(crate) welcomes: Welcomes,
    /// Makes ids that clients leave out.
    pub(crate) ids: Ids,
    /// Connections open now.
    pub(crate) connections: AtomicUsize,
    /// Connections served since the start.
    pub(crate) connections_accepted: AtomicU64,
    /// Connections closed at once because there were too many.
    pub(crate) connections_refused: AtomicU64,
    /// The webhooks of A2A.
    pub(crate) pushes: Pushes,
    /// The agents that are servers of A2A elsewhere.
    pub(crate) proxies: Proxies,
    /// What this server calls itself to other brokers, so that it knows what it sent.
    pub(crate) ident: String,
    pool: Pool,
    broker: OnceLock<(Box<dyn Backend>, watch::Receiver<BrokerState>)>,
    /// Whether the broker is there, for those who wait for it.
    arrived: watch::Sender<bool>,
}

impl Hub {
    /// The state of a server without a broker.
    pub(crate) fn new(config: ServerConfig) -> Self {
        Self {
            welcomes: Welcomes::new(config.welcomes, config.welcomes_waiting),
            config,
            streams: Arc::default(),
            ids: Ids::new(),
            connections: AtomicUsize::new(0),
            connections_accepted: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            pushes: Pushes::default(),
            proxies: Proxies::default(),
            ident: format!("{:016x}", random()),
            pool: Pool::default(),
            broker: OnceLock::new(),
            arrived: watch::Sender::new(false),
        }
    }

    /// The broker is there. A second one is ignored: sessions know the first.
    pub(crate) fn set_broker(&self, broker: Box<dyn Backend>) -> bool {
        let state = broker.watch_state();
        let is_first = self.broker.set((broker, state)).is_ok();
        if is_first {
            self.arrived.send_replace(true);
        }
        is_first
    }

    /// The broker, if it is there.
    pub(crate) fn broker(&self) -> Option<&dyn Backend> {
        self.broker.get().map(|(broker, _)| broker.as_ref())
    }

    /// How ready the broker is.
    pub(crate) fn readiness(&self) -> Readiness {
        let state = self.broker.get().map(|(_, state)| state.borrow().clone());
        state.map_or(Readiness::Recovering, Readiness::Is)
    }

    /// Waits until the broker is there, and follows how it is. `None` if the server ended first.
    pub(crate) async fn watch_broker(&self) -> Option<watch::Receiver<BrokerState>> {
        let mut arrived = self.arrived.subscribe();
        arrived.wait_for(|arrived| *arrived).await.ok()?;
        self.broker.get().map(|(_, state)| state.clone())
    }

    /// The way to the broker for a principal.
    pub(crate) fn connector(&self, principal: Principal) -> Result<Arc<dyn Connector>, Refusal> {
        let broker = self.broker().ok_or_else(|| {
            let message = "the broker is still recovering; /readyz answers 200 once it is ready";
            Refusal::new(RefusalCode::Unavailable, message)
        })?;
        Ok(broker.connector(principal))
    }

    /// The session for a principal's unary calls.
    pub(crate) async fn calls(&self, principal: Principal) -> Result<Lent, Refusal> {
        let connector = self.connector(principal.clone())?;
        self.pool.session(&principal, connector.as_ref(), &self.ids).await
    }

    /// Whether no unary call waits for the broker.
    #[cfg(test)]
    pub(crate) fn has_no_callers(&self) -> bool {
        self.pool.is_idle()
    }

    /// Takes no more unary calls, waits for the ones in flight, and ends their sessions.
    pub(crate) async fn finish_calls(&self) {
        self.pool.finish().await;
    }

    /// Ends the sessions of unary calls; those in flight are told.
    pub(crate) fn close_calls(&self) {
        self.pool.close();
    }

    /// Counts a connection while the guard lives.
    pub(crate) fn count_connection(self: &Arc<Self>) -> ConnectionCount {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.connections_accepted.fetch_add(1, Ordering::Relaxed);
        ConnectionCount(self.clone())
    }
}

/// Counts one connection while it lives.
pub(crate) struct ConnectionCount(Arc<Hub>);

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
