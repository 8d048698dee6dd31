//! What earlier tasks and conversations of ours are called by the agent elsewhere, as they noted.

use super::agent::Shared;
use trunkline_a2a::{Link, Recall};
use trunkline_agent::Task;
use trunkline_types::session::Operation;
use trunkline_types::{
    Answer, ContextId, MessageId, Principal, Query, Refusal, RefusalCode, TaskFilter,
};

/// How many earlier tasks of a conversation are looked at.
const MOST: u32 = 4;

/// Whoever acts for the tenant of a task.
fn of(task: &Task) -> Principal {
    Principal { tenant: task.envelope().tenant.clone(), ..Principal::default() }
}

impl Shared {
    /// The task elsewhere that a task of ours is done by, which is named in a message of another
    /// one; `None` if it is done by nobody there, or is none of the same tenant.
    pub(super) async fn their_task(&self, task: &Task, named: &str) -> Option<String> {
        let link = self.link(task, named.parse().ok()?).await?;
        (!link.task.is_empty()).then_some(link.task)
    }

    /// What the agent elsewhere calls a conversation that it had a task of before.
    pub(super) async fn their_context(&self, task: &Task, context: &ContextId) -> Option<String> {
        let filter = TaskFilter {
            agent: Some(self.id.clone()),
            context_id: Some(context.clone()),
            limit: MOST,
            ..TaskFilter::default()
        };
        let Ok(Answer::Tasks(page)) = self.gateway.query(of(task), Query::Tasks(filter)).await
        else {
            return None;
        };
        for before in page.tasks.iter().filter(|known| known.id != task.id()) {
            let link = self.link(task, before.id).await.unwrap_or_default();
            if !link.context.is_empty() {
                return Some(link.context);
            }
        }
        None
    }

    /// Ends a task of ours as called off, because it was called off elsewhere.
    pub(super) async fn cancel(&self, task: &Task, reason: String) -> Result<(), Refusal> {
        let operation = Operation::Cancel { id: task.id(), reason, descendants: false };
        match self.gateway.operate(of(task), operation).await {
            // It has ended otherwise just now.
            Err(refusal) if refusal.code == RefusalCode::WrongState => Ok(()),
            done => done,
        }
    }

    /// What another task of the same tenant noted, if this agent has it.
    async fn link(&self, task: &Task, other: MessageId) -> Option<Link> {
        let query = Query::task(other);
        let Ok(Answer::Task(snapshot)) = self.gateway.query(of(task), query).await else {
            return None;
        };
        if snapshot.agent.as_ref() != Some(&self.id) {
            return None;
        }
        let Recall { link, .. } = self.recalled(other).await.ok()?;
        Some(link)
    }
}
