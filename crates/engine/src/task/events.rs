//! How a task's state moves, and its numbered events. Shared by live commands and replay.

use super::table::{More, Task};
use crate::defect::Defect;
use crate::engine::Engine;
use crate::past::Past;
use crate::queue::Entry;
use crate::record::End;
use crate::room::{KEPT, give_back};
use crate::stats::state_of;
use crate::table::{EntryKey, Maybe, TaskKey, TenantKey};
use std::collections::VecDeque;
use trunkline_types::{
    AgentId, ArtifactChunk, PauseReason, Payload, TaskEvent, TaskEventBody, TaskState, WallTime,
};

/// How many notes of failed attempts a task shows.
const NOTES: usize = 16;

impl Engine {
    /// A task begins.
    pub(crate) fn task_accepted(
        &mut self,
        tenant: TenantKey,
        entry: EntryKey,
        at: WallTime,
    ) -> TaskKey {
        let task = Task::new(tenant, entry, self.epoch, at);
        let key = self.tasks.insert(task, self.entries[entry].sent());
        self.tenants[tenant].tally.open += 1;
        let skip = self.skipped_numbers();
        if skip > 0 || self.config.task_events == 0 {
            let more = self.tasks.rows[key].more_mut();
            (more.last_event, more.events) = (0, VecDeque::new());
            let body = TaskEventBody::Status { state: TaskState::Submitted, reason: None };
            self.push_event(key, skip, body, at);
        }
        key
    }

    pub(crate) fn task_working(&mut self, key: TaskKey, agent: AgentId, anew: bool, at: WallTime) {
        let latest = self.sequence;
        let more = self.tasks.rows[key].more_mut();
        more.changed = latest;
        more.agent = Some(agent);
        more.deliveries += u32::from(anew);
        self.task_state(key, TaskState::Working, None, at);
    }

    pub(crate) fn task_returned(&mut self, key: TaskKey, reason: Option<String>, at: WallTime) {
        self.task_state(key, TaskState::Submitted, reason, at);
    }

    pub(crate) fn task_paused(
        &mut self,
        key: TaskKey,
        reason: PauseReason,
        message: Option<Payload>,
        from: Option<AgentId>,
        at: WallTime,
    ) {
        if let Some(payload) = message {
            self.task_event(key, TaskEventBody::Message { from, payload }, at);
        }
        let state = match reason {
            PauseReason::Input => TaskState::InputRequired,
            PauseReason::Auth => TaskState::AuthRequired,
        };
        // A holder whose lease had run out may pause a task that shows as submitted again.
        if self.tasks.rows[key].state == TaskState::Submitted {
            self.task_state(key, TaskState::Working, None, at);
        }
        self.task_state(key, state, None, at);
    }

    pub(crate) fn task_continued(
        &mut self,
        key: TaskKey,
        payload: Payload,
        from: Option<AgentId>,
        at: WallTime,
    ) {
        self.task_event(key, TaskEventBody::Message { from, payload }, at);
        self.task_state(key, TaskState::Submitted, None, at);
    }

    pub(crate) fn task_artifact(&mut self, key: TaskKey, chunk: ArtifactChunk, at: WallTime) {
        self.task_event(key, TaskEventBody::Artifact(chunk), at);
    }

    /// The entry of a task, which was taken out, has ended by the latest record.
    pub(crate) fn task_ended(&mut self, key: TaskKey, entry: &Entry, end: End, at: WallTime) {
        let is_logged = entry.is_logged();
        let place = self.sequence;
        let task = &mut self.tasks.rows[key];
        task.entry = Maybe::NONE;
        let more = task.more_mut();
        (more.sent, more.base, more.place) = (Some(entry.sent().cloned()), entry.base, place);
        more.ended = Some((entry.inbox, state_of(&end)));
        let (id, tenant) = (entry.message, task.tenant);
        self.tasks.orders.ended(tenant, entry.sent());
        let (state, reason, result) = match end {
            End::Completed { reply } => (TaskState::Completed, None, reply),
            End::Failed { reason } => (TaskState::Failed, Some(reason), None),
            End::Rejected { reason } => (TaskState::Rejected, Some(reason), None),
            End::Expired => (TaskState::Failed, Some("EXPIRED".to_owned()), None),
            End::Canceled { reason } => (TaskState::Canceled, Some(reason), None),
            // Only events are dropped, and no event is a task.
            End::Dropped => (TaskState::Failed, Some("dropped".to_owned()), None),
            End::DeadLettered { reason, note } => {
                self.tasks.rows[key].more_mut().notes.extend(note);
                (TaskState::Failed, Some(reason), None)
            }
        };
        // A late result may end a task that shows as submitted again.
        let task = &mut self.tasks.rows[key];
        if !task.state.may_become(state) {
            self.task_state(key, TaskState::Working, None, at);
        }
        self.tasks.rows[key].more_mut().result = result;
        self.task_state(key, state, reason, at);
        let tally = &mut self.tenants[tenant].tally;
        tally.open -= 1;
        let counter = match (state, is_logged) {
            (TaskState::Completed, true) => &mut tally.recorded.completed,
            (TaskState::Completed, false) => &mut tally.completed,
            (TaskState::Failed, true) => &mut tally.recorded.failed,
            (TaskState::Failed, false) => &mut tally.failed,
            (_, true) => &mut tally.recorded.canceled,
            (_, false) => &mut tally.canceled,
        };
        *counter += 1;
        let class = usize::from(!is_logged);
        let bytes = self.tasks.rows[key].bytes();
        self.tasks.ended[class].bytes += bytes;
        self.tasks.ended[class].queue.push_back((key, id));
        if is_logged {
            self.hand_over(key);
            if self.planted(Defect::ResultNotIndexed) {
                for handed in &mut self.handed {
                    if let Past::Ended(ended) = &mut handed.past {
                        ended.task.result = None;
                    }
                }
            }
        }
        self.forget_ended_tasks(class);
    }

    /// Keeps no more ended tasks of a class than the bounds allow, oldest gone first; the latest
    /// is always kept, and so are some that the index has already.
    pub(crate) fn forget_ended_tasks(&mut self, class: usize) {
        let (most, most_bytes) = (self.config.ended_tasks, self.config.ended_task_bytes);
        // A replay keeps none of these, for it may not know which ones are the latest.
        let recent = if self.replaying { 0 } else { self.config.recent_tasks };
        loop {
            let ended = &self.tasks.ended[class];
            let Some(&(first, _)) = ended.queue.front() else { return };
            let waits = class == 0 && self.config.task_index.is_some() && self.index_follows();
            let over = !waits && (ended.queue.len() > most || ended.bytes > most_bytes);
            let indexed = class == 0
                && ended.queue.len() > recent
                && (self.is_indexed(self.tasks.rows[first].more().place)
                    || (self.planted(Defect::ForgottenUnindexed)
                        && self.config.task_index.is_some()));
            if !indexed && (!over || ended.queue.len() <= 1) {
                return;
            }
            self.forget_oldest_task(class);
        }
    }

    /// Forgets the task of a class that ended first, and counts that it has left memory.
    pub(crate) fn forget_oldest_task(&mut self, class: usize) {
        let Some((key, _)) = self.tasks.ended[class].queue.pop_front() else { return };
        give_back(&mut self.tasks.ended[class].queue, KEPT);
        let sent = self.task_sent(&self.tasks.rows[key]).cloned();
        let task = self.remove_task(key, sent.as_ref());
        self.tasks.ended[class].bytes -= task.bytes();
        let More { place, watchers, .. } = task.more();
        if class == 0 && !self.is_indexed(*place) {
            self.tasks.forgotten_through = self.tasks.forgotten_through.max(*place);
        }
        for &watcher in watchers {
            self.sessions[watcher].watching.retain(|&other| other != key);
        }
        self.tenants[task.tenant].tally.forgotten += 1;
    }

    fn task_state(&mut self, key: TaskKey, state: TaskState, reason: Option<String>, at: WallTime) {
        let task = &mut self.tasks.rows[key];
        if task.state == state {
            return;
        }
        if !task.state.may_become(state) {
            debug_assert!(self.replaying, "{} to {state}", task.state);
            self.origins.broken_law = Some("a task went to a state that does not follow its own");
        }
        let entry = task.entry.get();
        task.state = state;
        let more = task.more_mut();
        if let (Some(_), TaskState::Submitted, Some(entry)) = (&reason, state, entry) {
            more.notes.extend(self.entries[entry].notes().last().cloned());
            if more.notes.len() > NOTES {
                more.notes.remove(0);
            }
        }
        more.reason.clone_from(&reason);
        more.updated_at = Some(at);
        self.task_event(key, TaskEventBody::Status { state, reason }, at);
    }

    fn task_event(&mut self, key: TaskKey, body: TaskEventBody, at: WallTime) {
        let skip = self.skipped_numbers();
        self.push_event(key, skip, body, at);
    }

    /// How many numbers the next event leaves out, by a defect.
    fn skipped_numbers(&mut self) -> u64 {
        u64::from(self.planted(Defect::SkippedNumber) && self.rng.u8(..) < 16)
    }

    fn push_event(&mut self, key: TaskKey, skip: u64, body: TaskEventBody, at: WallTime) {
        let (epoch, bound, latest) = (self.epoch, self.config.task_events, self.sequence);
        let most_bytes = self.config.task_event_bytes;
        let task = &mut self.tasks.rows[key];
        let tenant = task.tenant;
        let more = task.more_mut();
        more.changed = latest;
        more.last_event += 1 + skip;
        let number = more.last_event;
        more.event_bytes += event_bytes(&body);
        more.events.push_back(TaskEvent { number, epoch, at, body });
        let mut forgotten = 0;
        while more.events.len() > bound || (more.event_bytes > most_bytes && more.events.len() > 1)
        {
            let Some(oldest) = more.events.pop_front() else { break };
            more.event_bytes -= event_bytes(&oldest.body);
            forgotten += 1;
        }
        // A replay forgets again what was counted before.
        if !self.replaying {
            self.tenants[tenant].tally.events_forgotten += forgotten;
        }
    }
}

/// Bytes of what an event carries.
pub(crate) fn event_bytes(body: &TaskEventBody) -> u64 {
    let bytes = match body {
        TaskEventBody::Status { reason, .. } => reason.as_ref().map_or(0, String::len),
        TaskEventBody::Artifact(chunk) => chunk.payload.data.len(),
        TaskEventBody::Message { payload, .. } => payload.data.len(),
    };
    bytes as u64
}
