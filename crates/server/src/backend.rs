//! The broker as the edges see it.
//!
//! A trait rather than the broker itself, so that a test can be a broker that does what no sound
//! broker does, and when the test wants it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use trunkline_broker::{Broker, BrokerState};
use trunkline_types::Principal;
use trunkline_types::session::{BoxFuture, Connector};

/// What the edges need of a broker.
pub(crate) trait Backend: Send + Sync + 'static {
    /// The way to it for a principal.
    fn connector(&self, principal: Principal) -> Arc<dyn Connector>;
    /// Follows how it is.
    fn watch_state(&self) -> watch::Receiver<BrokerState>;
    /// Tells sessions to go away and waits for held work.
    fn drain(&self, grace: Duration) -> BoxFuture<'_, ()>;
}

impl Backend for Broker {
    fn connector(&self, principal: Principal) -> Arc<dyn Connector> {
        Arc::new(self.as_principal(principal))
    }

    fn watch_state(&self) -> watch::Receiver<BrokerState> {
        Broker::watch_state(self)
    }

    fn drain(&self, grace: Duration) -> BoxFuture<'_, ()> {
        Box::pin(Broker::drain(self, grace))
    }
}

/// Whether the broker behind a server takes work, and if not, why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Readiness {
    /// It is not there yet: it reads its log.
    Recovering,
    /// It is there.
    Is(BrokerState),
}

impl Readiness {
    /// Whether it takes work.
    pub(crate) fn is_ready(&self) -> bool {
        *self == Self::Is(BrokerState::Ready)
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovering => f.write_str("recovering"),
            Self::Is(BrokerState::Ready) => f.write_str("ready"),
            Self::Is(BrokerState::Draining) => f.write_str("draining"),
            Self::Is(BrokerState::Closed) => f.write_str("closed"),
            Self::Is(BrokerState::Failed(reason)) => write!(f, "failed: {reason}"),
        }
    }
}
