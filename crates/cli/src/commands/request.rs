//! `request`: ask one or several and print what they answer.

use super::send::{print_reply, unless_parked};
use crate::args::Reach;
use crate::around::{self, Around, Caused};
use crate::connect::Link;
use crate::error::{CliError, failed};
use crate::exit::Exit;
use crate::input::{Input, Target};
use crate::marks::Marks;
use crate::output::units::{exact_span, parse_size, parse_span};
use crate::output::{self, Output, units};
use clap::Args;
use std::future::IntoFuture;
use std::time::Duration;
use trunkline_agent::{RequestError, Session};
use trunkline_types::{
    Destination, Failure, FailureCode, Gather, GatherRule, Gathered, GatheredPart, Payload,
};

/// What `request` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline request --skill count-words --data 'one two three'
  trunkline request --to agent:oracle --timeout 5s --file question.txt
  trunkline request --to agents:ann,bob --data 'agreed?' --timeout 5s
  trunkline request --skill quote --gather quorum:2 --data '{\"item\":7}' --json

To several agents, to all, or with --gather to every agent that offers the skill, it prints one
line for each answer, the agent in front, and on stderr who did not answer and why.")]
pub(crate) struct RequestArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    target: Target,
    /// How long the answer is of use. After that nobody begins with it any more.
    #[arg(
        long,
        value_name = "SPAN",
        allow_hyphen_values = true,
        value_parser = parse_span,
        default_value = "30s"
    )]
    timeout: Duration,
    /// Ask several and end when enough have answered: first, all or quorum:N. To several agents
    /// or to all it is all when not given.
    #[arg(long, value_name = "RULE", value_parser = rule)]
    gather: Option<GatherRule>,
    /// Most bytes of all answers together; one beyond that is left out [default: 8MiB].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    reply_bytes: Option<u64>,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    marks: Marks,
    #[command(flatten)]
    around: Around,
}

/// Runs the command.
pub(crate) async fn run(args: RequestArgs, output: &Output) -> Result<(), CliError> {
    let RequestArgs { reach, target, timeout, gather, reply_bytes, input, marks, around } = args;
    let to = target.destination()?;
    let several = match (&to, gather) {
        (Destination::Topic(_), _) => {
            let message = format!("nobody answers what goes to {to}; use `trunkline publish`");
            return Err(CliError::usage(message));
        }
        (Destination::Agents(_) | Destination::All, rule) => Some(rule.unwrap_or(GatherRule::All)),
        (Destination::Agent(_) | Destination::Skill(_), rule) => rule,
    };
    if several.is_none() && reply_bytes.is_some() {
        let message = "--reply-bytes bounds the answers of several; name --gather too";
        return Err(CliError::usage(message));
    }
    let cause = around.cause()?;
    let payload = input.payload()?;
    let link = Link::new(&reach)?;
    let lent = around::lend(output).await?;
    let session = link.open().await?;
    let marks = (cause, marks);
    let result = match several {
        None => one(&link, &session, to, payload, marks, timeout, output).await,
        Some(rule) => {
            let most = reply_bytes.unwrap_or_else(|| Gather::REPLY_BYTES.into());
            let gather = Gather { rule, reply_bytes: u32::try_from(most).unwrap_or(u32::MAX) };
            many(&session, to, payload, marks, timeout, gather, output).await
        }
    };
    session.close();
    link.farewell().await;
    if let Some(lent) = lent {
        lent.end().await;
    }
    result
}

async fn one(
    link: &Link,
    session: &Session,
    to: Destination,
    payload: Payload,
    (cause, marks): (Caused, Marks),
    timeout: Duration,
    output: &Output,
) -> Result<(), CliError> {
    let request = marks.apply(cause.apply(None, session.request(to, payload))).timeout(timeout);
    let id = request.id();
    match Box::pin(unless_parked(link, id, request.into_future(), output)).await {
        Ok(reply) => print_reply(&reply, output),
        Err(RequestError::Failed(failure)) if failure.code == FailureCode::Expired => {
            let message = format!("no answer within {}", exact_span(timeout));
            Err(CliError::new(Exit::Timeout, message)
                .hint("see with `trunkline agents list` who is there, or give it more --timeout"))
        }
        Err(error) => Err(error.into()),
    }
}

async fn many(
    session: &Session,
    to: Destination,
    payload: Payload,
    (cause, marks): (Caused, Marks),
    timeout: Duration,
    gather: Gather,
    output: &Output,
) -> Result<(), CliError> {
    let Gather { rule, reply_bytes } = gather;
    let request = marks.apply(cause.apply(None, session.gather(to, payload))).timeout(timeout);
    let gathered = request.rule(rule).reply_bytes(reply_bytes).await?;
    if output.is_json() {
        output.value(&output::gathered(&gathered))?;
    } else {
        for GatheredPart { agent, result } in &gathered.parts {
            match result {
                Ok(answer) => {
                    output.line(format_args!("{agent}\t{}", output::one_line(answer)))?;
                }
                Err(failure) => output.note(format_args!("{agent}: {}", why(failure))),
            }
        }
    }
    let Gathered { complete, parts, .. } = &gathered;
    if *complete {
        return Ok(());
    }
    let (came, asked) = (gathered.answers().count(), parts.len());
    let wanted = match rule {
        GatherRule::First => 1,
        GatherRule::All => asked,
        GatherRule::Quorum(count) => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let asked = units::counted(asked as u64, "agent", "agents");
    let were = if wanted == 1 { "was" } else { "were" };
    let span = exact_span(timeout);
    let message = format!("{came} of {asked} answered within {span}, {wanted} {were} wanted");
    Err(CliError::new(Exit::Incomplete, message))
}

fn why(Failure { code, reason }: &Failure) -> String {
    match reason.trim() {
        "" => failed(*code).to_owned(),
        reason => format!("{}: {reason}", failed(*code)),
    }
}

fn rule(text: &str) -> Result<GatherRule, String> {
    let wrong =
        || format!("unknown rule '{}'; it is one of first, all, quorum:N", units::shown(text));
    match text {
        "first" => Ok(GatherRule::First),
        "all" => Ok(GatherRule::All),
        _ => {
            let count = text.strip_prefix("quorum:").ok_or_else(wrong)?;
            match count.parse() {
                Ok(0) => Err("a quorum of 0 wants no answer; write it like quorum:2, the range \
                              of N is 1 to 4294967295"
                    .into()),
                Ok(count) => Ok(GatherRule::Quorum(count)),
                Err(_) => Err(format!(
                    "the quorum is '{}', which is no number of answers; write it like quorum:2, \
                     the range of N is 1 to 4294967295",
                    units::shown(count)
                )),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_one_of_three() {
        assert_eq!(rule("first"), Ok(GatherRule::First));
        assert_eq!(rule("all"), Ok(GatherRule::All));
        assert_eq!(rule("quorum:2"), Ok(GatherRule::Quorum(2)));
        for text in ["", "some", "quorum"] {
            assert!(rule(text).unwrap_err().contains("quorum:N"), "{text}");
        }
        assert!(rule("quorum:0").unwrap_err().contains("a quorum of 0 wants no answer"));
        for text in ["quorum:x", "quorum:-1", "quorum:4294967296"] {
            assert!(rule(text).unwrap_err().contains("the range of N is 1 to"), "{text}");
        }
    }
}
