//! `stats`: the broker's figures.

use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::output::{self, Output, units};
use clap::Args;
use trunkline_server::stats_json;
use trunkline_types::InboxStats;

/// What `stats` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline stats
  trunkline stats --inboxes
  trunkline stats --json")]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    reach: Reach,
    /// List the inboxes as well, busiest first. JSON has them always.
    #[arg(long)]
    inboxes: bool,
}

/// Runs the command.
pub(crate) async fn run(args: StatsArgs, output: &Output) -> Result<(), CliError> {
    let stats = Link::new(&args.reach)?.stats().await?;
    if output.is_json() {
        return output.value(&stats_json(&stats));
    }
    output.table(&output::stats_table(&stats))?;
    if !args.inboxes {
        return Ok(());
    }
    let row = |inbox: &InboxStats| {
        let InboxStats { address, counters, gauges } = inbox;
        [
            address.as_ref().map_or_else(|| "(subscriptions)".into(), ToString::to_string),
            units::count(counters.accepted),
            units::count(counters.settled),
            units::count(gauges.waiting + gauges.parked + gauges.delayed),
            units::count(gauges.leased),
            units::count(counters.dead_lettered),
            units::count(counters.expired),
        ]
    };
    let header = ["INBOX", "ACCEPTED", "SETTLED", "WAITING", "LEASED", "DEAD", "EXPIRED"];
    output.line("")?;
    output.table(&output::rows(header, &[1, 2, 3, 4, 5, 6], stats.inboxes.iter().map(row)))?;
    let listed = stats.inboxes.len() as u64;
    if stats.inboxes_total > listed {
        let total = units::count(stats.inboxes_total);
        output.note(format_args!("these are the busiest {listed} of {total} inboxes"));
    }
    Ok(())
}
