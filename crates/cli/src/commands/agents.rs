//! `agents`: the directory, and what operators set about those in it.

use super::{agents_a2a, agents_watch, paging};
use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::marks::pair;
use crate::output::{self, Output, units};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use smol_str::SmolStr;
use trunkline_types::{
    AgentChange, AgentControl, AgentFilter, AgentId, AgentInfo, AgentPage, BreakerInfo,
    BreakerState, Presence, SkillName, SkillSchemas,
};

/// What `agents` takes.
#[derive(Args, Debug)]
pub(crate) struct AgentsArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: AgentsCommand,
}

#[derive(Subcommand, Debug)]
enum AgentsCommand {
    /// List the agents in order of their ids.
    #[command(after_help = "\
Examples:
  trunkline agents list
  trunkline agents list --skill count-words --json
  trunkline agents list --a2a
  trunkline agents list --label tier=gold --presence ready --limit 20")]
    List(ListArgs),
    /// Print one agent.
    #[command(after_help = "\
Example:
  trunkline agents get counter-1")]
    Get {
        /// Its id.
        id: AgentId,
    },
    /// Change what is set about an agent. It outlives the agent's sessions and the broker's
    /// restarts.
    #[command(after_help = "\
Examples:
  trunkline agents set counter-1 --weight 300
  trunkline agents set counter-1 --drain")]
    Set(SetArgs),
    /// Make a server of A2A elsewhere an agent of the broker. Its card is read now and from time to
    /// time; while it can be, the agent takes work.
    #[command(after_help = "\
Examples:
  trunkline agents add --a2a https://agents.example.com/counter
  trunkline agents add --a2a http://localhost:8000 --allow-private --id counter --idempotent
  trunkline agents add --a2a https://agents.example.com --bearer-file token --refresh 5m")]
    Add(agents_a2a::AddArgs),
    /// Call a server of A2A elsewhere no more, and take it out of the directory.
    #[command(after_help = "\
Example:
  trunkline agents remove counter")]
    Remove {
        /// Its id.
        id: AgentId,
    },
    /// Take an agent out of the directory: its sessions end, its subscriptions go.
    #[command(after_help = "\
Example:
  trunkline agents unregister counter-1")]
    Unregister {
        /// Its id.
        id: AgentId,
    },
    /// Print who is there, and then whoever joins, changes or leaves.
    #[command(after_help = "\
Examples:
  trunkline agents watch
  trunkline agents watch --skill count-words --json --count 10")]
    Watch {
        #[command(flatten)]
        which: Which,
        /// End after this many news.
        #[arg(
            long,
            value_name = "N",
            allow_negative_numbers = true,
            value_parser = |text: &str| units::parse_from(1, text)
        )]
        count: Option<u64>,
    },
}

/// Which agents.
#[derive(Args, Debug)]
struct Which {
    /// Only agents that offer this skill.
    #[arg(long)]
    skill: Option<SkillName>,
    /// Only agents of this type.
    #[arg(long = "type", value_name = "TYPE")]
    agent_type: Option<SmolStr>,
    /// Only agents with this capability.
    #[arg(long, value_name = "NAME")]
    capability: Option<SmolStr>,
    /// Only agents with this label; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
}

#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    which: Which,
    /// Only servers of A2A elsewhere, with where they are and whether they can be called.
    #[arg(
        long,
        conflicts_with_all = ["skill", "agent_type", "capability", "label", "presence", "after"]
    )]
    a2a: bool,
    /// Only agents that are so present: starting, ready, busy, draining or offline.
    #[arg(long)]
    presence: Option<Presence>,
    /// Only agents whose ids come after this one: where the page before ended.
    #[arg(long, value_name = "ID")]
    after: Option<AgentId>,
    /// At most this many.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    limit: u32,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct SetArgs {
    /// Its id.
    id: AgentId,
    /// Its share where routing is weighted: 0 to 1000, at first 100. With 0 it gets nothing.
    #[arg(
        long,
        value_name = "N",
        group = "change",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(..=i64::from(AgentControl::MOST_WEIGHT))
    )]
    weight: Option<u32>,
    /// Let it finish what it holds and leave; it gets no new work until it is resumed.
    #[arg(long, group = "change", conflicts_with = "resume")]
    drain: bool,
    /// Let it take work again.
    #[arg(long, group = "change")]
    resume: bool,
    /// It is fit for work.
    #[arg(long, group = "change", conflicts_with = "unhealthy")]
    healthy: bool,
    /// It is not fit for work, and gets none until it is.
    #[arg(long, group = "change")]
    unhealthy: bool,
}

impl Which {
    fn filter(self) -> AgentFilter {
        let Self { skill, agent_type, capability, label } = self;
        let labels = label.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        AgentFilter { skill, agent_type, capability, labels, ..AgentFilter::default() }
    }
}

impl SetArgs {
    fn change(&self) -> AgentChange {
        let either = |yes: bool, no: bool| (yes || no).then_some(yes);
        AgentChange {
            weight: self.weight,
            draining: either(self.drain, self.resume),
            healthy: either(self.healthy, self.unhealthy),
        }
    }
}

/// Runs the command.
pub(crate) async fn run(args: AgentsArgs, output: &Output) -> Result<(), CliError> {
    let AgentsArgs { reach, command } = args;
    match command {
        AgentsCommand::List(ListArgs { a2a: true, limit, .. }) => {
            agents_a2a::list(&Link::new(&reach)?, limit as usize, output).await
        }
        AgentsCommand::Add(args) => agents_a2a::add(&Link::new(&reach)?, args, output).await,
        AgentsCommand::Remove { id } => agents_a2a::remove(&Link::new(&reach)?, id, output).await,
        AgentsCommand::List(ListArgs { which, a2a: _, presence, after, limit }) => {
            let filter = AgentFilter { presence, after, ..which.filter() };
            list(&gather(&Link::new(&reach)?, filter, limit as usize).await?, output)
        }
        AgentsCommand::Get { id } => show(&find(&Link::new(&reach)?, id).await?, output),
        AgentsCommand::Set(args) => {
            let link = Link::new(&reach)?;
            let (id, change) = (args.id.clone(), args.change());
            let drained = change.draining == Some(true);
            link.with(async |session| session.set_agent(id.clone(), change).await).await?;
            match after_change(find(&link, id.clone()).await, drained)? {
                Some(agent) => show(&agent, output),
                None => left(&id, output),
            }
        }
        AgentsCommand::Unregister { id } => {
            let link = Link::new(&reach)?;
            link.with(async |session| session.unregister(id.clone()).await).await?;
            if output.is_json() {
                return output.value(&json!({ "id": id.to_string(), "done": "unregistered" }));
            }
            output.line(format_args!("unregistered {id}"))
        }
        AgentsCommand::Watch { which, count } => {
            agents_watch::run(&reach, which.filter(), count, output).await
        }
    }
}

/// What has become of an agent that was just changed; `None` if it has left. One that is drained
/// and holds nothing leaves so fast that it may be gone before it is looked at, which is what was
/// asked for.
fn after_change(
    found: Result<AgentInfo, CliError>,
    drained: bool,
) -> Result<Option<AgentInfo>, CliError> {
    match found {
        Err(error) if drained && error.exit == Exit::NotFound => Ok(None),
        found => found.map(Some),
    }
}

fn left(id: &AgentId, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&json!({ "id": id.to_string(), "done": "left" }));
    }
    output.line(format_args!("{id} has left"))
}

async fn find(link: &Link, id: AgentId) -> Result<AgentInfo, CliError> {
    let filter = AgentFilter { id: Some(id.clone()), ..AgentFilter::default() };
    link.agents(filter).await?.agents.into_iter().next().ok_or_else(|| {
        CliError::new(Exit::NotFound, format_args!("there is no agent '{id}'"))
            .hint("list those that there are with `trunkline agents list`")
    })
}

/// Asks page by page until there are `most` or no more.
async fn gather(link: &Link, filter: AgentFilter, most: usize) -> Result<AgentPage, CliError> {
    let from = filter.after.clone();
    let ask = async |limit, after| {
        let filter = AgentFilter { limit, after, ..filter.clone() };
        link.agents(filter).await.map(|page| (page.agents, page.next))
    };
    let (agents, next) = paging::gather(most, from, ask).await?;
    Ok(AgentPage { agents, next })
}

fn list(page: &AgentPage, output: &Output) -> Result<(), CliError> {
    let AgentPage { agents, next } = page;
    if output.is_json() {
        output.value(&agents.iter().map(output::agent).collect::<Value>())?;
    } else if agents.is_empty() {
        output.note("no agents; start one with `trunkline agent --skill NAME -- COMMAND`");
    } else {
        let row = |agent: &AgentInfo| {
            [
                agent.card.id.to_string(),
                state(agent),
                joined(agent.card.skills.iter()),
                units::count(agent.in_flight.into()),
                units::count(agent.waiting),
            ]
        };
        let header = ["ID", "PRESENCE", "SKILLS", "IN FLIGHT", "WAITING"];
        output.table(&output::rows(header, &[3, 4], agents.iter().map(row)))?;
    }
    if let Some(next) = next {
        output.note(format_args!("there are more: --after {next}"));
    }
    Ok(())
}

/// How present an agent is, and why it gets no work although it is there.
pub(super) fn state(agent: &AgentInfo) -> String {
    let presence = agent.presence;
    if agent.control.healthy { presence.to_string() } else { format!("{presence}, unhealthy") }
}

/// Which schemas a skill has. What they say is for programs.
fn schemas(SkillSchemas { skill, input, output }: &SkillSchemas) -> String {
    let parts = [("input", input), ("output", output)].into_iter();
    let known: Vec<_> = parts.filter(|(_, schema)| schema.is_some()).map(|(of, _)| of).collect();
    format!("{skill} ({})", known.join(" and "))
}

fn show(agent: &AgentInfo, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&output::agent(agent));
    }
    let AgentInfo {
        card,
        owner,
        presence: _,
        sessions,
        in_flight,
        credit,
        waiting,
        registered_at,
        control: AgentControl { weight, draining, healthy: _ },
        breakers,
    } = agent;
    let labels = card.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let fields = [
        ("id", card.id.to_string()),
        ("name", card.name.clone()),
        ("description", card.description.clone()),
        ("types", joined(card.types.iter())),
        ("skills", joined(card.skills.iter())),
        ("schemas", joined(card.schemas.iter().map(schemas))),
        ("capabilities", joined(card.capabilities.iter())),
        ("labels", joined(labels)),
        ("region", card.region.to_string()),
        ("version", card.version.to_string()),
        ("owner", owner.to_string()),
        ("presence", state(agent)),
        ("told to drain", if *draining { "yes".into() } else { String::new() }),
        ("weight", weight.to_string()),
        ("sessions", sessions.to_string()),
        ("in flight", format!("{in_flight} of {credit}")),
        ("waiting", units::count(*waiting)),
        ("breakers", joined(breakers.iter().filter(|it| is_news(it)).map(breaker))),
        ("registered", units::age(*registered_at)),
    ];
    output.table(&output::fields(fields.into_iter().filter(|(_, value)| !value.is_empty())))
}

/// A closed breaker is as it should be.
pub(super) fn is_news(breaker: &BreakerInfo) -> bool {
    breaker.state != BreakerState::Closed
}

fn breaker(breaker: &BreakerInfo) -> String {
    let BreakerInfo { inbox, state, failures, open_for_ms } = breaker;
    let rest = match open_for_ms {
        0 => String::new(),
        millis => format!(", {} more", units::span(std::time::Duration::from_millis(*millis))),
    };
    let failures = units::counted((*failures).into(), "failure", "failures");
    format!("{inbox} {state} ({failures}{rest})")
}

pub(super) fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_is_gone_after_it_was_told_to_drain_has_left_and_is_no_mistake() {
        let gone = || Err(CliError::new(Exit::NotFound, "there is no agent 'a'"));
        assert!(matches!(after_change(gone(), true), Ok(None)));
        let error = after_change(gone(), false).unwrap_err();
        assert_eq!(error.exit, Exit::NotFound, "whoever sets a weight wants the agent there");
        let error = after_change(Err(CliError::usage("a name")), true).unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
    }
}
