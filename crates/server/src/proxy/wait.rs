//! Tasks that wait for an answer: nobody holds them, and yet the task elsewhere is called off when
//! ours is, or when its time is over.

use super::agent::Shared;
use super::http::Beside;
use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use trunkline_a2a::{Ask, Recall, Trouble, Why};
use trunkline_types::{
    Answer, MessageId, Principal, Query, Refusal, RefusalCode, TaskEvent, TaskEventBody,
    TaskFilter, TaskState, TaskUpdate, WallTime,
};

/// Most tasks of one agent that are watched while they wait.
const MOST: usize = 10_000;
/// How long before a start what ended may not have been called off elsewhere.
const BEFORE: Duration = Duration::from_mins(10);
/// How often a task elsewhere is called off in vain until it is left alone.
const TRIES: u32 = 20;
/// When to try again. It doubles with each time.
const BACKOFF: Duration = Duration::from_millis(250);
/// How long to wait at most.
const LONGEST: Duration = Duration::from_secs(30);

fn waits(state: TaskState) -> bool {
    matches!(state, TaskState::InputRequired | TaskState::AuthRequired)
}

/// Counts a task while it is watched.
struct Watched(Arc<Shared>);

impl Watched {
    fn new(shared: Arc<Shared>) -> Option<Self> {
        let before = shared.waiting.fetch_add(1, Ordering::Relaxed);
        // What is dropped is not counted any more.
        let watched = Self(shared);
        (before < MOST).then_some(watched)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    /// Sees to it that the task elsewhere is called off if ours ends while it waits.
    pub(super) fn watch(self: &Arc<Self>, task: MessageId, theirs: String, beside: Beside) {
        let Some(watched) = Watched::new(self.clone()) else {
            tracing::warn!(agent = %self.id, %task, "too many tasks wait: it is not watched");
            return;
        };
        tokio::spawn(async move {
            let shared = &watched.0;
            tokio::select! {
                () = shared.over.cancelled() => {}
                () = shared.call_off_with(task, &theirs, &beside) => {}
            }
        });
    }

    /// Watches every task that waits for an answer to this agent since before a start, and calls
    /// off elsewhere what has ended while nobody watched.
    pub(super) async fn watch_waiting(self: Arc<Self>) {
        let waiting = TaskFilter {
            states: vec![TaskState::InputRequired, TaskState::AuthRequired],
            ..TaskFilter::default()
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = u64::try_from(now.saturating_sub(BEFORE).as_millis()).unwrap_or(0);
        let ended = TaskFilter {
            states: vec![TaskState::Canceled, TaskState::Failed],
            changed_since: Some(WallTime(since)),
            ..TaskFilter::default()
        };
        // In this order, so that what ends meanwhile is found.
        for filter in [waiting, ended] {
            let found = tokio::select! {
                () = self.over.cancelled() => return,
                found = self.all(filter) => found,
            };
            match found {
                Err(refusal) => {
                    tracing::warn!(agent = %self.id, %refusal, "cannot watch the tasks that wait");
                }
                Ok(all) => {
                    for (task, theirs) in all {
                        self.watch(task, theirs, Beside::default());
                    }
                }
            }
        }
    }

    /// The tasks of this agent that a filter lets through, and by which of its own it does each.
    async fn all(&self, filter: TaskFilter) -> Result<Vec<(MessageId, String)>, Refusal> {
        let mut filter = TaskFilter { agent: Some(self.id.clone()), limit: 1_000, ..filter };
        let mut all = Vec::new();
        loop {
            let query = Query::Tasks(filter.clone());
            let Answer::Tasks(page) = self.gateway.query(Principal::default(), query).await? else {
                let message = "the broker's answer is no tasks";
                return Err(Refusal::new(RefusalCode::Unavailable, message));
            };
            for task in page.tasks {
                let Recall { link, .. } = self.recalled(task.id).await?;
                if !link.task.is_empty() {
                    all.push((task.id, link.task));
                }
            }
            match page.next {
                Some(next) => filter.before = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Calls the task elsewhere off once ours has ended, unless it goes on before.
    async fn call_off_with(&self, task: MessageId, theirs: &str, beside: &Beside) {
        match self.ends_waiting(task).await {
            Ok(true) => self.call_off(theirs, beside).await,
            Ok(false) => {}
            Err(refusal) => {
                tracing::warn!(agent = %self.id, %task, %refusal, "a task that waits is not watched");
            }
        }
    }

    /// Whether a task ends without being answered.
    async fn ends_waiting(&self, task: MessageId) -> Result<bool, Refusal> {
        let now = match self.snapshot(task).await {
            Err(refusal) if refusal.code == RefusalCode::NotFound => return Ok(true),
            now => now?,
        };
        if now.state.is_terminal() {
            return Ok(true);
        }
        let mut updates = self.gateway.watch(Principal::default(), task, now.last_event).await?;
        while let Some(update) = updates.next().await {
            let TaskUpdate::Event(TaskEvent { body, .. }) = update? else { continue };
            match body {
                TaskEventBody::Status { state, .. } if state.is_terminal() => return Ok(true),
                // Whoever gets it next sees to it.
                TaskEventBody::Status { state, .. } if !waits(state) => return Ok(false),
                _ => {}
            }
        }
        Ok(false)
    }

    /// Calls a task elsewhere off, again and again if need be: that may be done twice.
    pub(super) async fn call_off(&self, theirs: &str, beside: &Beside) {
        let mut wait = BACKOFF;
        for _attempt in 0..TRIES {
            // While its card was not read there is nowhere to call.
            if let Some(card) = self.card() {
                let ask = Ask::Cancel(theirs.to_owned());
                let within = self.http.timeout();
                match self.http.ask(&card.interface, &ask, beside, within).await {
                    Ok(_) => return,
                    Err(Trouble {
                        why: Why::Refused | Why::NoContext | Why::NoTask | Why::Loop,
                        text,
                    }) => {
                        tracing::debug!(agent = %self.id, why = text, "was not called off");
                        return;
                    }
                    Err(Trouble { text, .. }) => {
                        tracing::debug!(agent = %self.id, why = text, "is not called off yet");
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
        tracing::warn!(agent = %self.id, task = theirs, "a task elsewhere could not be called off");
    }
}
