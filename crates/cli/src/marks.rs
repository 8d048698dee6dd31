//! What several commands take alike: how something that is sent is to be treated.

use crate::output::units::{parse_span, parse_time, shown};
use clap::Args;
use std::time::Duration;
use trunkline_agent::Outgoing;
use trunkline_types::{
    Absent, ContextId, Durability, IdempotencyKey, MessageId, OrderingKey, Priority, WallTime,
};

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
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    header: Vec<(String, String)>,
    /// The conversation that it belongs to.
    #[arg(long, value_name = "ID")]
    context: Option<ContextId>,
    /// The message that it answers or belongs to.
    #[arg(long, value_name = "ID")]
    correlation: Option<MessageId>,
    /// The W3C trace context to carry along.
    #[arg(long, value_name = "TEXT")]
    traceparent: Option<String>,
    /// What a crash may take: ephemeral, buffered or synced.
    #[arg(long)]
    durability: Option<Durability>,
    /// Deliver not before this long after its acceptance.
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true, value_parser = parse_span)]
    delay: Option<Duration>,
    /// Deliver not before this time, such as 2030-01-31T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    not_before: Option<WallTime>,
    /// How long a handler may run, however often it says that it is alive.
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true, value_parser = parse_span)]
    max_run: Option<Duration>,
    /// How often delivery is attempted at most.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = attempts
    )]
    attempts: Option<u32>,
    /// When nobody serves the destination: park it until somebody does, fail, or discard it.
    #[arg(long, value_name = "POLICY", value_parser = absent)]
    absent: Option<Absent>,
}

impl Marks {
    /// Whether it is to be delivered at a later time.
    pub(crate) fn due(&self) -> bool {
        self.delay.is_some() || self.not_before.is_some()
    }

    /// Marks what is to be sent.
    pub(crate) fn apply<K>(self, outgoing: Outgoing<K>) -> Outgoing<K> {
        let Self {
            priority,
            key,
            ordering_key,
            header,
            context,
            correlation,
            traceparent,
            durability,
            delay,
            not_before,
            max_run,
            attempts,
            absent,
        } = self;
        let mut outgoing = outgoing.priority(priority).headers(header);
        macro_rules! set {
            ($($option:ident => $method:ident),+) => {
                $(if let Some(value) = $option {
                    outgoing = outgoing.$method(value);
                })+
            };
        }
        set!(
            key => key,
            ordering_key => ordering_key,
            context => context,
            correlation => correlation,
            traceparent => traceparent,
            durability => durability,
            delay => delay,
            not_before => not_before,
            max_run => max_run,
            attempts => attempts,
            absent => absent
        );
        outgoing
    }
}

/// How long something is of use.
#[derive(Args, Debug)]
#[command(next_help_heading = "Treatment")]
pub(crate) struct Life {
    /// How long it is of use, counted from its acceptance; for ever when not given.
    #[arg(long, value_name = "SPAN", allow_hyphen_values = true, value_parser = parse_span)]
    ttl: Option<Duration>,
}

impl Life {
    /// Bounds the life of what is to be sent.
    pub(crate) fn apply<K>(self, outgoing: Outgoing<K>) -> Outgoing<K> {
        match self.ttl {
            Some(span) => outgoing.ttl(span),
            None => outgoing,
        }
    }
}

/// A name and a value with `=` between: a header or a label.
///
/// # Errors
/// How it is written.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => {
            let text = shown(text);
            Err(format!("'{text}' is no name with a value; write it like NAME=VALUE"))
        }
    }
}

/// Reads a number of attempts; the highest only the broker knows.
fn attempts(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|&attempts| attempts > 0).ok_or_else(|| {
        let text = shown(text);
        format!(
            "'{text}' is out of range; it is a number from 1 to the broker's limits.attempts (100 \
             unless it is configured)"
        )
    })
}

fn absent(text: &str) -> Result<Absent, String> {
    match text {
        "park" => Ok(Absent::Park),
        "fail" => Ok(Absent::Fail),
        "discard" => Ok(Absent::Discard),
        _ => {
            let text = shown(text);
            Err(format!("unknown policy '{text}'; it is one of park, fail, discard"))
        }
    }
}
