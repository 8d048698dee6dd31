//! The reply to a request that repeats another one under an idempotency key.
//!
//! The broker replies to the session that sent the first one. Who repeats it follows the task
//! that it made and is told how that ended.

use super::watch_task::watch_task;
use crate::hub::Hub;
use futures_util::StreamExt;
use trunkline_proto::status::to_refusal;
use trunkline_proto::v1;
use trunkline_types::session::{Connector, Reply};
use trunkline_types::{Answer, MessageId, Query, Refusal, RefusalCode, TaskSnapshot};

/// Waits for the end of the first request.
pub(crate) async fn reply_to_first(
    hub: &Hub,
    connector: &dyn Connector,
    first: MessageId,
) -> Result<Reply, Refusal> {
    let mut news = watch_task::<v1::TaskUpdate>(hub, connector, (first, 0), None).await?;
    while let Some(update) = news.next().await {
        update.map_err(|status| to_refusal(&status))?;
    }
    match connector.query(Query::task(first)).await? {
        Answer::Task(task) => reply(*task),
        _ => Err(Refusal::new(RefusalCode::Unavailable, "the broker's answer is no task")),
    }
}

/// What the sender of a task was told when it ended.
fn reply(task: TaskSnapshot) -> Result<Reply, Refusal> {
    let result = task.outcome().ok_or_else(|| {
        let TaskSnapshot { id, state, .. } = &task;
        let message = format!("task {id} is {state}, and is not followed any longer");
        Refusal::new(RefusalCode::Unavailable, message)
    })?;
    Ok(Reply { request: task.id, agent: task.agent, result })
}
