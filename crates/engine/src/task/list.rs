//! Lists of tasks, newest first or latest change first. A page looks at a bounded number of tasks, for
//! while it is made nothing else happens in the partition.

use crate::defect::Defect;
use crate::engine::Engine;
use crate::spill::SentRef;
use crate::stats::page::{self, Room};
use crate::table::{TaskKey, TenantKey};
use crate::task::ended::EndedTask;
use crate::task::table::Task;
use std::collections::BTreeMap;
use trunkline_types::{
    AgentId, Change, ContextId, Destination, MessageId, Refusal, RefusalCode, Sequence, TaskFilter,
    TaskPage, TaskSnapshot, TaskState, TenantId, WallTime,
};

/// How many tasks are looked at for one page; as the page's docs say.
const LOOKED_AT: usize = 10_000;

impl Engine {
    /// A page of a tenant's tasks, and the latest record that it rests on: what is not on the page for
    /// what a task has become rests on that too.
    ///
    /// By latest change it has the latest of those that were looked at; who asks goes on behind `next`
    /// and merges, see [`merge_changes`](crate::merge_changes).
    pub(crate) fn list_tasks(
        &self,
        tenant: TenantKey,
        filter: &TaskFilter,
    ) -> Result<(TaskPage, Sequence), Refusal> {
        let mut room = Room::new(filter.limit)?;
        if filter.except.len() > TaskFilter::MOST_EXCEPT {
            let (found, most) = (filter.except.len(), TaskFilter::MOST_EXCEPT);
            let message = format!("the list leaves out {found} agents, the limit is {most}");
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let mut changes = Changes::new(filter);
        let (mut page, mut last, mut rests_on) = (TaskPage::default(), None, Sequence(0));
        for (looked_at, (id, key)) in self.candidates(tenant, filter).enumerate() {
            if looked_at == LOOKED_AT {
                page.next = last;
                break;
            }
            let task = &self.tasks.rows[key];
            let sent = self.task_sent(task);
            if task.tenant == tenant {
                let seen = seen(task, sent);
                if may_become_wanted(filter, seen) {
                    rests_on = rests_on.max(self.changed(task));
                }
                if is_wanted(filter, seen, task.created_at) {
                    if filter.by_change {
                        changes.take(Change { at: seen.changed_at, task: id }, key);
                    } else {
                        let task = task.snapshot(sent);
                        if !room.take(page::task(&task)) {
                            let skips = self.planted(Defect::SkippedAtSeam);
                            page.next = if skips { Some(id) } else { last };
                            break;
                        }
                        page.tasks.push(task);
                    }
                }
            }
            last = Some(id);
        }
        if filter.by_change {
            page.total = Some(changes.total);
            for (change, key) in changes.latest.into_iter().rev() {
                let task = &self.tasks.rows[key];
                let task = task.snapshot(self.task_sent(task));
                if !room.take(page::task(&task)) {
                    page.next_change = page.tasks.last().map(Change::of).or(Some(change));
                    break;
                }
                page.tasks.push(task);
            }
        }
        Ok((page, rests_on))
    }

    /// The latest record that what is shown of a task rests on.
    fn changed(&self, task: &Task) -> Sequence {
        let accepted = task.entry.get().map_or(Sequence(0), |entry| self.entries[entry].base);
        accepted.max(task.more().changed)
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
        let (created_at, changed_at) = (self.task.created_at, self.task.updated_at);
        let (context_id, agent) = (context_id.as_ref(), agent.as_ref());
        let root_id = *root_id;
        let seen = Seen { id: *id, state: *state, to, context_id, root_id, agent, changed_at };
        self.tenant == *tenant && is_wanted(filter, seen, created_at)
    }
}

/// The latest changes among tasks that are looked at.
struct Changes {
    /// Only those before this one are shown.
    before: Option<Change>,
    /// The latest, one more than wanted if there are more.
    latest: BTreeMap<Change, TaskKey>,
    most: usize,
    /// How many there are, shown or not.
    total: u64,
}

impl Changes {
    fn new(filter: &TaskFilter) -> Self {
        let most = page::entries(filter.limit);
        Self { before: filter.changed_before, latest: BTreeMap::new(), most, total: 0 }
    }

    fn take(&mut self, change: Change, key: TaskKey) {
        self.total += 1;
        if self.before.is_none_or(|before| change < before) {
            self.latest.insert(change, key);
            if self.latest.len() > self.most + 1 {
                self.latest.pop_first();
            }
        }
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
    changed_at: WallTime,
}

fn seen<'a>(task: &'a Task, sent: SentRef<'a>) -> Seen<'a> {
    Seen {
        id: sent.id,
        state: task.state,
        to: sent.body.destination(),
        context_id: sent.body.context_id(),
        root_id: sent.body.root_id(),
        agent: task.more().agent.as_ref(),
        changed_at: task.updated_at(),
    }
}

/// Whether a filter wants a task as it is.
fn is_wanted(filter: &TaskFilter, task: Seen<'_>, created_at: WallTime) -> bool {
    let TaskFilter { states, agent, since, until, changed_since, except, .. } = filter;
    let is_at = |agent: &AgentId| {
        task.agent == Some(agent) || matches!(task.to, Destination::Agent(to) if to == agent)
    };
    may_become_wanted(filter, task)
        && (states.is_empty() || states.contains(&task.state))
        && since.is_none_or(|since| created_at >= since)
        && until.is_none_or(|until| created_at < until)
        && changed_since.is_none_or(|since| task.changed_at >= since)
        && agent.as_ref().is_none_or(is_at)
        && !except.iter().any(is_at)
}

/// Whether a filter may want a task whatever becomes of it.
fn may_become_wanted(filter: &TaskFilter, task: Seen<'_>) -> bool {
    let TaskFilter { skill, agent, context_id, root_id, except, .. } = filter;
    // What is sent to an agent stays there.
    let sent_to = match task.to {
        Destination::Agent(to) => Some(to),
        _ => None,
    };
    context_id.as_ref().is_none_or(|id| Some(id) == task.context_id)
        && root_id.is_none_or(|root| task.id == root || task.root_id == Some(root))
        && skill
            .as_ref()
            .is_none_or(|skill| matches!(task.to, Destination::Skill(to) if to == skill))
        && agent.as_ref().is_none_or(|agent| sent_to.is_none_or(|to| to == agent))
        && sent_to.is_none_or(|to| !except.contains(to))
}
