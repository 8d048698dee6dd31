//! A broker's task as a client of the standard sees it.

use crate::content::{Place, is_bare, text_message, to_message};
use crate::fault::Fault;
use crate::wire::{self, Artifact, Struct};
use serde_json::json;
use trunkline_types::{
    ContextId, HistoryMessage, MessageId, Payload, Progress, Role, TaskSnapshot, TaskState,
    WallTime,
};

/// A state by the standard's name.
pub(crate) fn state(state: TaskState) -> wire::TaskState {
    match state {
        TaskState::Submitted => wire::TaskState::Submitted,
        TaskState::Working => wire::TaskState::Working,
        TaskState::InputRequired => wire::TaskState::InputRequired,
        TaskState::AuthRequired => wire::TaskState::AuthRequired,
        TaskState::Completed => wire::TaskState::Completed,
        TaskState::Failed => wire::TaskState::Failed,
        TaskState::Canceled => wire::TaskState::Canceled,
        TaskState::Rejected => wire::TaskState::Rejected,
    }
}

/// The broker's name of a state; `None` if none is named.
pub(crate) fn own_state(state: wire::TaskState) -> Option<TaskState> {
    Some(match state {
        wire::TaskState::Unspecified => return None,
        wire::TaskState::Submitted => TaskState::Submitted,
        wire::TaskState::Working => TaskState::Working,
        wire::TaskState::InputRequired => TaskState::InputRequired,
        wire::TaskState::AuthRequired => TaskState::AuthRequired,
        wire::TaskState::Completed => TaskState::Completed,
        wire::TaskState::Failed => TaskState::Failed,
        wire::TaskState::Canceled => TaskState::Canceled,
        wire::TaskState::Rejected => TaskState::Rejected,
    })
}

/// Whether a task in this state waits for its caller.
pub(crate) fn is_interrupted(state: TaskState) -> bool {
    matches!(state, TaskState::InputRequired | TaskState::AuthRequired)
}

/// The conversation of a task. A task that was sent without one is a conversation of its own.
pub(crate) fn context(id: MessageId, context: Option<&ContextId>) -> String {
    context.map_or_else(|| id.to_string(), |context| context.as_str().to_owned())
}

/// A status as it stands.
pub(crate) fn status(
    of: TaskState,
    message: Option<wire::Message>,
    at: WallTime,
) -> wire::TaskStatus {
    wire::TaskStatus { state: state(of).into(), message, timestamp: Some(at.into()) }
}

/// What a status says besides its state: the answer, the reason, or what is being done.
pub(crate) fn status_message(
    of: TaskState,
    reason: Option<&str>,
    result: Option<&Payload>,
    place: Place<'_>,
) -> Result<Option<wire::Message>, Fault> {
    match (of, result) {
        (TaskState::Completed, Some(result)) if !result.data.is_empty() => {
            to_message(result, wire::Role::Agent, place).map(Some)
        }
        _ => Ok(reason.filter(|text| !text.is_empty()).map(|text| text_message(text, place))),
    }
}

/// How far a task is, as metadata.
pub(crate) fn progress_metadata(progress: &Progress) -> Struct {
    Struct([("progress".to_owned(), json!(progress.percent))].into_iter().collect())
}

/// How many messages to ask the broker for, so that as many as are wanted remain when the one that
/// the status shows is left out of the history.
pub(crate) fn messages_to_ask(history_length: Option<i32>) -> Option<u32> {
    history_length.map(|length| u32::try_from(length).unwrap_or(0).saturating_add(1))
}

/// A task with its artifacts and at most so many of its latest messages.
pub(crate) fn task(
    snapshot: &TaskSnapshot,
    artifacts: Vec<Artifact>,
    history_length: Option<i32>,
) -> Result<wire::Task, Fault> {
    let TaskSnapshot { id, context_id, state: of, reason, result, updated_at, .. } = snapshot;
    let context_id = context(*id, context_id.as_ref());
    let place = Place { task: *id, context: &context_id, at: *updated_at };
    let mut said = snapshot.history.messages.as_slice();
    let message = if is_interrupted(*of) {
        // What it asks is the last thing that was said, if it asks in words.
        match said.split_last() {
            Some((question, before)) if question.role == Role::Agent => {
                said = before;
                Some(shown(question, &context_id)?)
            }
            _ => None,
        }
    } else {
        if let (Some((last, before)), Some(result)) = (said.split_last(), result)
            && last.role == Role::Agent
            && last.payload == *result
        {
            said = before;
        }
        status_message(*of, reason.as_deref(), result.as_ref(), place)?
    };
    let wanted = history_length.map_or(said.len(), |length| usize::try_from(length).unwrap_or(0));
    let latest = &said[said.len().saturating_sub(wanted)..];
    let history = latest.iter().map(|message| shown(message, &context_id));
    let working = (*of == TaskState::Working).then_some(snapshot.progress.as_ref()).flatten();
    let doing = working.filter(|progress| !progress.text.is_empty());
    Ok(wire::Task {
        id: id.to_string(),
        status: Some(status(
            *of,
            message.or_else(|| doing.map(|progress| text_message(&progress.text, place))),
            *updated_at,
        )),
        artifacts,
        history: history.collect::<Result<_, _>>()?,
        metadata: working.map(progress_metadata),
        context_id,
    })
}

/// The answer of a task that has ended, if its agent wants that told by itself.
pub(crate) fn bare_answer(snapshot: &TaskSnapshot) -> Result<Option<wire::Message>, Fault> {
    let TaskSnapshot { id, context_id, state, result, updated_at, .. } = snapshot;
    let answer = result.as_ref().filter(|result| *state == TaskState::Completed && is_bare(result));
    let Some(answer) = answer else { return Ok(None) };
    let context = context(*id, context_id.as_ref());
    let place = Place { task: *id, context: &context, at: *updated_at };
    to_message(answer, wire::Role::Agent, place).map(Some)
}

/// One message of a task's history.
fn shown(message: &HistoryMessage, context: &str) -> Result<wire::Message, Fault> {
    let HistoryMessage { task, role, from: _, at, payload } = message;
    let role = match role {
        Role::Caller => wire::Role::User,
        Role::Agent => wire::Role::Agent,
    };
    to_message(payload, role, Place { task: *task, context, at: *at })
}

/// Whether a task may have artifacts at all: one that was submitted, begun and ended without any
/// has three events.
pub(crate) fn may_have_artifacts(snapshot: &TaskSnapshot) -> bool {
    snapshot.last_event > 2 + u64::from(snapshot.state.is_terminal())
}
