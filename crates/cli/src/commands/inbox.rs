//! `inbox`: one inbox as it stands, and how it is run.

use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::output::units::{exact_span, parse_span};
use crate::output::{self, Output, units};
use clap::{ArgGroup, Args, Subcommand};
use std::time::Duration;
use trunkline_types::{
    Binding, InboxAddress, InboxChange, InboxInfo, InboxSettings, Routing, WhenFull,
};

/// What `inbox` takes.
#[derive(Args, Debug)]
pub(crate) struct InboxArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: InboxCommand,
}

#[derive(Subcommand, Debug)]
enum InboxCommand {
    /// Print one inbox: its settings and its figures.
    #[command(after_help = "\
Example:
  trunkline inbox get skill:count-words")]
    Get {
        /// Whose: skill:NAME or agent:ID.
        address: InboxAddress,
    },
    /// Change how an inbox is run, also while it is at work.
    #[command(after_help = "\
Examples:
  trunkline inbox set skill:count-words --when-full wait --wait 2s --limit 500
  trunkline inbox set skill:bill --routing consistent-hash --bind urgent=tier:gold
  trunkline inbox set agent:clerk --ttl 1h
  trunkline inbox set agent:clerk --reset")]
    Set(SetArgs),
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
struct SetArgs {
    /// Whose: skill:NAME or agent:ID.
    address: InboxAddress,
    /// What happens when it is full: reject, wait or drop-oldest.
    #[arg(long, value_name = "POLICY", group = "change")]
    when_full: Option<WhenFull>,
    /// How long a publish waits outside while it is full.
    #[arg(long, value_name = "SPAN", value_parser = parse_span, group = "change")]
    wait: Option<Duration>,
    /// Most envelopes in it, ephemeral and durable ones each; 0 for the broker's own bounds.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = limit,
        group = "change"
    )]
    limit: Option<u32>,
    /// How long what is sent to it alone from now on is of use, unless its sender says less; 0s for
    /// as long as the sender says.
    #[arg(long, value_name = "SPAN", value_parser = parse_span, group = "change")]
    ttl: Option<Duration>,
    /// Who gets what: least-loaded, round-robin, weighted, consistent-hash or random.
    #[arg(long, value_name = "POLICY", group = "change")]
    routing: Option<Routing>,
    /// Give a priority only to agents with a label; replaces the bindings there are. May be given
    /// several times.
    #[arg(
        long,
        value_name = "PRIORITY=LABEL:VALUE",
        value_parser = binding,
        group = "change",
        conflicts_with = "unbind"
    )]
    bind: Vec<Binding>,
    /// Take the bindings away.
    #[arg(long, group = "change")]
    unbind: bool,
    /// Go back to the broker's defaults first.
    #[arg(long, group = "change")]
    reset: bool,
}

impl SetArgs {
    fn change(self) -> (InboxAddress, InboxChange) {
        let Self { address, when_full, wait, limit, ttl, routing, bind, unbind, reset } = self;
        let bindings = (unbind || !bind.is_empty()).then_some(bind);
        (address, InboxChange { when_full, wait, limit, ttl, routing, bindings, reset })
    }
}

/// Runs the command.
pub(crate) async fn run(args: InboxArgs, output: &Output) -> Result<(), CliError> {
    let link = Link::new(&args.reach)?;
    match args.command {
        InboxCommand::Get { address } => show(&link.inbox(address).await?, output),
        InboxCommand::Set(args) => {
            let (address, change) = args.change();
            link.with(async |session| session.set_inbox(address.clone(), change.clone()).await)
                .await?;
            show(&link.inbox(address).await?, output)
        }
    }
}

fn binding(text: &str) -> Result<Binding, String> {
    let wrong =
        || format!("'{}' is no binding; write it like urgent=tier:gold", units::shown(text));
    let (priority, label) = text.split_once('=').ok_or_else(wrong)?;
    let (key, value) =
        label.split_once(':').filter(|(key, _)| !key.is_empty()).ok_or_else(wrong)?;
    let priority = priority.parse().map_err(|error| format!("{}: {error}", wrong()))?;
    Ok(Binding { priority, key: key.into(), value: value.into() })
}

fn show(inbox: &InboxInfo, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&output::inbox(inbox));
    }
    let InboxInfo { settings, effective, stats, waiting_outside, servers } = inbox;
    let InboxSettings { when_full, wait, limit, ttl, routing, bindings } = settings;
    let from = |set: bool| if set { "set here" } else { "the broker's" };
    let limit_of = |most: u64| format!("{} ({})", units::count(most), from(limit.is_some()));
    let chosen = |policy: Routing| format!("{policy} ({})", from(routing.is_some()));
    let bound = |Binding { priority, key, value }: &Binding| format!("{priority}={key}:{value}");
    let (counters, gauges) = (&stats.counters, &stats.gauges);
    let fields = [
        ("inbox", stats.address.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("when full", format!("{} ({})", effective.when_full, from(when_full.is_some()))),
        ("wait", format!("{} ({})", exact_span(effective.wait), from(wait.is_some()))),
        ("most ephemeral", limit_of(effective.ephemeral.into())),
        ("most durable", limit_of(effective.logged)),
        ("time to live", ttl.map(exact_span).unwrap_or_default()),
        ("routing", effective.routing.map(chosen).unwrap_or_default()),
        ("bindings", bindings.iter().map(bound).collect::<Vec<_>>().join(", ")),
        ("sessions that serve it", units::count((*servers).into())),
        ("publishes waiting outside", units::count((*waiting_outside).into())),
        ("accepted", units::count(counters.accepted)),
        ("settled", units::count(counters.settled)),
        ("waiting now", units::count(gauges.waiting)),
        ("parked now", units::count(gauges.parked)),
        ("delayed now", units::count(gauges.delayed)),
        ("leased now", units::count(gauges.leased)),
        ("dead-lettered", units::count(counters.dead_lettered)),
        ("expired", units::count(counters.expired)),
        ("dropped", units::count(counters.dropped)),
    ];
    output.table(&output::fields(fields.into_iter().filter(|(_, value)| !value.is_empty())))
}

/// Reads a limit; which one is the highest only the broker knows.
fn limit(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_no_number| {
        let text = units::shown(text);
        format!(
            "'{text}' is out of range; it is a number from 1 to the highest of the broker's own \
             bounds (10000000 unless it is configured), or 0 for those"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::Priority;

    #[test]
    fn a_binding_names_priority_label_and_value() {
        let bound = binding("urgent=tier:gold").unwrap();
        assert_eq!(bound.priority, Priority::Urgent);
        assert_eq!((&*bound.key, &*bound.value), ("tier", "gold"));
        for text in ["urgent", "urgent=tier", "urgent=:gold", "huge=tier:gold"] {
            assert!(binding(text).unwrap_err().contains("urgent=tier:gold"), "{text}");
        }
    }
}
