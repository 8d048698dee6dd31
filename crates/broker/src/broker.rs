//! The broker: opening, asking, draining.

use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::connection::BrokerConnection;
use crate::core::{Input, Threads, Told};
use crate::error::OpenError;
use crate::index::{Feed, Index, IndexThread, Keep, Lists, Retention};
use crate::listing::Listing;
use crate::loading::{LoadThread, Payloads};
use crate::open::{self, Opened, Settings};
use crate::partition::Partition;
use crate::port::Port;
use crate::settings;
use crate::timer;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use trunkline_engine::{Command, Engine, EngineConfig, merge_changes};
use trunkline_log::Committer;
use trunkline_types::session::{BoxFuture, Companion, Connected, Connector, Hello, Sink};
use trunkline_types::{Answer, Principal, Query, Refusal, RefusalCode, Sequence, TaskFilter};

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
    settings: Arc<Settings>,
    /// Told how long ended tasks and dead letters are kept on disk.
    feed: Option<Arc<Feed>>,
}

/// A broker as one principal sees it: sessions opened through it are the principal's.
#[derive(Clone)]
pub struct BrokerHandle {
    partition: Arc<Partition>,
    /// Lists the ended tasks and dead letters that are not in memory.
    lists: Option<Arc<Lists>>,
    principal: Principal,
    companion: Companion,
}

/// How a broker is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BrokerState {
    /// It takes work.
    Ready,
    /// It lets its sessions finish what they hold, and takes no new sessions and no new work.
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
        let at_rest = config.at_rest;
        let opened = runtime.spawn_blocking(move || open::open(config)).await;
        let Opened { core, log, payloads, index, filters, settings } =
            opened.map_err(|error| OpenError::Start(error.to_string()))??;
        let clock = core.clock.clone();
        let base = log.as_ref().map_or(Sequence(0), |(_, base)| *base);
        let partition = Partition::new(core, filters, base, runtime.clone());
        let lists = index.as_ref().map(|index| index.lists.clone());
        let mut feed = None;
        if let Some((log, _)) = log {
            let retention = retention(&settings.engine.lock());
            let index = start_index(index, &partition, clock.clone(), retention);
            feed = index.as_ref().map(|index| index.feed().clone());
            let target = Arc::downgrade(&partition);
            let on_progress = move |progress| {
                if let Some(partition) = target.upgrade() {
                    partition.progress(progress);
                    partition.let_go();
                }
            };
            let committer = Committer::start(log, Box::new(on_progress), at_rest)
                .map_err(|error| OpenError::Start(error.to_string()))?;
            let (ahead, looked_up) = payloads.unzip();
            let loads = ahead.map(|payloads| start_loads(payloads, &partition)).transpose();
            let loads = loads.map_err(|error| OpenError::Start(error.to_string()))?;
            let threads = Threads { index, loads, looked_up, committer: Some(committer) };
            partition.look(|core| core.take_threads(threads));
        }
        runtime.spawn(timer::run(Arc::downgrade(&partition), partition.alarm.clone(), clock));
        partition.bring(Input::Tick);
        let (principal, companion) = (Principal::default(), Companion::default());
        let handle = BrokerHandle { partition, lists, principal, companion };
        Ok(Self { handle, settings: Arc::new(settings), feed })
    }

    /// The broker as a principal sees it. The caller answers for the principal being who it says.
    pub fn as_principal(&self, principal: Principal) -> BrokerHandle {
        let (partition, companion) = (self.handle.partition.clone(), Companion::default());
        let lists = self.handle.lists.clone();
        BrokerHandle { partition, lists, principal, companion }
    }

    /// How the broker is.
    pub fn state(&self) -> BrokerState {
        self.handle.partition.state.borrow().clone()
    }

    /// Follows how the broker is.
    pub fn watch_state(&self) -> watch::Receiver<BrokerState> {
        self.handle.partition.state.subscribe()
    }

    /// Lets other settings of the engine be in force from now on: leases, backoff, limits, bounds,
    /// weights, policies, breakers and everything else but those that only take effect when a
    /// broker is opened. What was decided by the settings before stays. Returns the names of the
    /// settings that differ from those in force and stay as they are until then: `partition`,
    /// `key_window`. What the broker itself sets is of no account, see
    /// [`BrokerConfig::engine`].
    ///
    /// # Errors
    /// [`OpenError::Setting`] if a setting is out of its range or does not go with another;
    /// nothing has changed then.
    pub fn reconfigure(&self, wanted: EngineConfig) -> Result<Vec<&'static str>, OpenError> {
        let mut engine = self.settings.engine.lock();
        let (config, kept) = settings::merged(&engine, wanted);
        settings::check(&config, &self.settings.log)?;
        *engine = config.clone();
        if let Some(feed) = &self.feed {
            feed.retain(retention(&engine));
        }
        let command = Command::Configure(Box::new(config));
        self.handle.partition.bring(Input::Command(command));
        Ok(kept)
    }

    /// Puts the broker's clocks forward, as if so much time had passed: what was to come meanwhile
    /// comes now. For tests of what takes long.
    ///
    /// A deadline that is overshot by more than [`EngineConfig::absence_tolerance`] looks as if the
    /// broker had been away, which keeps leases alive; go by [`Broker::due_in`] to meet each.
    pub fn skip(&self, span: Duration) {
        let partition = &self.handle.partition;
        partition.look(|core| core.clock.skip(span));
        partition.alarm.look();
        partition.bring(Input::Tick);
    }

    /// How long until something comes due by itself, such as a retry, the end of a time to live or
    /// of a lease, or a schedule; `None` if nothing will. There may turn out to be nothing to do
    /// then.
    pub fn due_in(&self) -> Option<Duration> {
        self.handle.partition.look(|core| {
            let (now, deadline) = (core.clock.now(), core.engine.deadline());
            let mono =
                deadline.mono.map(|at| Duration::from_nanos(at.0.saturating_sub(now.mono.0)));
            let wall = deadline.wall.map(|at| at.since(now.wall));
            mono.into_iter().chain(wall).min()
        })
    }

    /// What a draining broker answers to new sessions and new work, with a hint when to try again.
    pub fn draining() -> Refusal {
        Engine::draining()
    }

    /// Shuts down: takes and delivers nothing new, tells every session to go as soon as it neither
    /// holds a delivery nor waits for the reply to one that is held, waits up to `grace` for all of
    /// them to leave, tells those that are left, counts what is ephemeral as lost, and closes the
    /// log. Idempotent.
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
        let (closer, threads) = oneshot::channel();
        partition.bring(Input::Stop(closer));
        if let Ok(Threads { index, loads, looked_up, committer: Some(committer) }) = threads.await {
            let close = move || {
                drop((index, loads, looked_up));
                committer.close()
            };
            match tokio::task::spawn_blocking(close).await {
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
            let port = Arc::new(Port::new(sink, sender, self.partition.handed.clone()));
            let key = self.partition.connection_key();
            let principal = self.principal.clone();
            self.partition.filters.prepare(&hello.subscriptions);
            let hello = Box::new(hello);
            // Made first, so that a caller that gives up waiting leaves no connection behind.
            let tenant = principal.tenant.clone();
            let connection = BrokerConnection::new(self.partition.clone(), key, tenant);
            let connection = Arc::new(connection);
            self.partition.bring(Input::Connect { connection: key, principal, hello, port });
            let welcome = receiver.await.unwrap_or_else(|_| Err(closed()))?;
            Ok(Connected { connection, welcome: *welcome })
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        Box::pin(async move {
            let listing = self.lists.clone().and_then(|lists| Listing::of(lists, &query));
            let Told { result, known } = match query {
                Query::Tasks(filter) if filter.by_change => self.changes(filter).await,
                query => self.ask(query).await,
            };
            match listing {
                Some(listing) => {
                    listing.complete(self.principal.tenant.clone(), result, known).await
                }
                None => result,
            }
        })
    }

    fn companion(&self) -> Option<&Companion> {
        Some(&self.companion)
    }
}

impl BrokerHandle {
    /// What the engine answers.
    async fn ask(&self, question: Query) -> Told {
        let (asker, answer) = oneshot::channel();
        let (principal, question) = (self.principal.clone(), Box::new(question));
        self.partition.bring(Input::Ask { principal, question, asker });
        answer.await.unwrap_or_else(|_| closed().into())
    }

    /// The tasks in memory by their latest changes. The engine looks at some in one turn, and is asked
    /// until it has looked at all.
    async fn changes(&self, filter: TaskFilter) -> Told {
        let (mut wanted, mut merged) = (filter.clone(), None);
        loop {
            let Told { result, known } = self.ask(Query::Tasks(wanted.clone())).await;
            let mut page = match result {
                Ok(Answer::Tasks(page)) => page,
                result => return Told { result, known },
            };
            let next = page.next.take();
            let all = match merged.take() {
                None => page,
                Some(merged) => merge_changes(&filter, merged, page),
            };
            let Some(next) = next else {
                return Told { result: Ok(Answer::Tasks(all)), known };
            };
            (wanted.before, merged) = (Some(next), Some(all));
        }
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

/// How long ended tasks and dead letters are kept on disk.
fn retention(config: &EngineConfig) -> Retention {
    Retention {
        tasks: Keep { keep: config.ended_task_keep, bytes: config.ended_task_disk_bytes },
        letters: Keep { keep: config.dead_letter_keep, bytes: config.dead_letter_disk_bytes },
    }
}

/// Starts the thread that reads payloads.
fn start_loads(payloads: Payloads, partition: &Arc<Partition>) -> std::io::Result<LoadThread> {
    let target = Arc::downgrade(partition);
    LoadThread::start(payloads, move |payloads| {
        if let Some(partition) = target.upgrade() {
            partition.bring(Input::Command(Command::Loaded { payloads }));
            partition.let_go();
        }
    })
}

/// Starts the thread that fills the index. Without it everything stays in memory, which is no
/// reason not to start.
fn start_index(
    index: Option<Index>,
    partition: &Arc<Partition>,
    clock: Clock,
    retention: Retention,
) -> Option<IndexThread> {
    let target = Arc::downgrade(partition);
    let on_commit = move |through| {
        if let Some(partition) = target.upgrade() {
            partition.bring(Input::Command(Command::Indexed { through }));
            partition.let_go();
        }
    };
    let target = Arc::downgrade(partition);
    let on_kept = move |through| {
        if let Some(partition) = target.upgrade() {
            partition.bring(Input::IndexKept { through });
            partition.let_go();
        }
    };
    let target = Arc::downgrade(partition);
    let on_stopped = move || {
        if let Some(partition) = target.upgrade() {
            partition.bring(Input::Command(Command::IndexStopped));
            partition.let_go();
        }
    };
    let started = index?.start(clock, retention, on_commit, on_kept, on_stopped);
    started.inspect_err(|error| tracing::warn!(%error, "the index is not filled")).ok()
}
