//! `request`: ask and print the answer.

use super::send::print_reply;
use crate::args::Global;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::input::{Input, Marks, Target, Tries};
use crate::output::Output;
use crate::output::units::{exact_span, parse_span};
use clap::Args;
use std::time::Duration;
use trunkline_agent::RequestError;
use trunkline_types::{Destination, FailureCode};

/// What `request` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline request --skill count-words --data 'one two three'
  trunkline request --to agent:oracle --timeout 5s --file question.txt")]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    target: Target,
    /// How long the answer is of use. After that nobody begins with it any more.
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "30s")]
    timeout: Duration,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    marks: Marks,
    #[command(flatten)]
    tries: Tries,
}

/// Runs the command.
pub(crate) async fn run(
    args: RequestArgs,
    global: &Global,
    output: &Output,
) -> Result<(), CliError> {
    let RequestArgs { target, input, marks, tries, timeout } = args;
    let to = target.destination()?;
    if !matches!(to, Destination::Agent(_) | Destination::Skill(_)) {
        let message = format!("nobody answers what goes to {to}; use `trunkline publish`");
        return Err(CliError::usage(message));
    }
    let payload = input.payload()?;
    let link = Link::new(global)?;
    let session = link.open().await?;
    let request = tries.apply(marks.apply(session.request(to, payload))).timeout(timeout);
    let result = match request.await {
        Ok(reply) => print_reply(&reply, output),
        Err(RequestError::Failed(failure)) if failure.code == FailureCode::Expired => {
            let message = format!("no answer within {}", exact_span(timeout));
            Err(CliError::new(Exit::Timeout, message)
                .hint("see with `trunkline agents list` who is there, or give it more --timeout"))
        }
        Err(error) => Err(error.into()),
    };
    session.close();
    link.farewell().await;
    result
}
