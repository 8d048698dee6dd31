//! The consumer of a task's events.

use crate::calls::unreadable;
use crate::core::Watcher;
use crate::session::Line;
use std::fmt;
use std::sync::Arc;
use trunkline_types::{MessageId, Refusal, TaskUpdate};

/// What happens to one task, in order, until it ends. Dropping it stops the watching.
pub struct TaskUpdates {
    line: Arc<Line>,
    watcher: Arc<Watcher>,
}

impl TaskUpdates {
    pub(crate) fn new(line: Arc<Line>, watcher: Arc<Watcher>) -> Self {
        Self { line, watcher }
    }

    /// Waits for the next update; `None` after the one with the terminal state. A watcher that
    /// falls more than 1,024 updates behind is told of a gap.
    ///
    /// # Errors
    /// The session has ended before the task has. Or a piece of the result is more than
    /// [`SessionOptions::max_decompressed`](crate::SessionOptions::max_decompressed); what follows
    /// it comes all the same.
    pub async fn next(&mut self) -> Option<Result<TaskUpdate, Refusal>> {
        let mut next = self.watcher.next().await?;
        if let Ok(update) = &mut next
            && let Err(error) = self.line.core.content.unpack_update(update)
        {
            return Some(Err(unreadable(&error)));
        }
        Some(next)
    }

    /// The watched task.
    pub fn task(&self) -> MessageId {
        self.watcher.task
    }

    /// The number of the last event that came: where another watch can go on.
    pub fn seen(&self) -> u64 {
        self.watcher.seen()
    }
}

impl Drop for TaskUpdates {
    fn drop(&mut self) {
        self.line.core.unwatch(&self.watcher);
    }
}

impl fmt::Debug for TaskUpdates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskUpdates").field("task", &self.watcher.task).finish_non_exhaustive()
    }
}
