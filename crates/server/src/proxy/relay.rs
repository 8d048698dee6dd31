//! One delivery for an agent elsewhere: said to it once, and followed to its end.
//!
//! Before a message goes out, the task notes that it does; when the downstream has named its task,
//! the task notes that too. Whoever gets the delivery next, after a restart or because the agent
//! was away, goes on from these notes. What is not known to have been refused is said again only
//! to an agent that is marked idempotent.

use super::agent::Shared;
use super::http::Beside;
use super::turn::Turn;
use futures_util::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trunkline_a2a::{DownstreamCard, End, Recall};
use trunkline_agent::{Handler, HandlerError, HandlerFuture, HandlerResult, Task};
use trunkline_types::{
    Answer, MessageId, Outcome, Payload, Principal, Query, Refusal, RefusalCode, TaskSnapshot,
};

/// How long a delivery that was called off may take to call its task off elsewhere.
const GRACE: Duration = Duration::from_secs(10);

/// Handles what is sent to an agent elsewhere.
#[derive(Clone)]
pub(super) struct Relayer {
    pub(super) shared: Arc<Shared>,
    pub(super) card: Arc<DownstreamCard>,
    /// The agent goes offline or the server ends: what is held is given back.
    pub(super) stop: CancellationToken,
}

impl Handler for Relayer {
    fn handle(&self, task: Task) -> HandlerFuture {
        let relayer = self.clone();
        Box::pin(async move {
            match relayer.run(task).await {
                Ok(reply) => Outcome::Complete { reply },
                Err(error) => error.into_outcome(),
            }
        })
    }

    fn cancel_grace(&self) -> Duration {
        GRACE
    }
}

impl Relayer {
    async fn run(&self, task: Task) -> HandlerResult<Option<Payload>> {
        let known = watch::Sender::new(String::new());
        let mut id = known.subscribe();
        let mut work = Box::pin(self.work(&task, &known));
        tokio::select! {
            done = &mut work => return done,
            () = task.cancelled() => {}
        }
        // Somebody else may have it now, and goes on.
        if !self.is_over(&task).await {
            return Err(HandlerError::release());
        }
        tokio::select! {
            _ended = &mut work => {}
            _known = id.wait_for(|id| !id.is_empty()) => {}
        }
        drop(work);
        let id = id.borrow().clone();
        if !id.is_empty() {
            let (shared, beside) = (self.shared.clone(), beside(&task));
            let calling_off = tokio::spawn(async move {
                tokio::select! {
                    () = shared.over.cancelled() => {}
                    () = shared.call_off(&id, &beside) => {}
                }
            });
            // If it takes longer than this may, it goes on without.
            let _ended = calling_off.await;
        }
        Err(HandlerError::release())
    }

    /// Whether a delivery was called off because its task has ended, and not because it is held by
    /// somebody else.
    async fn is_over(&self, task: &Task) -> bool {
        if task.remaining().is_some_and(|left| left.is_zero()) {
            return true;
        }
        if !task.is_task() {
            // It is attempted once.
            return true;
        }
        match self.shared.snapshot(task.id()).await {
            Ok(snapshot) => snapshot.state.is_terminal(),
            Err(refusal) => refusal.code == RefusalCode::NotFound,
        }
    }

    async fn work(
        &self,
        task: &Task,
        known: &watch::Sender<String>,
    ) -> HandlerResult<Option<Payload>> {
        let mut turn = Turn::begin(self, task, known).await?;
        loop {
            let said = 1 + task.messages().len();
            let end = if turn.link.sending || turn.doubtful {
                turn.doubt().await?;
                continue;
            } else if turn.link.said < said {
                turn.say().await?
            } else {
                turn.follow().await?
            };
            let or = |text: String, instead: &str| {
                if text.is_empty() { instead.to_owned() } else { text }
            };
            return match end {
                End::Completed(reply) => Ok(reply.or_else(|| turn.plain_reply())),
                End::Failed(text) => Err(HandlerError::fail(or(text, "it failed elsewhere"))),
                End::Rejected(text) => {
                    Err(HandlerError::reject(or(text, "it was declined elsewhere")))
                }
                End::Canceled(text) => {
                    let text = or(text, "it was called off elsewhere");
                    if !task.is_task() {
                        return Err(HandlerError::fail(text));
                    }
                    // There is nothing to be called off there any more.
                    known.send_replace(String::new());
                    self.shared.cancel(task, text).await.map_err(refused)?;
                    Err(HandlerError::release())
                }
                End::Waits { reason, message, mark, shown: _ } => {
                    if turn.link.said < said {
                        continue;
                    }
                    if !task.is_task() {
                        let why = "the agent elsewhere asks back, which a plain request cannot \
                                   answer; send it as a task";
                        return Err(HandlerError::fail(why));
                    }
                    (turn.link.asked, turn.link.asked_at) = (mark, turn.link.said);
                    turn.note().await?;
                    self.shared.watch(task.id(), turn.link.task.clone(), beside(task));
                    Err(HandlerError::pause(reason, message))
                }
            };
        }
    }
}

/// What goes with every call for a task.
pub(super) fn beside(task: &Task) -> Beside {
    let header = |name: &str| task.header(name).map(str::to_owned);
    Beside { extensions: header("a2a-extensions"), via: header("a2a-via") }
}

/// What follows from the broker's refusal of what its task was told.
pub(super) fn refused(refusal: Refusal) -> HandlerError {
    match refusal.code {
        RefusalCode::TooLarge | RefusalCode::Invalid => {
            HandlerError::fail(format!("what the agent elsewhere said: {refusal}"))
        }
        _ => HandlerError::retry(refusal),
    }
}

impl Shared {
    /// A task as it stands.
    pub(super) async fn snapshot(&self, id: MessageId) -> Result<TaskSnapshot, Refusal> {
        let query = Query::Task { id, history_length: Some(0) };
        match self.gateway.query(Principal::default(), query).await? {
            Answer::Task(snapshot) => Ok(*snapshot),
            _ => Err(Refusal::new(RefusalCode::Unavailable, "the broker's answer is no task")),
        }
    }

    /// What a task noted before.
    pub(super) async fn recalled(&self, task: MessageId) -> Result<Recall, Refusal> {
        let snapshot = self.snapshot(task).await?;
        let mut recall = Recall::default();
        // It was submitted and begun, and nothing else.
        if snapshot.last_event <= 2 {
            return Ok(recall);
        }
        let mut updates = self.gateway.watch(Principal::default(), task, 0).await?;
        while recall.last < snapshot.last_event {
            let Some(update) = updates.next().await else { break };
            recall.take(&update?);
        }
        Ok(recall)
    }
}
