//! Webhooks of A2A: the agent that has orders for them, and the client that calls them.
//!
//! The agent is one of the broker's own and uses nothing but the public interface: orders wait in
//! its inbox, are held while their task goes on, and go back when the server ends. It is started
//! with the first order, and after a restart if there ever was one.

mod allow;
mod hidden;
mod post;

pub use allow::Allowed;
pub(crate) use hidden::hide;
pub(crate) use post::{Guarded, check, check_for, told};

use post::{Client, Target};

use crate::hub::Hub;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use trunkline_a2a::{A2a, FaultKind, PUSHER, SENT};
use trunkline_agent::{Agent, HandlerError, HandlerResult, Host, Task};
use trunkline_types::session::{Connector, Operation};
use trunkline_types::{
    AgentFilter, AgentId, Answer, Destination, MessageId, Payload, Principal, Query, Refusal,
    RefusalCode, TaskFilter, TaskState,
};

/// How many webhooks are followed at once.
const WORKERS: u32 = 4_096;
/// When to look again for a broker that was not there.
const PAUSE: Duration = Duration::from_secs(1);

/// The webhooks of a server.
#[derive(Default)]
pub(crate) struct Pushes {
    /// What tells what is to be told; there once the routes are.
    a2a: Mutex<Option<A2a>>,
    agent: tokio::sync::Mutex<Option<Agent>>,
    stop: CancellationToken,
}

impl Pushes {
    /// From now on orders can be read.
    pub(crate) fn attach(&self, a2a: A2a) {
        *self.a2a.lock() = Some(a2a);
    }

    /// Sees to it that the agent is there.
    pub(crate) async fn start(&self, hub: &Hub) -> Result<(), String> {
        self.start_as(&mut *self.agent.lock().await, hub).await
    }

    async fn start_as(&self, agent: &mut Option<Agent>, hub: &Hub) -> Result<(), String> {
        if agent.is_some() {
            return Ok(());
        }
        if self.stop.is_cancelled() {
            return Err("cannot be called: the broker shuts down".to_owned());
        }
        let Some(a2a) = self.a2a.lock().clone() else {
            return Err("cannot be called: the server does not serve A2A".to_owned());
        };
        let connector = hub.connector(Principal::default());
        let connector = connector.map_err(|refusal| refusal.message)?;
        let client = Arc::new(Client::new(&hub.config)?);
        let stop = self.stop.clone();
        let deliver = move |task: Task| {
            let (a2a, client, stop) = (a2a.clone(), client.clone(), stop.clone());
            async move {
                tokio::select! {
                    // Given back rather than waited for.
                    () = stop.cancelled() => Err(HandlerError::release()),
                    done = deliver(&a2a, &client, &task) => done,
                }
            }
        };
        let started = connector
            .agent(PUSHER)
            .description("Calls the webhooks that clients of A2A have set.")
            .workers(1..=WORKERS)
            .prefetch(0)
            .on_message(deliver)
            .start();
        *agent = Some(started.await.map_err(|refusal| refusal.message)?);
        Ok(())
    }

    /// Takes up the orders that are there since before a restart.
    pub(crate) async fn resume(&self, hub: &Hub) {
        if !hub.config.a2a || hub.watch_broker().await.is_none() {
            return;
        }
        loop {
            match self.take_up(hub).await {
                Ok(()) => return,
                Err(reason) => tracing::warn!(reason, "cannot call webhooks yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn take_up(&self, hub: &Hub) -> Result<(), String> {
        let told = |refusal: Refusal| refusal.message;
        let connector = hub.connector(Principal::default()).map_err(told)?;
        let id = AgentId::new(PUSHER).map_err(|error| error.to_string())?;
        let filter = AgentFilter { id: Some(id.clone()), limit: 1, ..AgentFilter::default() };
        let agents = connector.query(Query::Agents(filter)).await.map_err(told)?;
        let is_known = matches!(agents, Answer::Agents(page) if !page.agents.is_empty());
        // The broker may have been killed when it was unregistered and not registered anew.
        let states = TaskState::ALL.iter().copied().filter(|state| !state.is_terminal());
        let states = states.collect();
        let filter =
            TaskFilter { states, agent: Some(id.clone()), limit: 1, ..TaskFilter::default() };
        let orders = connector.query(Query::Tasks(filter)).await.map_err(told)?;
        let has_orders = matches!(orders, Answer::Tasks(page) if !page.tasks.is_empty());
        if !is_known && !has_orders {
            return Ok(());
        }
        let mut agent = self.agent.lock().await;
        // If somebody was faster to set a webhook, it is there and holds what it follows.
        if is_known && agent.is_none() {
            forget_former(hub, id).await.map_err(told)?;
        }
        self.start_as(&mut agent, hub).await
    }

    /// Gives back what is held, and calls nobody any more.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        let agent = self.agent.lock().await.take();
        if let Some(agent) = agent {
            agent.stop().await;
        }
        self.a2a.lock().take();
    }
}

/// Has what the agent of a broker that was killed held come back at once, and not when its lease has
/// run out: nobody else can be this agent.
async fn forget_former(hub: &Hub, agent: AgentId) -> Result<(), Refusal> {
    let calls = hub.calls(Principal::default()).await?;
    match calls.get()?.operate(Operation::Unregister { agent }).await {
        Err(refusal) if refusal.code != RefusalCode::NotFound => Err(refusal),
        _ => Ok(()),
    }
}

/// Tells a webhook everything that is still to be told.
async fn deliver(a2a: &A2a, client: &Client, task: &Task) -> HandlerResult<()> {
    let envelope = task.envelope();
    if envelope.destination == Destination::All {
        // What is said to everybody is no order.
        return Ok(());
    }
    let orders = [Some(envelope.id), envelope.redriven_from.as_deref().copied()];
    let orders: Vec<MessageId> = orders.into_iter().flatten().collect();
    let webhook = a2a.webhook(&orders, task.payload()).await.map_err(|fault| end(&fault))?;
    let Some(mut webhook) = webhook else { return Ok(()) };
    let to = Target { url: webhook.url().to_owned(), headers: webhook.headers() };
    while let Some(next) = webhook.next().await {
        let notice = next.map_err(|fault| end(&fault))?;
        client.deliver(&to, &notice.body).await.map_err(|why| {
            // What it has besides its path may be a secret.
            let url = to.url.split(['?', '#']).next().unwrap_or_default();
            let url: String = url.chars().take(256).collect();
            let number = notice.number;
            HandlerError::dead_letter(format!("event {number} did not reach {url}: {why}"))
        })?;
        let number = Payload::new("application/json", notice.number.to_string());
        task.artifact(SENT, number, false, false).await?;
    }
    Ok(())
}

/// How an order ends that cannot go on.
fn end(fault: &trunkline_a2a::Fault) -> HandlerError {
    match fault.kind {
        FaultKind::TaskNotFound => HandlerError::fail(&fault.message),
        FaultKind::Unavailable => HandlerError::retry(&fault.message),
        _ => HandlerError::dead_letter(&fault.message),
    }
}
