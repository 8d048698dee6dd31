//! Ended tasks that leave memory for the index on disk: each logged task that ends is handed to the
//! driver, and what the index has need not be kept here.
//!
//! In memory are the latest of those that ended: no task leaves before one that ended earlier. So
//! one place says what is there, and lists of the index, which a driver makes outside of the
//! engine's turn, go on from it without a gap and without a repeat (see [`Effect::Answer`]).
//!
//! [`Effect::Answer`]: crate::Effect::Answer

use crate::defect::Defect;
use crate::engine::Engine;
use crate::past::{Handed, Past};
use crate::table::{TaskKey, TenantKey};
use std::collections::VecDeque;
use std::fmt;
use trunkline_types::{
    CopyState, CopyStatus, InboxAddress, Kind, MessageId, Payload, Progress, Refusal, RefusalCode,
    Sequence, TaskEvent, TaskSnapshot, TaskState, TaskUpdate, TenantId, WallTime,
};

/// A logged task that has ended, with everything that is told of it.
#[derive(Clone, PartialEq, Debug)]
pub struct EndedTask {
    /// The place of the record that ended it. It may be read from the index once that record is on
    /// disk.
    pub place: Sequence,
    /// Whose it is.
    pub tenant: TenantId,
    /// What kind of message it is.
    pub kind: Kind,
    /// As it stands for good, without its messages.
    pub task: TaskSnapshot,
    /// Its first message.
    pub payload: Payload,
    /// In which inbox it was, and how it ended there.
    pub ended: Option<(InboxAddress, CopyState)>,
    /// Those of its events that are kept.
    pub events: VecDeque<TaskEvent>,
}

/// Ended tasks on disk. The driver fills it from [`Effect::Past`](crate::Effect::Past) and says
/// with [`Command::Indexed`](crate::Command::Indexed) how far it has come; from then on the engine
/// asks here for them. What is found must depend on what was handed over alone.
pub trait TaskIndex: Send + Sync + fmt::Debug {
    /// A tenant's task; `None` if there is none of that id.
    ///
    /// # Errors
    /// That the index cannot be read.
    fn find(&self, tenant: &TenantId, id: MessageId) -> Result<Option<Box<EndedTask>>, String>;

    /// How many tasks of a tenant it has that were ended by records before a place.
    ///
    /// # Errors
    /// That the index cannot be read.
    fn count(&self, tenant: &TenantId, before: Sequence) -> Result<u64, String>;

    /// When the first task ended of those that it has without one missing between them; `None` if
    /// it has none.
    ///
    /// # Errors
    /// That the index cannot be read.
    fn since(&self) -> Result<Option<WallTime>, String>;

    /// How those ended. Asked for after damage only, when the records may be missing that said it.
    /// An index that does not say it knows of none.
    ///
    /// # Errors
    /// That the index cannot be read.
    fn outcomes(&self, tenant: &TenantId, before: Sequence) -> Result<Outcomes, String> {
        let _ = (tenant, before);
        Ok(Outcomes::default())
    }
}

/// How tasks ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcomes {
    /// So many were completed.
    pub completed: u64,
    /// So many failed.
    pub failed: u64,
    /// So many were cancelled or rejected.
    pub canceled: u64,
}

impl Outcomes {
    /// Counts so many tasks that ended in a state.
    pub fn add(&mut self, state: TaskState, count: u64) {
        let sum = match state {
            TaskState::Completed => &mut self.completed,
            TaskState::Failed => &mut self.failed,
            _ => &mut self.canceled,
        };
        *sum += count;
    }
}

impl EndedTask {
    /// About how many bytes it needs.
    pub fn bytes(&self) -> u64 {
        let result = self.task.result.as_ref().map_or(0, |result| result.data.len());
        let events: u64 = self.events.iter().map(|event| super::event_bytes(&event.body)).sum();
        let notes: usize = self.task.notes.iter().map(|note| note.reason.len()).sum();
        let reason = self.task.reason.as_ref().map_or(0, String::len);
        let fixed = 300 + 32 * self.events.len();
        events + (self.payload.data.len() + result + notes + reason + fixed) as u64
    }

    /// How it ended, as the status of its message shows that.
    pub(crate) fn copy_status(&self) -> Option<CopyStatus> {
        let (inbox, state) = self.ended.clone()?;
        let (attempts, agent) = (self.task.attempts, self.task.agent.clone());
        Some(CopyStatus { inbox: Some(inbox), state, attempts, agent })
    }
}

impl Engine {
    /// Whether ended tasks of a record are in the index.
    pub(crate) fn is_indexed(&self, place: Sequence) -> bool {
        self.config.task_index.is_some() && place <= self.indexed
    }

    /// The place up from which ended tasks are in memory: those of earlier records have left it.
    pub(crate) fn ended_from(&self) -> Sequence {
        let first = self.tasks.ended[0].queue.front();
        first.map_or(self.sequence.next(), |(key, _)| self.tasks.rows[*key].more().place)
    }

    /// Hands a logged task that has ended over to the index, unless that has it.
    pub(crate) fn hand_over(&mut self, key: TaskKey) {
        let task = &self.tasks.rows[key];
        let more = task.more();
        if self.config.task_index.is_none() || more.place <= self.indexed {
            return;
        }
        let sent = self.task_sent(task);
        let ended = more.ended.and_then(|(inbox, state)| Some((self.address(inbox)?, state)));
        let ended = EndedTask {
            place: more.place,
            tenant: self.tenants[task.tenant].id.clone(),
            kind: sent.body.kind(),
            task: task.snapshot(sent),
            payload: sent.body.payload().clone(),
            ended,
            events: more.events.clone(),
        };
        let as_it_is = self.planted(Defect::StubHandedOver);
        let unread = sent.body.is_away() && !as_it_is;
        let unread = unread.then(|| (more.base, sent.cloned().stub()));
        self.handed.push(Handed { past: Past::Ended(Box::new(ended)), unread });
    }

    /// A tenant's ended task that has left memory, if the index has it.
    ///
    /// # Errors
    /// A refusal if the index cannot be read.
    pub(crate) fn past_task(
        &self,
        tenant: TenantKey,
        id: MessageId,
    ) -> Result<Option<Box<EndedTask>>, Refusal> {
        let Some(index) = &self.config.task_index else { return Ok(None) };
        index.find(&self.tenants[tenant].id, id).map_err(|problem| {
            let message = format!(
                "whether there was a task {id} cannot be told ({problem}); start the broker again"
            );
            Refusal::new(RefusalCode::StoreFailed, message)
        })
    }

    /// How many ended tasks of a tenant are in the index and no longer in memory. An index that
    /// cannot be read has none that anybody could read.
    pub(crate) fn indexed_tasks(&self, tenant: TenantKey) -> u64 {
        let index = self.config.task_index.as_ref();
        let count = index.map(|index| index.count(&self.tenants[tenant].id, self.ended_from()));
        count.and_then(Result::ok).unwrap_or(0)
    }

    /// From when on every task of a tenant that ended is known, of which so many are not.
    pub(crate) fn history_since(&self, forgotten: u64, now: WallTime) -> WallTime {
        if forgotten == 0 {
            return self.origins.born.unwrap_or(self.started_at);
        }
        let index = self.config.task_index.as_ref();
        let in_index = index.and_then(|index| index.since().ok().flatten());
        let first = self.tasks.ended[usize::from(!self.config.logged)].queue.front();
        let in_memory = first.map(|(key, _)| self.tasks.rows[*key].updated_at());
        in_index.or(in_memory).unwrap_or(now)
    }

    /// How many records the index has not taken in.
    pub(crate) fn unindexed(&self) -> u64 {
        let behind = self.sequence.0.saturating_sub(self.indexed.0);
        if self.config.task_index.is_some() { behind } else { 0 }
    }
}

/// What somebody is told who follows a task from behind an event on: a gap, if some were not kept,
/// the events, and how far it is.
pub(crate) fn updates(
    events: &VecDeque<TaskEvent>,
    last_event: u64,
    progress: Option<&Progress>,
    after: u64,
) -> Vec<TaskUpdate> {
    let mut updates = Vec::new();
    let first = events.front().map_or(last_event + 1, |event| event.number);
    if first > after + 1 {
        updates.push(TaskUpdate::Gap { first: after + 1, last: first - 1 });
    }
    let news = events.iter().filter(|event| event.number > after);
    updates.extend(news.cloned().map(TaskUpdate::Event));
    updates.extend(progress.cloned().map(TaskUpdate::Progress));
    updates
}
