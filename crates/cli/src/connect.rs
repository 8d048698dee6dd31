//! The way to the broker that a command talks to.

use crate::args::Reach;
use crate::error::CliError;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use trunkline_agent::{Host, Session};
use trunkline_client::{Client, ClientConfig};
use trunkline_types::session::{
    BoxFuture, Connected, Connector, Hello, SessionItem, Sink, Welcome,
};
use trunkline_types::{
    A2aAgent, A2aAgentSettings, AgentFilter, AgentId, AgentPage, Answer, ContextId,
    ContextSnapshot, DeadLetterFilter, DeadLetterPage, InboxAddress, InboxInfo, MessageId,
    MessageStatus, Query, Refusal, RefusalCode, ScheduleFilter, SchedulePage, Stats, TaskFilter,
    TaskPage, TaskSnapshot,
};

/// How long the broker may take to hear a session's goodbye before the process ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Is told each time a session is welcomed again after its connection broke.
type OnReconnect = Arc<dyn Fn(&Welcome) + Send + Sync>;

/// A way to the broker. Clones share it.
///
/// Besides what a [`Client`] does, it says when a session has come back, and it can wait until
/// the broker has heard all goodbyes: a process that ends before that leaves a session behind for
/// which the broker waits in vain.
#[derive(Clone)]
pub(crate) struct Link {
    client: Client,
    sessions: TaskTracker,
    on_reconnect: Option<OnReconnect>,
}

impl Link {
    /// The way to the broker that the command line names. Nothing is dialled yet.
    pub(crate) fn new(reach: &Reach) -> Result<Self, CliError> {
        let config = ClientConfig::new(reach.url()).transport(reach.transport);
        let config = match &reach.principal {
            Some(principal) => config.principal(principal),
            None => config,
        };
        let config = config.tenant(reach.tenant.clone().unwrap_or_default());
        let client = Client::new(&config).map_err(|refusal| CliError::usage(refusal.message))?;
        Ok(Self { client, sessions: TaskTracker::new(), on_reconnect: None })
    }

    /// The same, telling of every reconnect.
    pub(crate) fn on_reconnect(mut self, tell: impl Fn(&Welcome) + Send + Sync + 'static) -> Self {
        self.on_reconnect = Some(Arc::new(tell));
        self
    }

    /// Where the broker listens.
    pub(crate) fn url(&self) -> &str {
        self.client.url()
    }

    /// Opens a session.
    pub(crate) async fn open(&self) -> Result<Session, CliError> {
        Ok(self.session().await?)
    }

    /// Waits until the broker has heard that the sessions are over, for a bounded time. All of
    /// them must be closed by then.
    pub(crate) async fn farewell(&self) {
        self.sessions.close();
        // A broker that is not there now hears nothing; it forgets the session by itself.
        let _ = tokio::time::timeout(FAREWELL, self.sessions.wait()).await;
    }

    /// Opens a session, has something done over it, and waits until the broker has heard that it
    /// is over.
    pub(crate) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&Session) -> Result<T, Refusal>,
    ) -> Result<T, CliError> {
        let session = self.open().await?;
        let result = work(&session).await;
        session.close();
        self.farewell().await;
        Ok(result?)
    }

    /// A message of any kind as it stands.
    pub(crate) async fn message(&self, id: MessageId) -> Result<MessageStatus, CliError> {
        match self.query(Query::Message(id)).await? {
            Answer::Message(message) => Ok(*message),
            other => Err(unexpected(&other)),
        }
    }

    /// An inbox as it stands.
    pub(crate) async fn inbox(&self, inbox: InboxAddress) -> Result<InboxInfo, CliError> {
        match self.query(Query::Inbox(inbox)).await? {
            Answer::Inbox(inbox) => Ok(*inbox),
            other => Err(unexpected(&other)),
        }
    }

    /// Schedules in order of their names.
    pub(crate) async fn schedules(&self, filter: ScheduleFilter) -> Result<SchedulePage, CliError> {
        match self.query(Query::Schedules(filter)).await? {
            Answer::Schedules(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// A task as it stands.
    pub(crate) async fn task(&self, id: MessageId) -> Result<TaskSnapshot, CliError> {
        self.task_with_history(id, Some(0)).await
    }

    /// A task as it stands with its latest messages.
    pub(crate) async fn task_with_history(
        &self,
        id: MessageId,
        history_length: Option<u32>,
    ) -> Result<TaskSnapshot, CliError> {
        match self.query(Query::Task { id, history_length }).await? {
            Answer::Task(task) => Ok(*task),
            other => Err(unexpected(&other)),
        }
    }

    /// A conversation as it stands with its latest messages.
    pub(crate) async fn context(
        &self,
        id: ContextId,
        history_length: Option<u32>,
    ) -> Result<ContextSnapshot, CliError> {
        match self.query(Query::Context { id, history_length }).await? {
            Answer::Context(context) => Ok(*context),
            other => Err(unexpected(&other)),
        }
    }

    /// Tasks, newest first.
    pub(crate) async fn tasks(&self, filter: TaskFilter) -> Result<TaskPage, CliError> {
        match self.query(Query::Tasks(filter)).await? {
            Answer::Tasks(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Agents in order of their ids.
    pub(crate) async fn agents(&self, filter: AgentFilter) -> Result<AgentPage, CliError> {
        match self.query(Query::Agents(filter)).await? {
            Answer::Agents(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Dead letters, newest first.
    pub(crate) async fn dead_letters(
        &self,
        filter: DeadLetterFilter,
    ) -> Result<DeadLetterPage, CliError> {
        match self.query(Query::DeadLetters(filter)).await? {
            Answer::DeadLetters(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a server of A2A elsewhere an agent of the broker.
    pub(crate) async fn add_a2a_agent(
        &self,
        settings: A2aAgentSettings,
    ) -> Result<A2aAgent, CliError> {
        Ok(self.client.add_a2a_agent(settings).await?)
    }

    /// The servers of A2A elsewhere that are agents of the broker.
    pub(crate) async fn a2a_agents(&self) -> Result<Vec<A2aAgent>, CliError> {
        Ok(self.client.a2a_agents().await?)
    }

    /// Has a server of A2A elsewhere called no more.
    pub(crate) async fn remove_a2a_agent(&self, id: AgentId) -> Result<(), CliError> {
        Ok(self.client.remove_a2a_agent(id).await?)
    }

    /// The broker's figures.
    pub(crate) async fn stats(&self) -> Result<Stats, CliError> {
        match self.query(Query::Stats).await? {
            Answer::Stats(stats) => Ok(*stats),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Answer) -> CliError {
    let message = format!("the broker answered another question: {answer:?}");
    Refusal::new(RefusalCode::Invalid, message).into()
}

impl Connector for Link {
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>> {
        let on_reconnect = self.on_reconnect.clone();
        let sink = Arc::new(Told { sink, on_reconnect, _alive: self.sessions.token() });
        Box::pin(async move {
            let begun = Instant::now();
            loop {
                let connected = self.client.connect(hello.clone(), sink.clone()).await;
                match connected {
                    Err(refusal) if is_recovering(&refusal) && begun.elapsed() < RECOVERY => {
                        tokio::time::sleep(LOOK).await;
                    }
                    connected => return connected,
                }
            }
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        self.client.query(query)
    }
}

/// How long a command waits for a broker that is there but still reads its log.
const RECOVERY: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);

/// Whether a broker is there that will soon be ready.
fn is_recovering(refusal: &Refusal) -> bool {
    refusal.code == RefusalCode::Unavailable && refusal.message.contains("recovering")
}

/// A sink that passes everything on; it is dropped when its session's connection is over.
struct Told {
    sink: Arc<dyn Sink>,
    on_reconnect: Option<OnReconnect>,
    _alive: TaskTrackerToken,
}

impl Sink for Told {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        self.sink.accept(items);
    }

    fn reconnected(&self, welcome: &Welcome) {
        self.sink.reconnected(welcome);
        if let Some(tell) = &self.on_reconnect {
            tell(welcome);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("client", &self.client).finish_non_exhaustive()
    }
}
