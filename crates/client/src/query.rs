//! Queries as unary calls.

use crate::dialer::Calls;
use crate::failure;
use tonic::{Response, Status};
use trunkline_proto::{DecodeError, v1};
use trunkline_types::{
    Answer, ContextSnapshot, InboxInfo, MessageStatus, Query, Refusal, Stats, TaskSnapshot,
};

/// Asks something.
///
/// # Errors
/// A [`Refusal`]: the broker's, or that it is not there.
pub(crate) async fn ask(calls: &Calls, url: &str, query: Query) -> Result<Answer, Refusal> {
    let mut calls = calls.clone();
    Ok(match query {
        Query::Task { id, history_length } => {
            let request = v1::GetTaskRequest::from((id, history_length));
            let task: TaskSnapshot = answer(url, calls.get_task(request).await)?;
            Answer::Task(Box::new(task))
        }
        Query::Context { id, history_length } => {
            let request = v1::GetContextRequest::from((id, history_length));
            let context: ContextSnapshot = answer(url, calls.get_context(request).await)?;
            Answer::Context(Box::new(context))
        }
        Query::Tasks(filter) => {
            Answer::Tasks(answer(url, calls.list_tasks(v1::ListTasksRequest::from(filter)).await)?)
        }
        Query::Agents(filter) => Answer::Agents(answer(
            url,
            calls.list_agents(v1::ListAgentsRequest::from(filter)).await,
        )?),
        Query::DeadLetters(filter) => Answer::DeadLetters(answer(
            url,
            calls.list_dead_letters(v1::ListDeadLettersRequest::from(filter)).await,
        )?),
        Query::Message(id) => {
            let message: MessageStatus =
                answer(url, calls.get_message(v1::GetMessageRequest::from(id)).await)?;
            Answer::Message(Box::new(message))
        }
        Query::Inbox(address) => {
            let inbox: InboxInfo =
                answer(url, calls.get_inbox(v1::GetInboxRequest::from(address)).await)?;
            Answer::Inbox(Box::new(inbox))
        }
        Query::Schedules(filter) => Answer::Schedules(answer(
            url,
            calls.list_schedules(v1::ListSchedulesRequest::from(filter)).await,
        )?),
        Query::Stats => {
            let stats: Stats = answer(url, calls.get_stats(v1::GetStatsRequest {}).await)?;
            Answer::Stats(Box::new(stats))
        }
    })
}

pub(crate) fn answer<W, T>(url: &str, response: Result<Response<W>, Status>) -> Result<T, Refusal>
where
    T: TryFrom<W, Error = DecodeError>,
{
    let response = response.map_err(|status| failure::refused(url, &status))?;
    Ok(T::try_from(response.into_inner())?)
}
