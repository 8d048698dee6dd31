//! A running agent.

use crate::Session;
use crate::core::{Core, CoreOptions};
use crate::health::{self, Health};
use crate::pool::Pool;
use crate::session::Line;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use trunkline_types::session::{Connector, Subscription};
use trunkline_types::{AgentCard, AgentId, Refusal, RefusalCode};

/// How long a broker that is not there is left alone at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A running agent. Dropping it ends it at once: handlers at work are dropped and what they held
/// goes back; [`Agent::stop`] lets them finish.
#[must_use = "dropping an agent ends it"]
pub struct Agent {
    id: AgentId,
    session: Session,
    /// What makes its check.
    health: Option<AbortHandle>,
}

/// What an agent has done and is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AgentStats {
    /// Deliveries whose handler has ended, whatever came of it.
    pub handled: u64,
    /// Of those, completed.
    pub completed: u64,
    /// Of those, failed for good or rejected.
    pub failed: u64,
    /// Of those, to be tried again; panics are among them.
    pub retried: u64,
    /// Of those, dead-lettered by the handler.
    pub dead_lettered: u64,
    /// Of those, given back or paused.
    pub released: u64,
    /// Deliveries whose handler panicked.
    pub panics: u64,
    /// Batches that were given to handlers which take them.
    pub batches: u64,
    /// How often a handler kept its thread for 100 ms or longer without awaiting anything, and so
    /// held up whatever else the runtime had there. Counted when it lets go.
    pub blocked: u64,
    /// Workers that failed and began anew.
    pub restarts: u64,
    /// Deliveries that wait here for a worker.
    pub queued: u64,
    /// The workers that there are now, idle ones included.
    pub workers: Vec<WorkerStats>,
    /// Workers that are idle.
    pub idle: u32,
    /// Handlers whose place is lent while they await a reply.
    pub lent: u32,
    /// How many deliveries the agent is willing to hold.
    pub credit: u32,
    /// A moving mean of how long a handler takes for a delivery.
    pub handler_time: Duration,
    /// Whether this session's check says that it is fit for work; true without one.
    pub healthy: bool,
}

/// What one of an agent's workers has done. It goes with the worker; what it counted stays in the
/// agent's own figures.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WorkerStats {
    /// Counts the agent's workers from 1 in the order in which they came.
    pub number: u32,
    /// Deliveries whose handler has ended.
    pub messages: u64,
    /// Batches among them.
    pub batches: u64,
    /// Deliveries that failed, were rejected, dead-lettered or are to be tried again.
    pub errors: u64,
    /// How often it failed and began anew.
    pub restarts: u32,
    /// For how long it had something to do, the time in which it awaited its handlers included.
    pub busy: Duration,
    /// How long it has been there.
    pub age: Duration,
}

impl WorkerStats {
    /// Which share of its time it had something to do, from 0 to 1.
    pub fn busy_share(&self) -> f64 {
        if self.age.is_zero() { 0.0 } else { self.busy.div_duration_f64(self.age).min(1.0) }
    }
}

/// How an agent starts.
pub(crate) struct StartOptions {
    /// Bounds and habits of its session.
    pub(crate) core: CoreOptions,
    /// Whether to try again while no broker is there.
    pub(crate) wait_for_broker: bool,
    /// How it finds out whether it is fit for work.
    pub(crate) health: Option<Health>,
}

/// Whether a broker that refused a session for this may take it later.
fn may_pass(code: RefusalCode) -> bool {
    matches!(code, RefusalCode::Unavailable | RefusalCode::Draining)
}

impl Agent {
    pub(crate) async fn start(
        connector: Arc<dyn Connector>,
        card: AgentCard,
        subscriptions: Vec<Subscription>,
        pool: Pool,
        options: StartOptions,
    ) -> Result<Self, Refusal> {
        let StartOptions { core, wait_for_broker, health } = options;
        let id = card.id.clone();
        let core = Core::new(Some(id.clone()), core, Some(pool), Handle::current());
        let line = Arc::new(Line { core });
        let mut bound = Duration::from_millis(100);
        loop {
            let connecting =
                line.core.connect(&*connector, Some(card.clone()), subscriptions.clone());
            match connecting.await {
                Ok(()) => break,
                Err(refusal) if wait_for_broker && may_pass(refusal.code) => {
                    tracing::info!(agent = %id, %refusal, "waits for the broker");
                    // Agents that wait for the same broker do not come all at once.
                    tokio::time::sleep(bound.mul_f64(fastrand::f64())).await;
                    bound = (bound * 2).min(LONGEST_PAUSE);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        let health = health.map(|health| {
            let watch = health::watch(Arc::downgrade(&line.core), health);
            tokio::spawn(watch).abort_handle()
        });
        Ok(Self { id, session: Session { line, connector }, health })
    }

    /// Its id.
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// Its session, to send and ask as this agent.
    pub fn session(&self) -> &Session {
        &self.session
    }

    fn core(&self) -> &Core {
        self.session.core()
    }

    fn pool(&self) -> &Pool {
        self.core().pool.as_ref().expect("an agent's session is made with a pool")
    }

    /// What it has done and is doing.
    pub fn stats(&self) -> AgentStats {
        self.pool().stats()
    }

    /// As [`Agent::stats`], for who does not have the agent: also while it stops, and once it has.
    pub fn figures(&self) -> impl Fn() -> AgentStats + Send + Sync + 'static {
        let core = Arc::clone(self.session.core());
        move || core.pool.as_ref().map(Pool::stats).unwrap_or_default()
    }

    /// Waits until the session has ended, and says why. An agent that is told to leave finishes
    /// what it holds first; the code is then [`RefusalCode::Draining`].
    pub async fn ended(&self) -> Refusal {
        self.core().wait_over().await
    }

    /// Takes no new work, finishes what it holds, sees it settled, and says goodbye. Takes as
    /// long as the handlers do, and while the broker is away; given up, it ends the agent at once.
    pub async fn stop(self) {
        self.core().finish_work().await;
        self.core().close();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(health) = &self.health {
            health.abort();
        }
        self.core().close();
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("id", &self.id).finish_non_exhaustive()
    }
}
