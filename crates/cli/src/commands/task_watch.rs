//! `task watch`: what happens to a task until it ends.

use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Output, units};
use trunkline_agent::{Session, TaskUpdates};
use trunkline_types::{
    ArtifactChunk, MessageId, Refusal, RefusalCode, TaskEvent, TaskEventBody, TaskState, TaskUpdate,
};

/// Runs the command.
pub(super) async fn run(
    link: &Link,
    id: MessageId,
    after: u64,
    output: &Output,
) -> Result<(), CliError> {
    let task = link.task(id).await?;
    if after > task.last_event {
        let last = task.last_event;
        let message = format!("--after is {after}, the task's last event is {last}");
        return Err(CliError::new(Exit::Usage, message));
    }
    // Nothing more happens to it, so that there would be nothing to wait for.
    if task.state.is_terminal() && after == task.last_event {
        return ended(task.state);
    }
    let session = link.open().await?;
    let result = watch(&session, id, after, output).await;
    session.close();
    link.farewell().await;
    ended(result?.unwrap_or(task.state))
}

async fn watch(
    session: &Session,
    id: MessageId,
    after: u64,
    output: &Output,
) -> Result<Option<TaskState>, CliError> {
    let mut updates = session.watch(id, after).await?;
    print(&mut updates, output).await
}

async fn print(updates: &mut TaskUpdates, output: &Output) -> Result<Option<TaskState>, CliError> {
    let mut last = None;
    while let Some(update) = updates.next().await {
        let update = update?;
        if let TaskUpdate::Event(TaskEvent { body: TaskEventBody::Status { state, .. }, .. }) =
            &update
        {
            last = Some(*state);
        }
        if output.is_json() {
            output.value(&output::task_update(&update))?;
        } else {
            output.line(line(&update))?;
        }
    }
    Ok(last)
}

fn line(update: &TaskUpdate) -> String {
    match update {
        TaskUpdate::Event(TaskEvent { number, at: _, epoch: _, body }) => {
            format!("{number:>4}  {}", event(body))
        }
        TaskUpdate::Progress(progress) => {
            format!("      progress {}% {}", progress.percent, progress.text)
        }
        TaskUpdate::Gap { first, last } => format!("      events {first} to {last} are gone"),
    }
}

fn event(body: &TaskEventBody) -> String {
    match body {
        TaskEventBody::Status { state, reason: None } => state.to_string(),
        TaskEventBody::Status { state, reason: Some(reason) } => format!("{state}: {reason}"),
        TaskEventBody::Artifact(ArtifactChunk { name, append, last, payload }) => {
            let size = units::size(payload.data.len() as u64);
            let what = if *append { "continues" } else { "begins" };
            let end = if *last { ", the last chunk" } else { "" };
            format!("artifact {name} {what} with {size}{end}")
        }
        TaskEventBody::Message { from, payload } => {
            let from = from.as_ref().map_or_else(|| "caller".into(), ToString::to_string);
            format!("{from} says: {}", payload.to_text())
        }
    }
}

/// The exit code tells how the task ended; its last line has told why.
fn ended(state: TaskState) -> Result<(), CliError> {
    let exit = match state {
        TaskState::Completed => return Ok(()),
        TaskState::Failed => Exit::Failed,
        TaskState::Canceled => Exit::Canceled,
        TaskState::Rejected => Exit::Rejected,
        TaskState::Submitted
        | TaskState::Working
        | TaskState::InputRequired
        | TaskState::AuthRequired => {
            let message = "the broker ended the session before the task has ended";
            return Err(Refusal::new(RefusalCode::Unavailable, message).into());
        }
    };
    Err(CliError::new(exit, format_args!("the task ended {state}")))
}
