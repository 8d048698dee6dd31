//! `agents`: the directory.

use crate::args::Global;
use crate::connect::Link;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Output, units};
use clap::{Args, Subcommand};
use serde_json::Value;
use trunkline_types::{AgentFilter, AgentId, AgentInfo, SkillName};

/// What `agents` takes.
#[derive(Args, Debug)]
pub(crate) struct AgentsArgs {
    #[command(subcommand)]
    command: AgentsCommand,
}

#[derive(Subcommand, Debug)]
enum AgentsCommand {
    /// List the agents in order of their ids.
    #[command(after_help = "\
Examples:
  trunkline agents list
  trunkline agents list --skill count-words --json")]
    List {
        /// Only agents that offer this skill.
        #[arg(long)]
        skill: Option<SkillName>,
    },
    /// Print one agent.
    #[command(after_help = "\
Example:
  trunkline agents get counter-1")]
    Get {
        /// Its id.
        id: AgentId,
    },
}

/// Runs the command.
pub(crate) async fn run(
    args: AgentsArgs,
    global: &Global,
    output: &Output,
) -> Result<(), CliError> {
    let link = Link::new(global)?;
    match args.command {
        AgentsCommand::List { skill } => {
            let mut filter = AgentFilter { skill, limit: 1_000, ..AgentFilter::default() };
            let mut agents = Vec::new();
            loop {
                let page = link.agents(filter.clone()).await?;
                agents.extend(page.agents);
                if page.next.is_none() {
                    break;
                }
                filter.after = page.next;
            }
            list(&agents, output)
        }
        AgentsCommand::Get { id } => {
            let filter = AgentFilter { id: Some(id.clone()), ..AgentFilter::default() };
            let found = link.agents(filter).await?.agents;
            let Some(agent) = found.first() else {
                let message = format!("there is no agent '{id}'");
                let hint = "list those that there are with `trunkline agents list`";
                return Err(CliError::new(Exit::NotFound, message).hint(hint));
            };
            show(agent, output)
        }
    }
}

fn list(agents: &[AgentInfo], output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&agents.iter().map(output::agent).collect::<Value>());
    }
    if agents.is_empty() {
        output.note("no agents; start one with `trunkline agent --skill NAME -- COMMAND`");
        return Ok(());
    }
    let row = |agent: &AgentInfo| {
        [
            agent.card.id.to_string(),
            agent.presence.to_string(),
            joined(agent.card.skills.iter()),
            units::count(agent.in_flight.into()),
            units::count(agent.waiting),
        ]
    };
    let header = ["ID", "PRESENCE", "SKILLS", "IN FLIGHT", "WAITING"];
    output.table(&output::rows(header, &[3, 4], agents.iter().map(row)))
}

fn show(agent: &AgentInfo, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&output::agent(agent));
    }
    let AgentInfo { card, owner, presence, sessions, in_flight, credit, waiting, registered_at } =
        agent;
    let labels = card.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let fields = [
        ("id", card.id.to_string()),
        ("name", card.name.clone()),
        ("description", card.description.clone()),
        ("types", joined(card.types.iter())),
        ("skills", joined(card.skills.iter())),
        ("capabilities", joined(card.capabilities.iter())),
        ("labels", joined(labels)),
        ("region", card.region.to_string()),
        ("version", card.version.to_string()),
        ("owner", owner.to_string()),
        ("presence", presence.to_string()),
        ("sessions", sessions.to_string()),
        ("in flight", format!("{in_flight} of {credit}")),
        ("waiting", units::count(*waiting)),
        ("registered", units::age(*registered_at)),
    ];
    output.table(&output::fields(fields.into_iter().filter(|(_, value)| !value.is_empty())))
}

fn joined(items: impl Iterator<Item = impl ToString>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}
