//! The broker: opening, asking, draining.

use crate::clock::Clock;
use crate::config::{BrokerConfig, Store};
use crate::connection::BrokerConnection;
use crate::core::{Core, Input};
use crate::error::OpenError;
use crate::partition::Partition;
use crate::port::Port;
use crate::timer;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use trunkline_engine::{Engine, EngineConfig, Output, Record};
use trunkline_log::{Committer, Directory, Log, LogConfig, Storage};
use trunkline_types::session::{BoxFuture, Companion, Connected, Connector, Hello, Sink};
use trunkline_types::{Answer, Principal, Query, Refusal, RefusalCode, Sequence};

/// A broker in this process. Cheap to clone; it lives as long as a clone or a session does.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use trunkline_broker::{Broker, BrokerConfig};
/// use trunkline_types::{Answer, Query, session::Connector};
///
/// let broker = Broker::open(BrokerConfig::ephemeral()).await?;
/// let Answer::Stats(stats) = broker.query(Query::Stats).await? else { unreachable!() };
/// assert_eq!(stats.messages_accepted, 0);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Broker {
    handle: BrokerHandle,
}

/// A broker as one principal sees it: sessions opened through it are the principal's.
#[derive(Clone)]
pub struct BrokerHandle {
    partition: Arc<Partition>,
    principal: Principal,
    companion: Companion,
}

/// How a broker is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BrokerState {
    /// It takes work.
    Ready,
    /// It finishes what its sessions hold and takes no new sessions.
    Draining,
    /// It is closed.
    Closed,
    /// Its log failed; it must be opened again.
    Failed(String),
}

impl fmt::Debug for BrokerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrokerHandle").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl Broker {
    /// Opens a broker, recovering what its store holds. Must be called within a tokio runtime,
    /// on which it then runs.
    ///
    /// # Errors
    /// [`OpenError`] if the store is locked, damaged, written by a newer version, or fails.
    pub async fn open(config: BrokerConfig) -> Result<Self, OpenError> {
        let runtime = Handle::current();
        let opened = runtime.spawn_blocking(move || open(config)).await;
        let (core, log) = opened.map_err(|error| OpenError::Start(error.to_string()))??;
        let clock = core.clock;
        let base = log.as_ref().map_or(Sequence(0), |(_, base)| *base);
        let partition = Partition::new(core, base, runtime.clone());
        if let Some((log, _)) = log {
            let target = Arc::downgrade(&partition);
            let on_progress = move |progress| {
                if let Some(partition) = target.upgrade() {
                    partition.progress(progress);
                    partition.let_go();
                }
            };
            let committer = Committer::start(log, Box::new(on_progress))
                .map_err(|error| OpenError::Start(error.to_string()))?;
            partition.look(|core| core.committer = Some(committer));
        }
        runtime.spawn(timer::run(Arc::downgrade(&partition), partition.alarm.clone(), clock));
        partition.bring(Input::Tick);
        let (principal, companion) = (Principal::default(), Companion::default());
        Ok(Self { handle: BrokerHandle { partition, principal, companion } })
    }

    /// The broker as a principal sees it. The caller answers for the principal being who it says.
    pub fn as_principal(&self, principal: Principal) -> BrokerHandle {
        let (partition, companion) = (self.handle.partition.clone(), Companion::default());
        BrokerHandle { partition, principal, companion }
    }

    /// How the broker is.
    pub fn state(&self) -> BrokerState {
        self.handle.partition.state.borrow().clone()
    }

    /// Follows how the broker is.
    pub fn watch_state(&self) -> watch::Receiver<BrokerState> {
        self.handle.partition.state.subscribe()
    }

    /// Shuts down: tells every session to go, waits up to `grace` for them to finish and leave,
    /// counts what is ephemeral as lost, and closes the log. Idempotent.
    pub async fn drain(&self, grace: Duration) {
        let partition = &self.handle.partition;
        let begun = partition.state.send_if_modified(|state| {
            let ready = *state == BrokerState::Ready;
            if ready {
                *state = BrokerState::Draining;
            }
            ready
        });
        if !begun {
            // Somebody else is at it, or nothing is left to be done.
            let over =
                |state: &BrokerState| matches!(state, BrokerState::Closed | BrokerState::Failed(_));
            let mut states = partition.state.subscribe();
            // The sender lives as long as the partition, so there is no error to meet.
            let _ = states.wait_for(over).await;
            return;
        }
        partition.bring(Input::Drain);
        // A wait that takes too long is given up: whoever is still there is lost, not hurt.
        let _ = tokio::time::timeout(grace, all_closed(partition)).await;
        let (closer, committer) = oneshot::channel();
        partition.bring(Input::Stop(closer));
        if let Ok(Some(committer)) = committer.await {
            let closed = tokio::task::spawn_blocking(move || committer.close()).await;
            match closed {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "the log was not closed in order"),
                Err(error) => tracing::error!(%error, "the log's thread failed"),
            }
        }
        partition.state.send_if_modified(|state| {
            let failed = matches!(state, BrokerState::Failed(_));
            if !failed {
                *state = BrokerState::Closed;
            }
            !failed
        });
    }
}

impl Connector for Broker {
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>> {
        self.handle.connect(hello, sink)
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        self.handle.query(query)
    }

    fn companion(&self) -> Option<&Companion> {
        self.handle.companion()
    }
}

impl Connector for BrokerHandle {
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>> {
        Box::pin(async move {
            let (sender, receiver) = oneshot::channel();
            let port = Arc::new(Port::new(sink, sender));
            let key = self.partition.connection_key();
            let principal = self.principal.clone();
            let hello = Box::new(hello);
            // Made first, so that a caller that gives up waiting leaves no connection behind.
            let connection = Arc::new(BrokerConnection::new(self.partition.clone(), key));
            self.partition.bring(Input::Connect { connection: key, principal, hello, port });
            let welcome = receiver.await.unwrap_or_else(|_| Err(closed()))?;
            Ok(Connected { connection, welcome: *welcome })
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(async move {
            let (asker, answer) = oneshot::channel();
            let principal = self.principal.clone();
            self.partition.bring(Input::Ask { principal, question: query, asker });
            answer.await.unwrap_or_else(|_| Err(closed()))
        })
    }

    fn companion(&self) -> Option<&Companion> {
        Some(&self.companion)
    }
}

async fn all_closed(partition: &Arc<Partition>) {
    loop {
        let closed = partition.closed.notified();
        tokio::pin!(closed);
        closed.as_mut().enable();
        if partition.look(|core| core.connections()) == 0 {
            return;
        }
        closed.await;
    }
}

fn closed() -> Refusal {
    let message = "the broker was closed, or the session opened over another connection, before \
                   there was an answer";
    Refusal::new(RefusalCode::Unavailable, message)
}

/// Relations between settings that no one of them can be checked for alone.
fn check(engine: &EngineConfig, log: &LogConfig) -> Result<(), OpenError> {
    let limits = &engine.limits;
    // The largest records are an envelope with everything that it may have, and an agent's card.
    let envelope = limits.payload_bytes
        + limits.headers * limits.header_bytes
        + limits.destinations * 128
        + limits.reason_bytes;
    let card = limits.card_entries * 4 * limits.header_bytes + 2 * limits.reason_bytes;
    let needed = envelope.max(card) + (4 << 10);
    if needed > log.max_body_bytes {
        return Err(OpenError::Setting(format!(
            "log.max_body_bytes is {}, but the limits on envelopes and cards (payload_bytes {}, \
             headers {}, card_entries {} and others) need {needed}; raise the one or lower the others",
            log.max_body_bytes, limits.payload_bytes, limits.headers, limits.card_entries
        )));
    }
    for (name, span) in [("lease", engine.lease), ("resume_grace", engine.resume_grace)] {
        if span.is_zero() {
            return Err(OpenError::Setting(format!("{name} is zero; it must be longer")));
        }
    }
    Ok(())
}

/// Opens the store and rebuilds the engine from it. Returns the sequence of the last record that
/// was found.
fn open(config: BrokerConfig) -> Result<(Core, Option<(Log, Sequence)>), OpenError> {
    let BrokerConfig { store, engine: mut settings, log: log_config } = config;
    let storage: Option<Arc<dyn Storage>> = match store {
        Store::Memory => None,
        Store::Directory(path) => Some(Arc::new(Directory::open(path)?)),
        Store::Custom(storage) => Some(storage),
    };
    settings.logged = storage.is_some();
    settings.seed = fastrand::u64(..);
    let partition = settings.partition.0;
    check(&settings, &log_config)?;
    let clock = Clock::new();
    let mut engine = Engine::new(settings);
    let mut out = Output::default();
    let mut batch = log_config.batch();
    let Some(storage) = storage else {
        engine.start(clock.now(), &mut out);
        return Ok((Core::new(engine, clock, batch, partition), None));
    };
    let (mut log, recovery) = Log::open(storage, log_config, |found| {
        let record = Record::decode(found.tag, found.body)?;
        Ok(engine.replay(Sequence(found.sequence), record)?)
    })?;
    engine.start(clock.now(), &mut out);
    // The epoch must be on disk before any token of it is used.
    let first_write = |error: String| OpenError::FirstWrite(error);
    for (sequence, record) in out.records.drain(..) {
        batch
            .push(partition, sequence.0, record.tag(), |body| record.encode(body))
            .map_err(|error| first_write(error.to_string()))?;
    }
    log.write(&mut batch).map_err(|error| first_write(error.to_string()))?;
    log.sync().map_err(|error| first_write(error.to_string()))?;
    let latest = engine.sequence();
    engine.durable(clock.now(), latest, latest, &mut out);
    // The log counts from here what it has written since it was opened.
    let base = Sequence(latest.0 - log.written());
    let mut core = Core::new(engine, clock, batch, partition);
    core.log.recovered = recovery.records;
    if let Some(torn) = &recovery.torn {
        let bytes = torn.bytes;
        tracing::warn!(bytes, "the log ends in writes that were never flushed; they are given up");
    }
    Ok((core, Some((log, base))))
}
