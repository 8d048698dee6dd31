//! `send`: a task, kept on disk before its id is printed; with `--wait` its result.

use crate::args::Global;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::input::{Input, Marks, Target, Tries};
use crate::output::units::{exact_span, parse_span};
use crate::output::{self, Output};
use clap::Args;
use serde_json::json;
use std::io::{self, IsTerminal};
use std::time::Duration;
use trunkline_agent::{Acceptance, Reply, RequestError, SendBuilder};
use trunkline_types::{DeadLetterFilter, Destination, Failure, FailureCode, MessageId};

/// What `send` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline send --skill count-words --file README.md --wait
  echo hello | trunkline send --to agent:greeter -
  trunkline send --skill bill --data '{\"order\":7}' --key order-7 --priority high --ttl 1h")]
pub(crate) struct SendArgs {
    #[command(flatten)]
    target: Target,
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
    tries: Tries,
    /// How long it is of use, counted from its acceptance; for ever when not given.
    #[arg(long, value_name = "SPAN", value_parser = parse_span, help_heading = "Treatment")]
    ttl: Option<Duration>,
}

/// Runs the command.
pub(crate) async fn run(args: SendArgs, global: &Global, output: &Output) -> Result<(), CliError> {
    let SendArgs { target, input, marks, tries, ttl, wait, timeout } = args;
    let to = target.destination()?;
    if wait && !matches!(to, Destination::Agent(_) | Destination::Skill(_)) {
        let message = format!("nobody answers what goes to {to}; leave out --wait");
        return Err(CliError::usage(message));
    }
    let payload = input.payload()?;
    let link = Link::new(global)?;
    let session = link.open().await?;
    let mut outgoing = tries.apply(marks.apply(session.send(to, payload)));
    if let Some(ttl) = ttl {
        outgoing = outgoing.ttl(ttl);
    }
    let result = if wait {
        let id = outgoing.id();
        match result(outgoing, timeout).await {
            Ok(reply) => print_reply(&reply, output),
            Err(RequestError::Failed(failure)) => Err(explain(failure, id, timeout, &link).await),
            Err(RequestError::Refused(refusal)) => Err(refusal.into()),
        }
    } else {
        outgoing.await.map_err(CliError::from).and_then(|accepted| print_id(&accepted, output))
    };
    session.close();
    link.farewell().await;
    result
}

async fn result(outgoing: SendBuilder, timeout: Option<Duration>) -> Result<Reply, RequestError> {
    match timeout {
        Some(span) => outgoing.wait_at_most(span).wait().await,
        None => outgoing.wait().await,
    }
}

/// Prints what the broker said when it accepted something.
pub(super) fn print_id(accepted: &Acceptance, output: &Output) -> Result<(), CliError> {
    let &Acceptance { id, duplicate, targets, dropped } = accepted;
    if output.is_json() {
        return output.value(&json!({
            "id": id.to_string(), "duplicate": duplicate, "targets": targets, "dropped": dropped,
        }));
    }
    if duplicate {
        output.note("note: the key was used before; this is the id of the first");
    }
    if dropped > 0 {
        output.note(format_args!("note: {dropped} of {targets} recipients had no room for it"));
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
