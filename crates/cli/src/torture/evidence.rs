//! What the broker says of its work in the end, by its own queries.

use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use trunkline_agent::Session;
use trunkline_types::{
    MessageId, Refusal, RefusalCode, Stats, TaskEvent, TaskFilter, TaskSnapshot, TaskUpdate,
};

/// How many tasks are followed at once.
const FOLLOWED: usize = 64;
/// How long a task may take to end once nothing is sent any more.
const PATIENCE: Duration = Duration::from_mins(1);
/// The most tasks that a broker lists in one answer.
const PAGE: u32 = 1000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// What was found of each task that was followed.
    pub(super) stories: HashMap<MessageId, Story>,
    /// Every task on record.
    pub(super) listed: HashMap<MessageId, TaskSnapshot>,
    /// The broker's figures.
    pub(super) stats: Stats,
}

/// What was found of a task.
#[derive(Debug)]
pub(super) enum Story {
    /// Its events up to the one that ended it, and the numbers that are missing.
    Ended { events: Vec<TaskEvent>, gaps: Vec<(u64, u64)> },
    /// The broker does not know it.
    Missing,
    /// It did not end in time.
    Open(String),
}

impl Evidence {
    /// Follows every task to its end, then asks for everything that is on record. `settle` is
    /// awaited in between.
    ///
    /// # Errors
    /// The broker does not answer a query.
    pub(super) async fn gather(
        session: &Session,
        tasks: BTreeSet<MessageId>,
        settle: impl Future<Output = ()>,
    ) -> Result<Self, Refusal> {
        let stories = follow(session, tasks).await;
        settle.await;
        let listed = list(session).await?;
        Ok(Self { stories, listed, stats: session.stats().await? })
    }
}

async fn follow(session: &Session, tasks: BTreeSet<MessageId>) -> HashMap<MessageId, Story> {
    let tasks = Arc::new(Mutex::new(tasks.into_iter()));
    let mut followers = JoinSet::new();
    for _ in 0..FOLLOWED {
        let (session, tasks) = (session.clone(), Arc::clone(&tasks));
        followers.spawn(async move {
            let mut stories = Vec::new();
            loop {
                let next = tasks.lock().next();
                let Some(task) = next else { return stories };
                let story = tokio::time::timeout(PATIENCE, story(&session, task)).await;
                let story = story.unwrap_or_else(|_| Story::Open(format!("open for {PATIENCE:?}")));
                stories.push((task, story));
            }
        });
    }
    let mut stories = HashMap::new();
    while let Some(told) = followers.join_next().await {
        stories.extend(told.unwrap_or_default());
    }
    stories
}

async fn story(session: &Session, task: MessageId) -> Story {
    let mut updates = match session.watch(task, 0).await {
        Ok(updates) => updates,
        Err(refusal) if refusal.code == RefusalCode::NotFound => return Story::Missing,
        Err(refusal) => return Story::Open(refusal.message),
    };
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    while let Some(update) = updates.next().await {
        match update {
            Ok(TaskUpdate::Event(event)) => events.push(event),
            Ok(TaskUpdate::Gap { first, last }) => gaps.push((first, last)),
            Ok(TaskUpdate::Progress(_)) => {}
            Err(refusal) => return Story::Open(refusal.message),
        }
    }
    Story::Ended { events, gaps }
}

/// Every task on record.
///
/// # Errors
/// The broker does not answer.
pub(super) async fn list(session: &Session) -> Result<HashMap<MessageId, TaskSnapshot>, Refusal> {
    let mut listed = HashMap::new();
    let mut before = None;
    loop {
        let page =
            session.tasks(TaskFilter { before, limit: PAGE, ..TaskFilter::default() }).await?;
        listed.extend(page.tasks.into_iter().map(|task| (task.id, task)));
        match page.next {
            Some(next) => before = Some(next),
            None => return Ok(listed),
        }
    }
}
