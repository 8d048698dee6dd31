//! Tasks by conversation and by root, so that neither is found by looking at every task.

use crate::spill::SentRef;
use crate::table::TenantKey;
use std::collections::BTreeSet;
use trunkline_types::{ContextId, MessageId, Partition};

/// The lowest id that there is.
const LOWEST: MessageId = MessageId::from_parts(0, Partition(0), 0);
/// The highest id that there is.
const HIGHEST: MessageId = MessageId::from_parts(u64::MAX, Partition::MAX, u64::MAX);

/// Tasks in orders of their own. A task that belongs to no conversation and has no ancestor costs
/// nothing here.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    contexts: BTreeSet<(TenantKey, ContextId, MessageId)>,
    /// Descendants by their roots, without the roots themselves.
    roots: BTreeSet<(TenantKey, MessageId, MessageId)>,
    /// Those of them that have not ended.
    open: BTreeSet<(TenantKey, MessageId, MessageId)>,
}

impl Orders {
    /// Notes a task that has not ended, or one that has.
    pub(crate) fn add(&mut self, tenant: TenantKey, task: SentRef<'_>, is_open: bool) {
        if let Some(context) = task.body.context_id() {
            self.contexts.insert((tenant, context.clone(), task.id));
        }
        if let Some(root) = root_of(task) {
            self.roots.insert((tenant, root, task.id));
            if is_open {
                self.open.insert((tenant, root, task.id));
            }
        }
    }

    /// A task has ended.
    pub(crate) fn ended(&mut self, tenant: TenantKey, task: SentRef<'_>) {
        if let Some(root) = root_of(task) {
            self.open.remove(&(tenant, root, task.id));
        }
    }

    /// A task is forgotten.
    pub(crate) fn remove(&mut self, tenant: TenantKey, task: SentRef<'_>) {
        self.ended(tenant, task);
        if let Some(context) = task.body.context_id() {
            self.contexts.remove(&(tenant, context.clone(), task.id));
        }
        if let Some(root) = root_of(task) {
            self.roots.remove(&(tenant, root, task.id));
        }
    }

    /// The tasks of a conversation, newest first, from those before a task on.
    pub(crate) fn of_context(
        &self,
        tenant: TenantKey,
        context: &ContextId,
        before: Option<MessageId>,
    ) -> impl Iterator<Item = MessageId> {
        let first = (tenant, context.clone(), LOWEST);
        let last = (tenant, context.clone(), before.unwrap_or(HIGHEST));
        let found = self.contexts.range(first..=last).rev().map(|&(_, _, id)| id);
        found.filter(move |&id| Some(id) != before)
    }

    /// The descendants of a root, newest first, from those before a task on.
    pub(crate) fn of_root(
        &self,
        tenant: TenantKey,
        root: MessageId,
        before: Option<MessageId>,
    ) -> impl Iterator<Item = MessageId> {
        let range = (tenant, root, LOWEST)..=(tenant, root, before.unwrap_or(HIGHEST));
        let found = self.roots.range(range).rev().map(|&(_, _, id)| id);
        found.filter(move |&id| Some(id) != before)
    }

    /// The descendants of a root that have not ended, oldest first.
    pub(crate) fn open_of(
        &self,
        tenant: TenantKey,
        root: MessageId,
    ) -> impl Iterator<Item = MessageId> {
        let range = (tenant, root, LOWEST)..=(tenant, root, HIGHEST);
        self.open.range(range).map(|&(_, _, id)| id)
    }

    /// Whether exactly these tasks are noted, for checks.
    pub(crate) fn is_consistent<'a>(
        &self,
        tasks: impl Iterator<Item = (TenantKey, SentRef<'a>, bool)>,
    ) -> bool {
        let mut right = Self::default();
        tasks.for_each(|(tenant, task, is_open)| right.add(tenant, task, is_open));
        let Self { contexts, roots, open } = right;
        self.contexts == contexts && self.roots == roots && self.open == open
    }
}

/// The root of a task that is a descendant.
fn root_of(task: SentRef<'_>) -> Option<MessageId> {
    task.body.root_id().filter(|&root| root != task.id)
}
