//! The operations of the standard, whatever binding they come by.
//!
//! Owns who may see what: a task is seen by callers of its tenant, and under an agent's own
//! endpoint only if it was sent to that agent or held by it.

mod cards;
mod list;
mod push;
mod send;
mod stream;
mod tasks;

pub(crate) use stream::{Item, TaskStream};

use crate::endpoint::Endpoint;
use crate::fault::{Fault, FaultKind};
use crate::gateway::Gateway;
use crate::is_own;
use crate::sign::SigningKey;
use std::fmt;
use std::sync::Arc;
use trunkline_types::{
    AgentFilter, AgentId, AgentInfo, Answer, Destination, MessageId, Principal, Query, RefusalCode,
    TaskSnapshot, TenantId,
};

/// What can be set about A2A.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct A2aConfig {
    /// The agent that stands at the root; without one the broker itself does, which routes by
    /// skill. Default none.
    pub agent: Option<AgentId>,
    /// Where clients reach the broker, for the cards: an absolute URL without a path's end, such
    /// as `https://agents.example.com`. Default: `http://` and the host that the request names.
    pub url: Option<String>,
    /// Largest request body in bytes. Default 4 MiB.
    pub body_bytes: usize,
    /// Whether version 0.3 is spoken besides, and cards say what its clients look for. Default
    /// true.
    pub earlier: bool,
    /// The key that cards are signed with; without one they have no signatures. Default none.
    pub signing_key: Option<SigningKey>,
}

impl Default for A2aConfig {
    fn default() -> Self {
        Self { agent: None, url: None, body_bytes: 4 << 20, earlier: true, signing_key: None }
    }
}

/// The operations.
pub(crate) struct Handler {
    pub(crate) gateway: Arc<dyn Gateway>,
    pub(crate) config: A2aConfig,
    /// Guards nothing but the time in which an answer with a key is looked for among what its task
    /// was told, and told to it: of two with one key the second must find the first. One of them
    /// for each of some tasks.
    pub(crate) answering: [tokio::sync::Mutex<()>; ANSWERING],
}

/// How many answers with keys are taken at once, if they are to different tasks.
const ANSWERING: usize = 16;

/// Who calls, where, and what was said beside the request itself.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Who the edge found to be calling.
    pub(crate) principal: Principal,
    /// Whom the path names.
    pub(crate) endpoint: Endpoint,
    /// Where the client reached us, for cards.
    pub(crate) base: String,
    /// The extensions that the client declares.
    pub(crate) extensions: Vec<String>,
    /// The key under which a message is accepted once.
    pub(crate) idempotency_key: Option<String>,
    /// The number of the last event that a stream had before it broke.
    pub(crate) last_event_id: Option<String>,
    /// The brokers that the message has passed, as the one before says.
    pub(crate) via: Option<String>,
    /// Whether the client speaks version 0.3.
    pub(crate) in_03: bool,
}

impl Call {
    /// Who acts: the caller, for the tenant that path and request name.
    pub(crate) fn who(&self, requested: &str) -> Result<Principal, Fault> {
        let mut principal = self.principal.clone();
        let requested = match requested {
            "" => None,
            text => Some(
                TenantId::new(text).map_err(|error| Fault::field("tenant", error.to_string()))?,
            ),
        };
        match (&self.endpoint.tenant, requested) {
            (Some(path), Some(named)) if *path != named => {
                let why = format!("is '{named}', but the path names '{path}'");
                return Err(Fault::field("tenant", why));
            }
            (Some(tenant), _) => principal.tenant = tenant.clone(),
            (None, Some(tenant)) => principal.tenant = tenant,
            (None, None) => {}
        }
        Ok(principal)
    }
}

/// Who stands at an endpoint.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// An agent.
    Agent(Box<AgentInfo>),
    /// An agent that is not there, or not any more: its tasks can still be asked for.
    Gone(AgentId),
    /// The broker, for all agents.
    Broker,
}

impl Handler {
    /// Who stands at the endpoint.
    pub(crate) async fn target(&self, who: &Principal, call: &Call) -> Result<Target, Fault> {
        let Some(id) = call.endpoint.agent.as_ref().or(self.config.agent.as_ref()) else {
            return Ok(Target::Broker);
        };
        if is_own(id.as_str()) {
            return Ok(Target::Gone(id.clone()));
        }
        let filter = AgentFilter { id: Some(id.clone()), limit: 1, ..AgentFilter::default() };
        match self.gateway.query(who.clone(), Query::Agents(filter)).await? {
            Answer::Agents(page) => {
                let found = page.agents.into_iter().next();
                Ok(found.map_or_else(
                    || Target::Gone(id.clone()),
                    |agent| Target::Agent(Box::new(agent)),
                ))
            }
            _ => Err(mismatch()),
        }
    }

    /// A task as it stands with at most so many of its latest messages.
    pub(crate) async fn snapshot(
        &self,
        who: &Principal,
        id: MessageId,
        history_length: Option<u32>,
    ) -> Result<TaskSnapshot, Fault> {
        match self.gateway.query(who.clone(), Query::Task { id, history_length }).await {
            Ok(Answer::Task(task)) => Ok(*task),
            Ok(_) => Err(mismatch()),
            Err(refusal) if refusal.code == RefusalCode::NotFound => {
                Err(Fault::no_task(&id.to_string()))
            }
            Err(refusal) => Err(refusal.into()),
        }
    }

    /// The task that a caller names, if it may be seen at this endpoint.
    pub(crate) async fn visible(
        &self,
        who: &Principal,
        target: &Target,
        id: &str,
        history_length: Option<u32>,
    ) -> Result<TaskSnapshot, Fault> {
        // What is no id of ours names no task of ours.
        let known: MessageId = id.parse().map_err(|_no_id| Fault::no_task(id))?;
        let task = self.snapshot(who, known, history_length).await?;
        match target {
            _ if is_internal(&task) => Err(Fault::no_task(id)),
            Target::Broker => Ok(task),
            Target::Agent(agent) if is_of(&task, &agent.card.id) => Ok(task),
            Target::Gone(agent) if is_of(&task, agent) => Ok(task),
            Target::Agent(_) | Target::Gone(_) => Err(Fault::no_task(id)),
        }
    }
}

/// Says that an endpoint's agent is not there.
pub(crate) fn no_agent(id: &AgentId) -> Fault {
    let message = format!("there is no agent '{id}' at this broker");
    Fault::new(FaultKind::AgentNotFound, message).with("agent", id.as_str())
}

/// Whether a task was sent to an agent or is or was held by it.
fn is_of(task: &TaskSnapshot, agent: &AgentId) -> bool {
    task.agent.as_ref() == Some(agent)
        || matches!(&task.destination, Destination::Agent(to) if to == agent)
}

/// Whether a task is one of our own, such as one that calls a webhook, which is no client's affair.
pub(crate) fn is_internal(task: &TaskSnapshot) -> bool {
    matches!(&task.destination, Destination::Agent(to) if is_own(to.as_str()))
}

/// An answer to another question than the one asked would be a defect of the broker.
fn mismatch() -> Fault {
    Fault::new(FaultKind::Internal, "the broker's answer does not fit the question")
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("config", &self.config).finish_non_exhaustive()
    }
}
