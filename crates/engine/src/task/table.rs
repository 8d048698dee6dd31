//! The table of tasks, open and ended.

use super::orders::Orders;
use crate::record::EntryId;
use crate::table::{EntryKey, InboxKey, SessionKey, Table, TaskKey, TenantKey};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use trunkline_types::{
    AgentId, AttemptNote, CopyState, History, MessageId, Payload, Progress, Publish, Sequence,
    TaskEvent, TaskSnapshot, TaskState, WallTime,
};

/// All tasks, found by key or in the order of their ids, which is by and large that of their age.
#[derive(Debug)]
pub(crate) struct Tasks {
    pub(crate) rows: Table<TaskKey, Task>,
    pub(crate) ids: BTreeMap<MessageId, TaskKey>,
    /// The same tasks by conversation and by root.
    pub(crate) orders: Orders,
    /// Ended ones in the order in which they ended: logged ones, and ephemeral ones. They are
    /// bounded apart, so that what is not in the log never decides what of it is forgotten.
    pub(crate) ended: [Ended; 2],
    /// The place of the last logged one that was forgotten before the index had it.
    pub(crate) forgotten_through: Sequence,
}

/// Ended tasks of one class, in the order in which they ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) queue: VecDeque<(TaskKey, MessageId)>,
    pub(crate) bytes: u64,
}

/// One task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) tenant: TenantKey,
    pub(crate) publish: Arc<Publish>,
    /// Its entry, until it ends.
    pub(crate) entry: Option<(EntryKey, EntryId)>,
    /// How its entry ended, and in which inbox.
    pub(crate) ended: Option<(InboxKey, CopyState)>,
    pub(crate) state: TaskState,
    pub(crate) reason: Option<String>,
    pub(crate) agent: Option<AgentId>,
    pub(crate) deliveries: u32,
    pub(crate) notes: Vec<AttemptNote>,
    pub(crate) progress: Option<Progress>,
    pub(crate) result: Option<Payload>,
    pub(crate) events: VecDeque<TaskEvent>,
    /// Bytes of the events' payloads.
    pub(crate) event_bytes: u64,
    /// The number of the latest event.
    pub(crate) last_event: u64,
    pub(crate) created_at: WallTime,
    pub(crate) updated_at: WallTime,
    pub(crate) watchers: Vec<SessionKey>,
    /// The number of the latest event that watchers were told, or will be once it is durable.
    pub(crate) told: u64,
    /// Events up to this record are told when it is flushed; later ones must not overtake them.
    pub(crate) told_when_synced: Sequence,
    /// Once it has ended: the oldest record that a replay needs to rebuild it.
    pub(crate) base: Sequence,
    /// Once it has ended: the place of the record that ended it.
    pub(crate) place: Sequence,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            rows: Table::new(),
            ids: BTreeMap::new(),
            orders: Orders::default(),
            ended: Default::default(),
            forgotten_through: Sequence(0),
        }
    }

    /// Takes a task in.
    pub(crate) fn insert(&mut self, task: Task) -> TaskKey {
        let id = task.publish.envelope.id;
        self.orders.add(&task);
        let key = self.rows.insert(task);
        self.ids.insert(id, key);
        key
    }

    /// Forgets a task. A replay may come to that later than the engine did that wrote the records,
    /// which by then had accepted another one with the same id: that one stays known.
    pub(crate) fn remove(&mut self, key: TaskKey) -> Task {
        let task = self.rows.remove(key);
        self.orders.remove(&task);
        let id = task.publish.envelope.id;
        match self.ids.get(&id) {
            Some(&other) if other != key => self.orders.add(&self.rows[other]),
            _ => {
                self.ids.remove(&id);
            }
        }
        task
    }

    /// A tenant's task.
    pub(crate) fn find(&self, tenant: TenantKey, id: MessageId) -> Option<TaskKey> {
        let key = *self.ids.get(&id)?;
        (self.rows[key].tenant == tenant).then_some(key)
    }
}

impl Task {
    /// Bytes of everything that it keeps of what others sent.
    pub(crate) fn bytes(&self) -> u64 {
        let payload = self.publish.envelope.payload.data.len();
        let result = self.result.as_ref().map_or(0, |result| result.data.len());
        self.event_bytes + (payload + result) as u64
    }

    /// As it stands, without its messages.
    pub(crate) fn snapshot(&self) -> TaskSnapshot {
        let envelope = &self.publish.envelope;
        TaskSnapshot {
            id: envelope.id,
            destination: envelope.destination.clone(),
            source: envelope.source.clone(),
            context_id: envelope.context_id.clone(),
            causation_id: envelope.causation_id,
            root_id: envelope.root_id,
            state: self.state,
            reason: self.reason.clone(),
            agent: self.agent.clone(),
            attempts: self.deliveries,
            notes: self.notes.clone(),
            progress: self.progress.clone(),
            result: self.result.clone(),
            last_event: self.last_event,
            created_at: self.created_at,
            updated_at: self.updated_at,
            history: History::default(),
        }
    }
}
