//! What several commands take alike: where something goes, its payload, how it is treated.

use crate::error::CliError;
use crate::exit::Exit;
use crate::output::units::parse_span;
use clap::Args;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;
use trunkline_agent::Outgoing;
use trunkline_types::{
    ContextId, Destination, Durability, IdempotencyKey, OrderingKey, Payload, Priority, SkillName,
    Topic,
};

/// Where a task goes.
#[derive(Args, Debug)]
#[group(id = "destination", required = true, multiple = false)]
pub(crate) struct Target {
    /// Destination: agent:ID, skill:NAME, topic:A.B.C, agents:ID,ID or all.
    #[arg(long, value_name = "DEST")]
    to: Option<Destination>,
    /// One of the agents that offer this skill.
    #[arg(long)]
    skill: Option<SkillName>,
    /// All subscribers of this topic.
    #[arg(long)]
    topic: Option<Topic>,
}

impl Target {
    /// The one of the three that was given.
    pub(crate) fn destination(self) -> Result<Destination, CliError> {
        let Self { to, skill, topic } = self;
        let to = to.or(skill.map(Destination::Skill)).or(topic.map(Destination::Topic));
        to.ok_or_else(|| CliError::usage("no destination; give --to, --skill or --topic"))
    }
}

/// The payload.
#[derive(Args, Debug)]
pub(crate) struct Input {
    /// Take the payload from this file.
    #[arg(long, value_name = "FILE", group = "payload", help_heading = "Payload")]
    file: Option<PathBuf>,
    /// This text is the payload.
    #[arg(long, value_name = "TEXT", group = "payload", help_heading = "Payload")]
    data: Option<String>,
    /// Take the payload from stdin. Without any of the three it is empty.
    #[arg(value_name = "-", value_parser = ["-"], group = "payload", help_heading = "Payload")]
    stdin: Option<String>,
    /// What the payload is; by default text/plain if it is UTF-8.
    #[arg(long, value_name = "TYPE", help_heading = "Payload")]
    content_type: Option<String>,
}

impl Input {
    /// Reads the payload.
    pub(crate) fn payload(self) -> Result<Payload, CliError> {
        let Self { file, data, stdin, content_type } = self;
        let bytes = if let Some(path) = file {
            fs::read(&path).map_err(|error| {
                let message = format!("cannot read {}: {error}", path.display());
                CliError::new(Exit::Usage, message)
            })?
        } else if stdin.is_some() {
            let mut bytes = Vec::new();
            io::stdin().lock().read_to_end(&mut bytes).map_err(|error| {
                CliError::new(Exit::General, format_args!("cannot read stdin: {error}"))
            })?;
            bytes
        } else {
            data.unwrap_or_default().into_bytes()
        };
        Ok(match content_type {
            Some(content_type) => Payload::new(content_type, bytes),
            None if bytes.is_empty() => Payload::default(),
            None => match String::from_utf8(bytes) {
                Ok(text) => Payload::text(text),
                Err(error) => Payload::new("application/octet-stream", error.into_bytes()),
            },
        })
    }
}

/// How anything that is sent can be marked.
#[derive(Args, Debug)]
#[command(next_help_heading = "Treatment")]
pub(crate) struct Marks {
    /// How urgent it is: low, normal, high or urgent.
    #[arg(long, default_value = "normal")]
    priority: Priority,
    /// Accept it once under this key, however often it is sent.
    #[arg(long, value_name = "KEY")]
    key: Option<IdempotencyKey>,
    /// Handle it strictly in order with others of this key.
    #[arg(long, value_name = "KEY")]
    ordering_key: Option<OrderingKey>,
    /// A header; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// The conversation that it belongs to.
    #[arg(long, value_name = "ID")]
    context: Option<ContextId>,
    /// What a crash may take: ephemeral, buffered or synced.
    #[arg(long)]
    durability: Option<Durability>,
    /// Deliver not before this long after its acceptance.
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    delay: Option<Duration>,
}

impl Marks {
    /// Marks what is to be sent.
    pub(crate) fn apply<K>(self, mut outgoing: Outgoing<K>) -> Outgoing<K> {
        let Self { priority, key, ordering_key, header, context, durability, delay } = self;
        outgoing = outgoing.priority(priority).headers(header);
        if let Some(key) = key {
            outgoing = outgoing.key(key);
        }
        if let Some(key) = ordering_key {
            outgoing = outgoing.ordering_key(key);
        }
        if let Some(context) = context {
            outgoing = outgoing.context(context);
        }
        if let Some(durability) = durability {
            outgoing = outgoing.durability(durability);
        }
        if let Some(delay) = delay {
            outgoing = outgoing.delay(delay);
        }
        outgoing
    }
}

/// How delivery of work is tried.
#[derive(Args, Debug)]
#[command(next_help_heading = "Treatment")]
pub(crate) struct Tries {
    /// How often delivery is attempted at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempts: Option<u32>,
    /// Refuse it when nobody serves the destination, rather than let it wait.
    #[arg(long)]
    fail_if_absent: bool,
}

impl Tries {
    /// Says how delivery of what is to be sent is tried.
    pub(crate) fn apply<K>(self, mut outgoing: Outgoing<K>) -> Outgoing<K> {
        let Self { attempts, fail_if_absent } = self;
        if let Some(attempts) = attempts {
            outgoing = outgoing.attempts(attempts);
        }
        if fail_if_absent {
            outgoing = outgoing.fail_if_absent();
        }
        outgoing
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("'{text}' is no header; write it like NAME=VALUE")),
    }
}
