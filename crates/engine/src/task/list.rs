//! Lists of tasks, newest first. A page looks at a bounded number of tasks, for while it is made
//! nothing else happens in the partition.

use crate::defect::Defect;
use crate::engine::Engine;
use crate::spill::SentRef;
use crate::stats::page::{self, Room};
use crate::table::{TaskKey, TenantKey};
use crate::task::ended::EndedTask;
use crate::task::table::Task;
use trunkline_types::{
    AgentId, ContextId, Destination, MessageId, Refusal, TaskFilter, TaskPage, TaskSnapshot,
    TaskState, TenantId, WallTime,
};

/// How many tasks are looked at for one page; as the page's docs say.
const LOOKED_AT: usize = 10_000;

impl Engine {
    /// A page of a tenant's tasks.
    pub(crate) fn list_tasks(
        &self,
        tenant: TenantKey,
        filter: &TaskFilter,
    ) -> Result<TaskPage, Refusal> {
        let mut room = Room::new(filter.limit)?;
        let (mut page, mut last) = (TaskPage::default(), None);
        for (looked_at, (id, key)) in self.candidates(tenant, filter).enumerate() {
            if looked_at == LOOKED_AT {
                page.next = last;
                break;
            }
            let task = &self.tasks.rows[key];
            let sent = self.task_sent(task);
            if task.tenant == tenant && is_wanted(filter, seen(task, sent), task.created_at) {
                let task = task.snapshot(sent);
                if !room.take(page::task(&task)) {
                    page.next = if self.planted(Defect::SkippedAtSeam) { Some(id) } else { last };
                    break;
                }
                page.tasks.push(task);
            }
            last = Some(id);
        }
        Ok(page)
    }

    /// The tasks that a filter may want, in the order that finds them soonest.
    fn candidates<'a>(
        &'a self,
        tenant: TenantKey,
        filter: &'a TaskFilter,
    ) -> Box<dyn Iterator<Item = (MessageId, TaskKey)> + 'a> {
        let (ids, orders) = (&self.tasks.ids, &self.tasks.orders);
        let known = |id: MessageId| ids.get(&id).map(|&key| (id, key));
        let before = filter.before;
        if let Some(root) = filter.root_id {
            let mut own = Some(root).filter(|&root| before.is_none_or(|before| root < before));
            let mut others = orders.of_root(tenant, root, before).peekable();
            let merged = std::iter::from_fn(move || match own {
                Some(root) if others.peek().is_none_or(|&other| other < root) => own.take(),
                _ => others.next(),
            });
            return Box::new(merged.filter_map(known));
        }
        if let Some(context) = &filter.context_id {
            return Box::new(orders.of_context(tenant, context, before).filter_map(known));
        }
        let older = match before {
            Some(before) if self.planted(Defect::RepeatedAtSeam) => ids.range(..=before),
            Some(before) => ids.range(..before),
            None => ids.range(..),
        };
        Box::new(older.rev().map(|(&id, &key)| (id, key)))
    }
}

impl EndedTask {
    /// Whether it is a tenant's and a list that is narrowed so has it; the cursor is left out of
    /// account.
    pub fn is_wanted(&self, tenant: &TenantId, filter: &TaskFilter) -> bool {
        let TaskSnapshot { id, destination: to, context_id, root_id, state, agent, .. } =
            &self.task;
        let created_at = self.task.created_at;
        let (context_id, agent) = (context_id.as_ref(), agent.as_ref());
        let seen = Seen { id: *id, state: *state, to, context_id, root_id: *root_id, agent };
        self.tenant == *tenant && is_wanted(filter, seen, created_at)
    }
}

/// What a filter looks at.
#[derive(Clone, Copy)]
struct Seen<'a> {
    id: MessageId,
    state: TaskState,
    to: &'a Destination,
    context_id: Option<&'a ContextId>,
    root_id: Option<MessageId>,
    agent: Option<&'a AgentId>,
}

fn seen<'a>(task: &'a Task, sent: SentRef<'a>) -> Seen<'a> {
    Seen {
        id: sent.id,
        state: task.state,
        to: sent.body.destination(),
        context_id: sent.body.context_id(),
        root_id: sent.body.root_id(),
        agent: task.more().agent.as_ref(),
    }
}

fn is_wanted(filter: &TaskFilter, task: Seen<'_>, created_at: WallTime) -> bool {
    let TaskFilter { states, skill, agent, context_id, root_id, since, until, before: _, limit: _ } =
        filter;
    let to = task.to;
    (states.is_empty() || states.contains(&task.state))
        && context_id.as_ref().is_none_or(|id| Some(id) == task.context_id)
        && root_id.is_none_or(|root| task.id == root || task.root_id == Some(root))
        && since.is_none_or(|since| created_at >= since)
        && until.is_none_or(|until| created_at < until)
        && skill.as_ref().is_none_or(|skill| matches!(to, Destination::Skill(to) if to == skill))
        && agent.as_ref().is_none_or(|agent| {
            task.agent == Some(agent) || matches!(to, Destination::Agent(to) if to == agent)
        })
}
