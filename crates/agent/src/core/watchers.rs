//! The watched tasks of a session.

use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;
use trunkline_types::{MessageId, Refusal, TaskEventBody, TaskUpdate};

/// How many updates wait for a slow watcher before the oldest make way for a gap marker.
const BOUND: usize = 1024;

/// See the module.
#[derive(Default)]
pub(crate) struct Watchers {
    by_task: Mutex<HashMap<MessageId, Vec<Arc<Watcher>>>>,
}

/// One watcher of one task.
pub(crate) struct Watcher {
    pub(crate) task: MessageId,
    state: Mutex<State>,
    filled: Notify,
}

struct State {
    updates: VecDeque<TaskUpdate>,
    /// The number of the last event put in.
    seen: u64,
    /// Whether the last of all updates is in.
    over: bool,
    ended: Option<Refusal>,
}

impl Watcher {
    /// The next update; `None` after the last.
    ///
    /// # Errors
    /// Why there will be no more although the task has not ended.
    pub(crate) async fn next(&self) -> Option<Result<TaskUpdate, Refusal>> {
        loop {
            let filled = self.filled.notified();
            {
                let mut state = self.state.lock();
                if let Some(update) = state.updates.pop_front() {
                    return Some(Ok(update));
                }
                if state.over {
                    return None;
                }
                if let Some(refusal) = state.ended.clone() {
                    state.over = true;
                    return Some(Err(refusal));
                }
            }
            filled.await;
        }
    }

    /// The number of the last event that came.
    pub(crate) fn seen(&self) -> u64 {
        self.state.lock().seen
    }

    /// The number of the last event that came, if there is more to come.
    fn wants_after(&self) -> Option<u64> {
        let state = self.state.lock();
        (!state.over && state.ended.is_none()).then_some(state.seen)
    }

    fn fail(&self, refusal: Refusal) {
        self.state.lock().ended.get_or_insert(refusal);
        self.filled.notify_one();
    }

    fn put(&self, update: TaskUpdate) {
        let mut state = self.state.lock();
        match &update {
            TaskUpdate::Event(event) => {
                if event.number != state.seen + 1 {
                    // Older ones are sent again because another watcher asked for them. Later
                    // ones come before this watcher's own question was heard; the answer to that
                    // has them again.
                    return;
                }
                state.seen = event.number;
                if let TaskEventBody::Status { state: status, .. } = &event.body {
                    state.over |= status.is_terminal();
                }
            }
            TaskUpdate::Gap { first, last } => {
                if *last <= state.seen || *first > state.seen + 1 {
                    return;
                }
                state.seen = *last;
            }
            TaskUpdate::Progress(_) => {
                // Only the latest counts.
                if let Some(TaskUpdate::Progress(_)) = state.updates.back() {
                    state.updates.pop_back();
                }
            }
        }
        state.updates.push_back(update);
        if state.updates.len() > BOUND {
            make_way(&mut state.updates);
        }
        drop(state);
        self.filled.notify_one();
    }
}

/// Replaces the two oldest updates by one gap that covers them.
fn make_way(updates: &mut VecDeque<TaskUpdate>) {
    let mut covered: Option<(u64, u64)> = None;
    for _ in 0..2 {
        let range = match updates.pop_front() {
            Some(TaskUpdate::Event(event)) => (event.number, event.number),
            Some(TaskUpdate::Gap { first, last }) => (first, last),
            Some(TaskUpdate::Progress(_)) | None => continue,
        };
        covered = Some(covered.map_or(range, |(first, _)| (first, range.1)));
    }
    if let Some((first, last)) = covered {
        updates.push_front(TaskUpdate::Gap { first, last });
    }
}

impl Watchers {
    /// Adds a watcher that has seen everything up to `after`. `ask` is called under the lock.
    ///
    /// # Errors
    /// What `ask` says; then nothing is added.
    pub(super) fn add(
        &self,
        task: MessageId,
        after: u64,
        ask: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<Arc<Watcher>, Refusal> {
        let mut by_task = self.by_task.lock();
        ask()?;
        let state = State { updates: VecDeque::new(), seen: after, over: false, ended: None };
        let watcher = Arc::new(Watcher { task, state: Mutex::new(state), filled: Notify::new() });
        by_task.entry(task).or_default().push(Arc::clone(&watcher));
        Ok(watcher)
    }

    /// Removes a watcher. `last` is called under the lock if its task has no other.
    pub(super) fn remove(&self, watcher: &Arc<Watcher>, last: impl FnOnce()) {
        let mut by_task = self.by_task.lock();
        let Some(watchers) = by_task.get_mut(&watcher.task) else { return };
        watchers.retain(|other| !Arc::ptr_eq(other, watcher));
        if watchers.is_empty() {
            by_task.remove(&watcher.task);
            last();
        }
    }

    pub(super) fn update(&self, task: MessageId, update: &TaskUpdate) {
        let watchers = self.by_task.lock().get(&task).cloned().unwrap_or_default();
        for watcher in watchers {
            watcher.put(update.clone());
        }
    }

    /// Calls `each` under the lock with every task of which more is to come, and with the number
    /// after which.
    pub(super) fn each(&self, mut each: impl FnMut(MessageId, u64)) {
        for (&task, watchers) in &*self.by_task.lock() {
            if let Some(after) = watchers.iter().filter_map(|watcher| watcher.wants_after()).min() {
                each(task, after);
            }
        }
    }

    /// The watchers of a task will not be told more.
    pub(super) fn fail(&self, task: MessageId, refusal: &Refusal) {
        for watcher in self.by_task.lock().get(&task).into_iter().flatten() {
            watcher.fail(refusal.clone());
        }
    }

    pub(super) fn close(&self, refusal: &Refusal) {
        for watcher in self.by_task.lock().values().flatten() {
            watcher.fail(refusal.clone());
        }
    }
}
