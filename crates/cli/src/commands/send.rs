//! `send`: a task, kept on disk before its id is printed; with `--wait` its result.

use crate::args::Reach;
use crate::around::{self, Around};
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::input::{Input, Target};
use crate::marks::{Life, Marks};
use crate::output::units::{exact_span, parse_span};
use crate::output::{self, Output, units};
use clap::Args;
use serde_json::json;
use std::io::{self, IsTerminal};
use std::pin::pin;
use std::time::Duration;
use trunkline_agent::{Acceptance, Reply, RequestError, SendBuilder};
use trunkline_types::{
    CopyState, DeadLetterFilter, Destination, Failure, FailureCode, Kind, MessageId, MessageStatus,
};

/// What `send` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline send --skill count-words --file README.md --wait
  echo hello | trunkline send --to agent:greeter -
  trunkline send --skill bill --data '{\"order\":7}' --key order-7 --priority high --ttl 1h")]
pub(crate) struct SendArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    target: Target,
    /// What it is, other than work: response, event, broadcast, context-share, status or error.
    #[arg(long)]
    kind: Option<Kind>,
    /// Wait for the result and print it, and nothing else, on stdout.
    #[arg(long)]
    wait: bool,
    /// Wait at most this long. The task goes on.
    #[arg(long, value_name = "SPAN", value_parser = parse_span, requires = "wait")]
    timeout: Option<Duration>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    marks: Marks,
    #[command(flatten)]
    life: Life,
    #[command(flatten)]
    around: Around,
}

/// Runs the command.
pub(crate) async fn run(args: SendArgs, output: &Output) -> Result<(), CliError> {
    let SendArgs { reach, target, kind, input, marks, life, around, wait, timeout } = args;
    let to = target.destination()?;
    if wait && !matches!(to, Destination::Agent(_) | Destination::Skill(_)) {
        return Err(unanswered(&to));
    }
    if let (true, Some(kind)) = (wait, kind.filter(|&kind| kind != Kind::Request)) {
        let message = format!("nobody answers a message of kind {kind}; leave out --wait");
        return Err(CliError::usage(message));
    }
    let cause = around.cause()?;
    let payload = input.payload()?;
    let link = Link::new(&reach)?;
    let lent = if wait { around::lend(output).await? } else { None };
    let session = link.open().await?;
    let due = marks.due();
    let outgoing = cause.apply(kind, session.send(to.clone(), payload));
    let mut outgoing = life.apply(marks.apply(outgoing));
    if let Some(kind) = kind {
        outgoing = outgoing.kind(kind);
    }
    let result = if wait {
        let id = outgoing.id();
        let waiting = unless_parked(&link, id, result(outgoing, timeout), output);
        match Box::pin(waiting).await {
            Ok(reply) => print_reply(&reply, output),
            Err(RequestError::Failed(failure)) => Err(explain(failure, id, timeout, &link).await),
            Err(RequestError::Refused(refusal)) => Err(refusal.into()),
        }
    } else {
        let accepted = outgoing.await.map_err(CliError::from);
        accepted.and_then(|accepted| print_id(&accepted, &to, due, output))
    };
    session.close();
    link.farewell().await;
    if let Some(lent) = lent {
        lent.end().await;
    }
    result
}

async fn result(outgoing: SendBuilder, timeout: Option<Duration>) -> Result<Reply, RequestError> {
    match timeout {
        Some(span) => outgoing.wait_at_most(span).wait().await,
        None => outgoing.wait().await,
    }
}

/// Why `--wait` makes no sense for a destination, and what does.
fn unanswered(to: &Destination) -> CliError {
    let remedy = match to {
        Destination::Topic(_) => "leave out --wait",
        _ => "leave out --wait, or ask for answers with `trunkline request`",
    };
    CliError::usage(format_args!("nobody answers what goes to {to}; {remedy}"))
}

/// How long an answer may take before it is looked up whether anybody is there to give one.
const LOOK: Duration = Duration::from_millis(200);
/// How long the pauses between looks grow at most, where one look after another finds nothing that
/// is decided: a disk may be slow to take the message in.
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Waits for what comes of a message, and tells meanwhile if it waits because nobody serves its
/// destination. What is answered soon costs no look.
pub(super) async fn unless_parked<T>(
    link: &Link,
    id: MessageId,
    result: impl Future<Output = T>,
    output: &Output,
) -> T {
    let look = async {
        let mut pause = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            let message = link.message(id).await;
            if let Some(parked) = message.ok().and_then(|message| is_parked(&message)) {
                if parked {
                    output.note(ABSENT);
                }
                return;
            }
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    };
    let mut result = pin!(result);
    tokio::select! {
        biased;
        result = &mut result => return result,
        () = look => {}
    }
    result.await
}

/// Whether a message waits for somebody to come; `None` while that is not decided yet: before it
/// is accepted, and until its acceptance is as durable as was asked.
fn is_parked(message: &MessageStatus) -> Option<bool> {
    let states = || message.copies.iter().map(|copy| copy.state);
    if message.copies.is_empty() || states().any(|state| state == CopyState::Staged) {
        return None;
    }
    Some(states().any(|state| state == CopyState::Parked))
}

/// Said when nobody serves an agent or a skill.
const ABSENT: &str = "note: nobody serves its destination at the moment; it waits for somebody";

/// What a sender should know of the recipients, if it is out of the ordinary. What is `due` later
/// is not routed yet.
fn remark(accepted: &Acceptance, to: &Destination, due: bool) -> Option<String> {
    let &Acceptance { duplicate, targets, parked, dropped, .. } = accepted;
    match (to, targets, parked) {
        // Of the first one of a key nothing is told again.
        (_, _, _) if due || duplicate => None,
        (Destination::Topic(topic), 0, 0) => Some(format!("note: nobody subscribes to {topic}")),
        (Destination::Topic(topic), 0, _) => {
            Some(format!("note: nobody subscribes to {topic} yet; it waits for whoever does first"))
        }
        (Destination::All, 0, 0) => Some("note: nobody is there; it went nowhere".into()),
        (_, 0, 0) => Some("note: nobody serves its destination; it went nowhere".into()),
        (_, 0, _) => Some("note: nobody is there yet; it waits for whoever comes first".into()),
        (Destination::Agents(ids), _, 0) => {
            // Copies for those who are not there are discarded only if the sender wants that.
            let absent = ids.len().saturating_sub((targets + dropped) as usize);
            let who = units::counted(absent as u64, "recipient is", "recipients are");
            let all = ids.len();
            (absent > 0)
                .then(|| format!("note: of {all}, {who} not there; it goes no further for these"))
        }
        (_, _, 0) => None,
        (Destination::Agent(_) | Destination::Skill(_), _, _) => Some(ABSENT.into()),
        (_, 1, _) => Some("note: its one recipient is not there; it waits for it".into()),
        (_, _, 1) => Some(format!("note: 1 of {targets} recipients is not there; it waits for it")),
        (_, _, _) => {
            Some(format!("note: {parked} of {targets} recipients are not there; it waits for them"))
        }
    }
}

/// Prints what the broker said when it accepted something. What is `due` later is not routed yet.
pub(super) fn print_id(
    accepted: &Acceptance,
    to: &Destination,
    due: bool,
    output: &Output,
) -> Result<(), CliError> {
    let &Acceptance { id, duplicate, targets, dropped, parked } = accepted;
    if output.is_json() {
        return output.value(&json!({
            "id": id.to_string(),
            "duplicate": duplicate,
            "targets": targets,
            "dropped": dropped,
            "parked": parked,
        }));
    }
    if duplicate {
        output.note("note: the key was used before; this is the id of the first");
    }
    if dropped > 0 {
        let all = units::counted((targets + dropped).into(), "recipient", "recipients");
        output.note(format_args!("note: {dropped} of {all} had no room for it"));
    }
    // To whoever had no room it went all the same.
    if let Some(remark) = remark(accepted, to, due).filter(|_| targets > 0 || dropped == 0) {
        output.note(remark);
    }
    output.line(id)
}

/// Prints an answer: its bytes as they are, so that a script can use them.
pub(super) fn print_reply(reply: &Reply, output: &Output) -> Result<(), CliError> {
    let Reply { request, agent, payload } = reply;
    if output.is_json() {
        return output.value(&json!({
            "id": request.to_string(),
            "agent": agent.as_ref().map(ToString::to_string),
            "payload": output::payload(payload),
        }));
    }
    let payload = output::plain(payload);
    output.bytes(&payload.data)?;
    // A prompt glued to the answer helps nobody; a pipe gets exactly the answer.
    if io::stdout().is_terminal() && !payload.data.is_empty() && !payload.data.ends_with(b"\n") {
        output.bytes(b"\n")?;
    }
    Ok(())
}

/// Why there is no answer, as exactly as the broker knows.
async fn explain(
    failure: Failure,
    id: MessageId,
    timeout: Option<Duration>,
    link: &Link,
) -> CliError {
    let goes_on = format!("see what becomes of it with `trunkline task watch {id}`");
    match failure.code {
        FailureCode::Expired => {
            let task = link.task(id).await;
            match (timeout, task) {
                (Some(span), Ok(task)) if !task.state.is_terminal() => {
                    let message = format!("no answer within {}", exact_span(span));
                    CliError::new(Exit::Timeout, message).hint(goes_on)
                }
                // The broker is away, so nobody can know whether the task has ended.
                (Some(span), Err(_)) => {
                    let message = format!("no answer within {}", exact_span(span));
                    CliError::new(Exit::Timeout, message).hint(goes_on)
                }
                _ => failure.into(),
            }
        }
        // What was looked up after a restart is known by its state only.
        FailureCode::Failed => {
            let filter = DeadLetterFilter { id: Some(id), ..DeadLetterFilter::default() };
            let dead = link.dead_letters(filter).await;
            let code = match dead {
                Ok(page) if !page.letters.is_empty() => FailureCode::DeadLettered,
                _ if failure.reason.starts_with("EXPIRED") => FailureCode::Expired,
                _ => FailureCode::Failed,
            };
            with_remedy(Failure { code, ..failure }, id)
        }
        _ => with_remedy(failure, id),
    }
}

fn with_remedy(failure: Failure, id: MessageId) -> CliError {
    let dead = failure.code == FailureCode::DeadLettered;
    let error = CliError::from(failure);
    if dead {
        error.hint(format_args!("every attempt's reason: `trunkline dead show {id}`"))
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::{CopyStatus, Partition};

    #[test]
    fn a_message_that_is_not_durable_yet_is_looked_at_again() {
        let status = |states: &[CopyState]| {
            let copy = |&state| CopyStatus { inbox: None, state, attempts: 0, agent: None };
            MessageStatus {
                id: MessageId::from_parts(1, Partition(0), 1),
                kind: None,
                destination: None,
                accepted_at: None,
                copies: states.iter().map(copy).collect(),
            }
        };
        for (states, parked) in [
            (&[][..], None),
            (&[CopyState::Staged], None),
            (&[CopyState::Parked, CopyState::Staged], None),
            (&[CopyState::Parked], Some(true)),
            (&[CopyState::Waiting], Some(false)),
            (&[CopyState::Completed, CopyState::Parked], Some(true)),
        ] {
            assert_eq!(is_parked(&status(states)), parked, "{states:?}");
        }
    }
}
