//! Servers of A2A elsewhere as agents of the broker.
//!
//! What is set about each is a task of the broker itself, for the agent [`PROXIER`], which lets it
//! wait: so it is as durable as any task, and a restart finds it again. While the card of a server
//! can be read there is an agent of its id, whose deliveries are said to it.

mod agent;
mod before;
mod clients;
mod follow;
mod grpc;
mod http;
mod private;
mod relay;
mod say;
mod settings;
mod turn;
mod wait;

pub use private::LetPrivate;

use crate::http::Way;
use crate::hub::Hub;
use agent::{Keeper, Shared, refused};
use parking_lot::Mutex;
use settings::{Kept, check, named};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use trunkline_a2a::wire::AgentSkill;
use trunkline_a2a::{Gateway, PROXIER};
use trunkline_agent::{Agent, HandlerError, HandlerResult, Host, Task};
use trunkline_types::session::{Connector, Operation};
use trunkline_types::{
    A2aAgent, A2aAgentSettings, AgentFilter, AgentId, Answer, Destination, Envelope, Kind,
    MessageId, PauseReason, Principal, Publish, Query, Refusal, RefusalCode, TaskFilter, TaskState,
    TenantId,
};

/// Most agents elsewhere.
const MOST: usize = 1_000;
/// When to look again for a broker that was not there.
const PAUSE: Duration = Duration::from_secs(1);

/// The agents elsewhere of a server.
#[derive(Default)]
pub(crate) struct Proxies {
    known: Mutex<BTreeMap<AgentId, Entry>>,
    /// What lets the tasks wait that say what is set. Held while that changes.
    registrar: tokio::sync::Mutex<Option<Agent>>,
    stop: CancellationToken,
}

struct Entry {
    shared: Arc<Shared>,
    /// The task that says what is set.
    order: MessageId,
    end: CancellationToken,
    run: JoinHandle<()>,
}

/// Agents elsewhere serve the default tenant: what the broker notes of them lies there.
///
/// # Errors
/// A [`Refusal`] with code `forbidden` if the caller acts for another.
pub(crate) fn check_tenant(caller: &Principal) -> Result<(), Refusal> {
    if caller.tenant == TenantId::default() {
        return Ok(());
    }
    let message = format!(
        "agents elsewhere belong to the tenant '{}', and the caller acts for '{}'",
        TenantId::default(),
        caller.tenant
    );
    Err(Refusal::new(RefusalCode::Forbidden, message))
}

impl Proxies {
    /// Makes a server elsewhere an agent of the broker.
    ///
    /// # Errors
    /// A [`Refusal`]: something is out of range, the card cannot be had or is none, leads back
    /// here or where it must not, or the id is taken.
    pub(crate) async fn add(
        &self,
        hub: &Arc<Hub>,
        mut settings: A2aAgentSettings,
    ) -> Result<A2aAgent, Refusal> {
        check(&settings)?;
        if settings.allow_private && !hub.config.lets_be_private() {
            return Err(refused(format!(
                "clients may not let agents elsewhere be at private addresses here, because \
                 server.a2a_proxy_private is {}; server.a2a_proxy_allow could allow the host",
                hub.config.a2a_proxy_private
            )));
        }
        let gateway: Arc<dyn Gateway> = Arc::new(Way(hub.clone()));
        // Under whatever name: its card says that.
        let asking = settings.id.clone().map_or_else(|| AgentId::new(PROXIER), Ok);
        let asking = asking.map_err(|error| refused(error.to_string()))?;
        let shared =
            Shared::new(hub, gateway.clone(), asking, settings.clone()).map_err(refused)?;
        let (card, tag) = shared.first().await.map_err(refused)?;
        let id = match settings.id.take() {
            Some(id) => id,
            None => AgentId::new(named(&card.name).to_lowercase()).map_err(|_no_id| {
                refused(format!("the name '{}' makes no id; choose one", card.name))
            })?,
        };
        settings.id = Some(id.clone());
        check(&settings)?;
        let mut registrar = self.registrar.lock().await;
        self.check_room(&id)?;
        if has_agent(gateway.as_ref(), &id).await? {
            let message = format!("there is an agent '{id}' already; choose another id");
            return Err(Refusal::new(RefusalCode::AlreadyTaken, message));
        }
        self.start(hub, &mut registrar).await?;
        let order = keep(hub, gateway.as_ref(), &id, &settings).await?;
        let shared = Shared::new(hub, gateway.clone(), id.clone(), settings).map_err(refused)?;
        let (shared, end) = (Arc::new(shared), self.stop.child_token());
        let mut keeper = Keeper::new(shared.clone(), hub.clone(), end.clone());
        if let Err(refusal) = keeper.begin(card, tag).await {
            forget(gateway.as_ref(), order).await?;
            return Err(refusal);
        }
        let shown = shared.shown();
        let run = tokio::spawn(keeper.run());
        self.known.lock().insert(id, Entry { shared, order, end, run });
        drop(registrar);
        Ok(shown)
    }

    fn check_room(&self, id: &AgentId) -> Result<(), Refusal> {
        if self.stop.is_cancelled() {
            return Err(Refusal::new(RefusalCode::Draining, "the broker shuts down"));
        }
        let known = self.known.lock();
        if known.contains_key(id) {
            let message = format!(
                "there is an agent '{id}' elsewhere already; choose another id, or remove it first"
            );
            return Err(Refusal::new(RefusalCode::AlreadyTaken, message));
        }
        if known.len() >= MOST {
            return Err(refused(format!("there are {MOST} agents elsewhere, which is the limit")));
        }
        Ok(())
    }

    /// Every agent elsewhere, in the order of their ids.
    pub(crate) fn list(&self) -> Vec<A2aAgent> {
        self.known.lock().values().map(|entry| entry.shared.shown()).collect()
    }

    /// What an agent elsewhere tells of its skills; nothing of any other agent.
    pub(crate) fn skills(&self, id: &AgentId) -> Vec<AgentSkill> {
        let known = self.known.lock();
        known.get(id).map(|entry| entry.shared.skills()).unwrap_or_default()
    }

    /// Calls an agent elsewhere no more, and takes it out of the directory.
    ///
    /// # Errors
    /// A [`Refusal`]: there is none of this id, or the broker's.
    pub(crate) async fn remove(&self, hub: &Arc<Hub>, id: &AgentId) -> Result<(), Refusal> {
        let registrar = self.registrar.lock().await;
        let order = self.known.lock().get(id).map(|entry| entry.order);
        let Some(order) = order else {
            let message = format!("there is no agent '{id}' elsewhere");
            return Err(Refusal::new(RefusalCode::NotFound, message));
        };
        let gateway = Way(hub.clone());
        forget(&gateway, order).await?;
        let entry = self.known.lock().remove(id);
        if let Some(Entry { end, run, .. }) = entry {
            end.cancel();
            let _ended = run.await;
        }
        let operation = Operation::Unregister { agent: id.clone() };
        let done = gateway.operate(Principal::default(), operation).await;
        drop(registrar);
        match done {
            // It was never registered since the broker started, or somebody was faster.
            Err(refusal) if refusal.code == RefusalCode::NotFound => Ok(()),
            done => done,
        }
    }

    /// Sees to it that what is set can be kept.
    async fn start(&self, hub: &Hub, registrar: &mut Option<Agent>) -> Result<(), Refusal> {
        if registrar.is_some() {
            return Ok(());
        }
        let connector: Arc<dyn Connector> = hub.connector(Principal::default())?;
        let agent = connector
            .agent(PROXIER)
            .description("Keeps which servers of A2A elsewhere are agents of this broker.")
            .workers(1..=1)
            .prefetch(0)
            .on_message(wait)
            .start();
        *registrar = Some(agent.await?);
        Ok(())
    }

    /// Takes up the agents that are known since before a restart.
    pub(crate) async fn resume(&self, hub: &Arc<Hub>) {
        if hub.watch_broker().await.is_none() {
            return;
        }
        loop {
            match self.take_up(hub).await {
                Ok(()) => return,
                Err(refusal) => tracing::warn!(%refusal, "cannot take up agents elsewhere yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn take_up(&self, hub: &Arc<Hub>) -> Result<(), Refusal> {
        let gateway: Arc<dyn Gateway> = Arc::new(Way(hub.clone()));
        if !has_agent(gateway.as_ref(), &registrar_id()?).await? {
            return Ok(());
        }
        let mut registrar = self.registrar.lock().await;
        self.start(hub, &mut registrar).await?;
        for order in orders(gateway.as_ref()).await? {
            let query = Query::Task { id: order, history_length: None };
            let Answer::Task(task) = gateway.query(Principal::default(), query).await? else {
                continue;
            };
            let first = task.history.messages.first();
            let Some((id, settings)) = first.and_then(|said| Kept::read(&said.payload)) else {
                tracing::warn!(task = %order, "what is set about an agent elsewhere is unreadable");
                continue;
            };
            if self.check_room(&id).is_err() {
                continue;
            }
            let shared =
                Shared::new(hub, gateway.clone(), id.clone(), settings).map_err(refused)?;
            let (shared, end) = (Arc::new(shared), self.stop.child_token());
            let mut keeper = Keeper::new(shared.clone(), hub.clone(), end.clone());
            let run = tokio::spawn(async move {
                keeper.look().await;
                keeper.run().await;
            });
            self.known.lock().insert(id, Entry { shared, order, end, run });
        }
        drop(registrar);
        Ok(())
    }

    /// Gives back what is held, and calls nobody any more.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        let mut registrar = self.registrar.lock().await;
        let known = std::mem::take(&mut *self.known.lock());
        for entry in known.into_values() {
            let _ended = entry.run.await;
        }
        if let Some(agent) = registrar.take() {
            agent.stop().await;
        }
    }
}

/// Lets a task wait until it is called off.
async fn wait(task: Task) -> HandlerResult<()> {
    if task.envelope().destination == Destination::All {
        // What is said to everybody sets nothing.
        return Ok(());
    }
    Err(HandlerError::pause(PauseReason::Input, None))
}

fn registrar_id() -> Result<AgentId, Refusal> {
    AgentId::new(PROXIER).map_err(|error| refused(error.to_string()))
}

async fn has_agent(gateway: &dyn Gateway, id: &AgentId) -> Result<bool, Refusal> {
    let filter = AgentFilter { id: Some(id.clone()), limit: 1, ..AgentFilter::default() };
    match gateway.query(Principal::default(), Query::Agents(filter)).await? {
        Answer::Agents(page) => Ok(!page.agents.is_empty()),
        _ => Err(Refusal::new(RefusalCode::Unavailable, "the broker's answer is no agents")),
    }
}

/// Keeps what is set.
async fn keep(
    hub: &Hub,
    gateway: &dyn Gateway,
    id: &AgentId,
    settings: &A2aAgentSettings,
) -> Result<MessageId, Refusal> {
    let to = Destination::Agent(registrar_id()?);
    let payload = Kept::new(id, settings).payload();
    let envelope = Envelope::new(hub.ids.message(), Kind::Request, to, payload);
    let mut publish = Publish::new(envelope);
    publish.options.task = true;
    Ok(gateway.publish(Principal::default(), Arc::new(publish)).await?.id)
}

async fn forget(gateway: &dyn Gateway, order: MessageId) -> Result<(), Refusal> {
    let reason = "removed by an operator".to_owned();
    let operation = Operation::Cancel { id: order, reason, descendants: false };
    match gateway.operate(Principal::default(), operation).await {
        Err(refusal) if refusal.code == RefusalCode::WrongState => Ok(()),
        done => done,
    }
}

/// The tasks that say what is set, the oldest first.
async fn orders(gateway: &dyn Gateway) -> Result<Vec<MessageId>, Refusal> {
    let to = registrar_id()?;
    let states = TaskState::ALL.iter().copied().filter(|state| !state.is_terminal());
    let mut filter = TaskFilter {
        states: states.collect(),
        agent: Some(to.clone()),
        limit: 1_000,
        ..TaskFilter::default()
    };
    let mut orders = Vec::new();
    loop {
        let query = Query::Tasks(filter.clone());
        let Answer::Tasks(page) = gateway.query(Principal::default(), query).await? else {
            let message = "the broker's answer is no tasks";
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        };
        let is_ours =
            |to_task: &Destination| matches!(to_task, Destination::Agent(it) if *it == to);
        orders.extend(page.tasks.iter().filter(|it| is_ours(&it.destination)).map(|it| it.id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    orders.reverse();
    Ok(orders)
}
