//! The reply to a request that repeats another one under an idempotency key.
//!
//! The broker replies to the session that sent the first one. Who repeats it follows the task
//! that it made and is told how that ended.

use super::watch::watch;
use crate::hub::Hub;
use futures_util::StreamExt;
use trunkline_proto::status::to_refusal;
use trunkline_types::session::{Connector, Reply};
use trunkline_types::{
    Answer, Failure, FailureCode, MessageId, Query, Refusal, RefusalCode, TaskSnapshot, TaskState,
};

/// Waits for the end of the first request.
pub(crate) async fn reply_to_first(
    hub: &Hub,
    connector: &dyn Connector,
    first: MessageId,
) -> Result<Reply, Refusal> {
    let mut news = watch(hub, connector, (first, 0), None).await?;
    while let Some(update) = news.next().await {
        update.map_err(|status| to_refusal(&status))?;
    }
    match connector.query(Query::Task(first)).await? {
        Answer::Task(task) => reply(*task),
        _ => Err(Refusal::new(RefusalCode::Unavailable, "the broker's answer is no task")),
    }
}

/// What the sender of a task was told when it ended.
fn reply(task: TaskSnapshot) -> Result<Reply, Refusal> {
    let code = match task.state {
        TaskState::Completed => {
            let result = Ok(task.result.unwrap_or_default());
            return Ok(Reply { request: task.id, agent: task.agent, result });
        }
        TaskState::Failed => FailureCode::Failed,
        TaskState::Canceled => FailureCode::Canceled,
        TaskState::Rejected => FailureCode::Rejected,
        state @ (TaskState::Submitted
        | TaskState::Working
        | TaskState::InputRequired
        | TaskState::AuthRequired) => {
            let message = format!("task {} is {state}, and is not followed any longer", task.id);
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        }
    };
    let failure = Failure { code, reason: task.reason.unwrap_or_default() };
    Ok(Reply { request: task.id, agent: task.agent, result: Err(failure) })
}
