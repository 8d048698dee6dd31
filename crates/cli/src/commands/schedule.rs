//! `schedule`: messages that recur.

use super::agents::joined;
use super::paging;
use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::input::{Input, Target};
use crate::marks::{Life, Marks};
use crate::output::units::exact_time;
use crate::output::{self, Output, units};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use smol_str::SmolStr;
use trunkline_types::{Schedule, ScheduleFilter, ScheduleInfo, ScheduleName, SchedulePage};

/// What `schedule` takes.
#[derive(Args, Debug)]
pub(crate) struct ScheduleArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: ScheduleCommand,
}

#[derive(Subcommand, Debug)]
enum ScheduleCommand {
    /// Send something whenever a cron expression is due. The same name again replaces it.
    #[command(after_help = "\
Examples:
  trunkline schedule set report --cron '0 8 * * mon-fri' --zone Europe/Berlin --skill report
  trunkline schedule set tick --cron '*/10 * * * * *' --topic clock.tick --data tick

What goes to an agent or a skill is a task; to a topic or to several agents it is an event.")]
    Set(Box<SetArgs>),
    /// List the schedules in order of their names.
    #[command(after_help = "\
Examples:
  trunkline schedule list
  trunkline schedule list --json")]
    List {
        /// Only those whose names come after this one: where the page before ended.
        #[arg(long, value_name = "NAME")]
        after: Option<ScheduleName>,
        /// At most this many.
        #[arg(
            long,
            value_name = "N",
            default_value_t = 1_000,
            allow_negative_numbers = true,
            value_parser = clap::value_parser!(u32).range(1..)
        )]
        limit: u32,
    },
    /// Forget a schedule. What it has sent stays.
    #[command(after_help = "\
Example:
  trunkline schedule remove report")]
    Remove {
        /// Its name.
        name: ScheduleName,
    },
}

#[derive(Args, Debug)]
struct SetArgs {
    /// Its name.
    name: ScheduleName,
    /// When: minute, hour, day of month, month, day of week; or six fields, the second in front.
    #[arg(long, value_name = "EXPRESSION")]
    cron: SmolStr,
    /// The time zone in which the expression is read, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: SmolStr,
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    marks: Marks,
    #[command(flatten)]
    life: Life,
}

/// Runs the command.
pub(crate) async fn run(args: ScheduleArgs, output: &Output) -> Result<(), CliError> {
    let link = Link::new(&args.reach)?;
    match args.command {
        ScheduleCommand::Set(args) => Box::pin(set(&link, *args, output)).await,
        ScheduleCommand::List { after, limit } => {
            let filter = ScheduleFilter { after, ..ScheduleFilter::default() };
            list(&gather(&link, filter, limit as usize).await?, output)
        }
        ScheduleCommand::Remove { name } => {
            link.with(async |session| session.remove_schedule(name.clone()).await).await?;
            if output.is_json() {
                return output.value(&json!({ "name": name.to_string(), "done": "removed" }));
            }
            output.line(format_args!("removed {name}"))
        }
    }
}

async fn set(link: &Link, args: SetArgs, output: &Output) -> Result<(), CliError> {
    let SetArgs { name, cron, zone, target, input, marks, life } = args;
    let to = target.destination()?;
    let payload = input.payload()?;
    let filter = ScheduleFilter { name: Some(name.clone()), ..ScheduleFilter::default() };
    let session = link.open().await?;
    let publish = life.apply(marks.apply(session.send(to, payload))).into_publish();
    let schedule = Schedule { name, cron, zone, publish: publish.into() };
    let result = session.set_schedule(schedule).await;
    session.close();
    link.farewell().await;
    result?;
    let found = link.schedules(filter).await?.schedules;
    let Some(info) = found.first() else { return Ok(()) };
    if output.is_json() {
        return output.value(&output::schedule(info));
    }
    let next = info.next.map_or_else(|| "never".into(), exact_time);
    output.line(format_args!("{} is due next at {next}", info.schedule.name))
}

/// Asks page by page until there are `most` or no more.
async fn gather(
    link: &Link,
    filter: ScheduleFilter,
    most: usize,
) -> Result<SchedulePage, CliError> {
    let from = filter.after.clone();
    let ask = async |limit, after| {
        let filter = ScheduleFilter { limit, after, ..filter.clone() };
        link.schedules(filter).await.map(|page| (page.schedules, page.next))
    };
    let (schedules, next) = paging::gather(most, from, ask).await?;
    Ok(SchedulePage { schedules, next })
}

fn list(page: &SchedulePage, output: &Output) -> Result<(), CliError> {
    let SchedulePage { schedules, next } = page;
    if output.is_json() {
        output.value(&schedules.iter().map(output::schedule).collect::<Value>())?;
    } else if schedules.is_empty() {
        output.note("no schedules; make one with `trunkline schedule set NAME --cron …`");
    } else {
        let row = |info: &ScheduleInfo| {
            let ScheduleInfo { schedule, next, fired, last, refused } = info;
            [
                schedule.name.to_string(),
                schedule.cron.to_string(),
                if schedule.zone.is_empty() { "UTC".into() } else { schedule.zone.to_string() },
                schedule.publish.envelope.destination.to_string(),
                next.map_or_else(|| "never".into(), exact_time),
                units::count(*fired),
                joined(last.map(|(_, due)| units::age(due)).iter()),
                joined(refused.iter()),
            ]
        };
        let header =
            ["NAME", "CRON", "ZONE", "DESTINATION", "NEXT", "SENT", "LAST DUE", "HELD UP BY"];
        output.table(&output::rows(header, &[5], schedules.iter().map(row)))?;
    }
    if let Some(next) = next {
        output.note(format_args!("there are more: --after {next}"));
    }
    Ok(())
}
