//! What became of tasks whose reply would have gone to a session that the broker has forgotten.
//!
//! Looks each up with a unary call, and follows those that have not ended until they have. A few
//! are followed at a time; while others wait for their turn, a turn is bounded.

use crate::dialer::Calls;
use crate::failure;
use crate::session::policy::Policy;
use crate::session::shared::Shared;
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tonic::Status;
use trunkline_proto::v1;
use trunkline_types::session::Reply;
use trunkline_types::{Failure, FailureCode, MessageId, Refusal, TaskSnapshot};

/// How many tasks are followed at a time. Under the number of streams that HTTP/2 servers allow
/// on a connection, so that queries still get through.
const AT_A_TIME: usize = 64;
/// How long one is followed while others wait.
const TURN: Duration = Duration::from_secs(1);

/// Seeks for one session.
pub(super) struct Seeker {
    pub(super) shared: Arc<Shared>,
    pub(super) calls: Calls,
    pub(super) url: String,
    pub(super) policy: Policy,
}

impl Seeker {
    /// Finds out how these tasks end and hands their replies to the session.
    pub(super) async fn find_out(self, tasks: Vec<MessageId>) {
        let workers = tasks.len().min(AT_A_TIME);
        let queue = Mutex::new(VecDeque::from(tasks));
        join_all((0..workers).map(|_| self.work(&queue))).await;
    }

    async fn work(&self, queue: &Mutex<VecDeque<MessageId>>) {
        let mut delays = self.policy.delays();
        while let Some(task) = pop(queue) {
            match self.look_up(task).await {
                Ok(Found::Ended(reply)) => {
                    self.shared.lock().found(reply);
                    self.shared.wake_reader();
                    delays = self.policy.delays();
                }
                Ok(Found::Open { last_event }) => {
                    let others_wait = !queue.lock().is_empty();
                    let follow = self.follow(task, last_event);
                    let followed = if others_wait {
                        timeout(TURN, follow).await.unwrap_or(Ok(()))
                    } else {
                        follow.await
                    };
                    queue.lock().push_back(task);
                    if let Err(status) = followed {
                        tracing::debug!(%task, %status, "a task cannot be followed");
                        sleep(delays.next().unwrap_or(TURN)).await;
                    }
                }
                Err(refusal) => {
                    tracing::debug!(%task, %refusal, "a task cannot be looked up");
                    queue.lock().push_back(task);
                    sleep(delays.next().unwrap_or(TURN)).await;
                }
            }
        }
    }

    /// # Errors
    /// A refusal that waiting may cure.
    async fn look_up(&self, task: MessageId) -> Result<Found, Refusal> {
        let mut calls = self.calls.clone();
        let snapshot = match calls.get_task(v1::GetTaskRequest::from((task, Some(0)))).await {
            Ok(response) => TaskSnapshot::try_from(response.into_inner()).map_err(Refusal::from),
            Err(status) => Err(failure::refused(&self.url, &status)),
        };
        match snapshot {
            Ok(snapshot) => Ok(match snapshot.outcome() {
                Some(result) => {
                    Found::Ended(Reply { request: snapshot.id, agent: snapshot.agent, result })
                }
                None => Found::Open { last_event: snapshot.last_event },
            }),
            Err(refusal) if failure::may_return(refusal.code) => Err(refusal),
            Err(refusal) => {
                let reason = format!("the broker cannot tell what became of it: {refusal}");
                let result = Err(Failure { code: FailureCode::Lost, reason });
                Ok(Found::Ended(Reply { request: task, agent: None, result }))
            }
        }
    }

    /// Reads a task's events until there will be no more.
    async fn follow(&self, task: MessageId, after: u64) -> Result<(), Status> {
        let request = v1::WatchTaskRequest::from((task, after));
        let mut updates = self.calls.clone().watch_task(request).await?.into_inner();
        while updates.message().await?.is_some() {}
        Ok(())
    }
}

enum Found {
    Ended(Reply),
    Open { last_event: u64 },
}

fn pop(queue: &Mutex<VecDeque<MessageId>>) -> Option<MessageId> {
    queue.lock().pop_front()
}
