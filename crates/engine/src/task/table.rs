//! The table of tasks, open and ended.

use super::orders::Orders;
use crate::engine::Engine;
use crate::spill::{Sent, SentRef};
use crate::table::{EntryKey, InboxKey, Maybe, SessionKey, Table, TaskKey, TenantKey};
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use trunkline_types::{
    AgentId, AttemptNote, CopyState, Epoch, History, MessageId, Payload, Progress, Sequence,
    TaskEvent, TaskEventBody, TaskSnapshot, TaskState, WallTime,
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

/// One task. There may be millions that wait and to which nothing has happened yet: those have
/// nothing but what is here, and their first event is not kept but told by it.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) tenant: TenantKey,
    /// Its entry, until it ends. What was sent is there until then.
    pub(crate) entry: Maybe<EntryKey>,
    pub(crate) state: TaskState,
    /// The broker's epoch when it was accepted, as far as that is known.
    pub(crate) epoch: Epoch,
    pub(crate) created_at: WallTime,
    /// What has become of it, once anything has.
    more: Option<Box<More>>,
}

/// What a task has to which something has happened.
#[derive(Debug)]
pub(crate) struct More {
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
    /// When its state changed last, if it has since it was accepted.
    pub(crate) updated_at: Option<WallTime>,
    /// The latest record at its latest change.
    pub(crate) changed: Sequence,
    pub(crate) watchers: Vec<SessionKey>,
    /// The number of the latest event that watchers were told, or will be once it is durable.
    pub(crate) told: u64,
    /// Events up to this record are told when it is flushed; later ones must not overtake them.
    pub(crate) told_when_synced: Sequence,
    /// Once it has ended: what was sent.
    pub(crate) sent: Option<Sent>,
    /// How its entry ended, and in which inbox.
    pub(crate) ended: Option<(InboxKey, CopyState)>,
    /// Once it has ended: the oldest record that a replay needs to rebuild it.
    pub(crate) base: Sequence,
    /// Once it has ended: the place of the record that ended it.
    pub(crate) place: Sequence,
}

/// What a task has to which nothing has happened.
static NOTHING: More = More::new();

impl More {
    /// What a task has to which nothing has happened but that it was accepted, without that event.
    pub(crate) const fn new() -> Self {
        Self {
            reason: None,
            agent: None,
            deliveries: 0,
            notes: Vec::new(),
            progress: None,
            result: None,
            events: VecDeque::new(),
            event_bytes: 0,
            last_event: 1,
            updated_at: None,
            changed: Sequence(0),
            watchers: Vec::new(),
            told: 1,
            told_when_synced: Sequence(0),
            sent: None,
            ended: None,
            base: Sequence(0),
            place: Sequence(0),
        }
    }
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

    /// Takes in a task of something that was sent.
    pub(crate) fn insert(&mut self, task: Task, sent: SentRef<'_>) -> TaskKey {
        self.orders.add(task.tenant, sent, task.entry.is_some());
        let key = self.rows.insert(task);
        self.ids.insert(sent.id, key);
        key
    }

    /// A tenant's task.
    pub(crate) fn find(&self, tenant: TenantKey, id: MessageId) -> Option<TaskKey> {
        let key = *self.ids.get(&id)?;
        (self.rows[key].tenant == tenant).then_some(key)
    }
}

impl Engine {
    /// What a task was sent as.
    pub(crate) fn task_sent<'a>(&'a self, task: &'a Task) -> SentRef<'a> {
        match task.entry.get() {
            Some(entry) => self.entries[entry].sent(),
            None => task.more().sent.as_ref().expect("what has ended keeps what was sent").as_ref(),
        }
    }

    /// Forgets a task of something that was sent. A replay may come to that later than the engine
    /// did that wrote the records, which by then had accepted another one with the same id: that
    /// one stays known.
    pub(crate) fn remove_task(&mut self, key: TaskKey, sent: SentRef<'_>) -> Task {
        let task = self.tasks.rows.remove(key);
        self.tasks.orders.remove(task.tenant, sent);
        match self.tasks.ids.get(&sent.id) {
            Some(&other) if other != key => {
                let other = &self.tasks.rows[other];
                let (tenant, is_open) = (other.tenant, other.entry.is_some());
                let sent = self.task_sent(other).cloned();
                self.tasks.orders.add(tenant, sent.as_ref(), is_open);
            }
            _ => {
                self.tasks.ids.remove(&sent.id);
            }
        }
        task
    }

    /// Whether exactly the tasks that there are have their places in the orders, for checks.
    pub(crate) fn are_orders_consistent(&self) -> bool {
        let tasks = self.tasks.rows.iter();
        let tasks = tasks.map(|(_, it)| (it.tenant, self.task_sent(it), it.entry.is_some()));
        self.tasks.orders.is_consistent(tasks)
    }
}

impl Task {
    /// A task that was just accepted.
    pub(crate) fn new(tenant: TenantKey, entry: EntryKey, epoch: Epoch, at: WallTime) -> Self {
        let (state, entry) = (TaskState::Submitted, Maybe::new(entry));
        Self { tenant, entry, state, epoch, created_at: at, more: None }
    }

    /// A task of which it was said again what has become of it.
    pub(crate) fn carried(
        tenant: TenantKey,
        entry: Option<EntryKey>,
        (state, created_at): (TaskState, WallTime),
        more: More,
    ) -> Self {
        let more = Some(Box::new(more));
        Self { tenant, entry: entry.into(), state, epoch: Epoch(0), created_at, more }
    }

    /// What has become of it; of one to which nothing has happened without its event.
    pub(crate) fn more(&self) -> &More {
        self.more.as_deref().unwrap_or(&NOTHING)
    }

    /// Whether nothing has happened to it.
    pub(crate) fn is_new(&self) -> bool {
        self.more.is_none()
    }

    /// What has become of it, to be changed.
    pub(crate) fn more_mut(&mut self) -> &mut More {
        let first = self.more.is_none().then(|| self.first_event());
        self.more.get_or_insert_with(|| {
            // Something is about to happen to it, which is rarely the last that does.
            let mut events = VecDeque::with_capacity(4);
            events.extend(first);
            Box::new(More { events, ..More::new() })
        })
    }

    /// The event that tells that it was accepted.
    fn first_event(&self) -> TaskEvent {
        let body = TaskEventBody::Status { state: TaskState::Submitted, reason: None };
        TaskEvent { number: 1, epoch: self.epoch, at: self.created_at, body }
    }

    /// Its events, as far as they are kept.
    pub(crate) fn events(&self) -> Cow<'_, VecDeque<TaskEvent>> {
        match &self.more {
            Some(more) => Cow::Borrowed(&more.events),
            None => Cow::Owned(VecDeque::from([self.first_event()])),
        }
    }

    /// Lets go of what was said again of it if that is nothing but that it was accepted.
    pub(crate) fn trim(&mut self) {
        let Some(more) = &self.more else { return };
        let [first] = more.events.as_slices().0 else { return };
        let epoch = first.epoch;
        let is_first = *first == TaskEvent { epoch, ..self.first_event() };
        let More { reason, agent, deliveries, notes, progress, result, events, .. } = &**more;
        let More { last_event, updated_at, watchers, sent, ended, place, .. } = &**more;
        let is_nothing = (*deliveries, *last_event, events.len()) == (0, 1, 1)
            && (reason, agent, progress, result) == (&None, &None, &None, &None)
            && updated_at.is_none_or(|at| at == self.created_at)
            && (notes.is_empty(), watchers.is_empty()) == (true, true)
            && (sent.is_none(), ended.is_none(), *place) == (true, true, Sequence(0));
        if is_first && is_nothing && self.state == TaskState::Submitted && self.entry.is_some() {
            (self.epoch, self.more) = (epoch, None);
        }
    }

    /// The broker's epoch at the first events of a task is known now.
    pub(crate) fn date_events(&mut self, epoch: Epoch) {
        if self.epoch == Epoch(0) {
            self.epoch = epoch;
        }
        let events = self.more.iter_mut().flat_map(|more| &mut more.events);
        events.filter(|event| event.epoch == Epoch(0)).for_each(|event| event.epoch = epoch);
    }

    /// As it stands, without its messages.
    pub(crate) fn snapshot(&self, sent: SentRef<'_>) -> TaskSnapshot {
        let (body, more) = (sent.body, self.more());
        TaskSnapshot {
            id: sent.id,
            destination: body.destination().clone(),
            source: body.source().cloned(),
            context_id: body.context_id().cloned(),
            causation_id: body.causation_id(),
            root_id: body.root_id(),
            state: self.state,
            reason: more.reason.clone(),
            agent: more.agent.clone(),
            attempts: more.deliveries,
            notes: more.notes.clone(),
            progress: more.progress.clone(),
            result: more.result.clone(),
            last_event: more.last_event,
            created_at: self.created_at,
            updated_at: self.updated_at(),
            history: History::default(),
        }
    }

    /// When its state changed last.
    pub(crate) fn updated_at(&self) -> WallTime {
        self.more().updated_at.unwrap_or(self.created_at)
    }

    /// Bytes of everything that it keeps of what others sent.
    pub(crate) fn bytes(&self) -> u64 {
        let more = self.more();
        let payload = more.sent.as_ref().map_or(0, |sent| u64::from(sent.size));
        let result = more.result.as_ref().map_or(0, |result| result.data.len() as u64);
        more.event_bytes + payload + result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Key;

    fn task() -> Task {
        Task::new(TenantKey::from_slot(0), EntryKey::from_slot(0), Epoch(3), WallTime(7))
    }

    #[test]
    fn a_task_to_which_nothing_has_happened_has_its_first_event_and_takes_little_room() {
        assert!(size_of::<Task>() <= 32, "{}", size_of::<Task>());
        let mut task = task();
        let events = task.events().into_owned();
        assert_eq!((events.len(), events[0].number, events[0].epoch), (1, 1, Epoch(3)));
        assert_eq!((task.updated_at(), task.more().last_event), (WallTime(7), 1));
        assert_eq!(task.more_mut().events, events);
        assert_eq!(task.events().as_ref(), &events);
    }

    #[test]
    fn what_was_said_again_goes_only_if_nothing_had_happened() {
        let (tenant, entry) = (TenantKey::from_slot(0), Some(EntryKey::from_slot(0)));
        let state = (TaskState::Submitted, WallTime(7));
        let more = || More { events: task().events().into_owned(), ..More::new() };
        let mut plain = Task::carried(tenant, entry, state, more());
        plain.trim();
        assert!(plain.is_new() && plain.epoch == Epoch(3));
        let changes: [fn(&mut More); 6] = [
            |more| more.deliveries = 1,
            |more| more.last_event = 2,
            |more| more.updated_at = Some(WallTime(8)),
            |more| more.agent = "a".parse().ok(),
            |more| more.events[0].number = 2,
            |more| more.events[0].at = WallTime(8),
        ];
        for change in changes {
            let mut more = more();
            change(&mut more);
            let mut task = Task::carried(tenant, entry, state, more);
            task.trim();
            assert!(!task.is_new());
        }
    }
}
