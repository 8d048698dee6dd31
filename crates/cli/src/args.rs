//! The command line.

use crate::commands::{
    agent, agents, backup, bench, completions, config, context, dead, inbox, message, publish,
    request, restore, schedule, send, serve, stats, subscribe, task, verify,
};
use crate::{demo, torture};
use clap::{ArgAction, Args, Parser, Subcommand};
use std::env;
use trunkline_client::Transport;
use trunkline_types::TenantId;

/// Work between AI agents: a broker, agents and whoever talks to them, in one binary.
#[derive(Parser, Debug)]
#[command(name = "trunkline", version = env!("BUILT_VERSION"), max_term_width = 100)]
#[command(after_help = "\
Try it:
  trunkline demo
Or by hand, each in a terminal of its own:
  trunkline serve
  trunkline agent --skill count-words -- wc -w
  trunkline send --skill count-words --file README.md --wait")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Print results as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[arg(
        long,
        short,
        global = true,
        action = ArgAction::Count,
        help = "Tell more on stderr; twice for still more. TRUNKLINE_LOG chooses in detail"
    )]
    pub(crate) verbose: u8,
    #[arg(long, global = true, help = "No color; NO_COLOR does the same")]
    pub(crate) no_color: bool,
}

/// What every command takes that talks to a broker, and no other.
#[derive(Args, Debug)]
pub(crate) struct Reach {
    #[arg(
        long,
        global = true,
        help_heading = "Broker",
        help = "Where the broker listens [env: TRUNKLINE_URL=] [default: http://127.0.0.1:7420]"
    )]
    url: Option<String>,
    /// Who to say is speaking, for a broker that takes a caller's word.
    #[arg(
        long,
        global = true,
        help_heading = "Broker",
        value_name = "NAME",
        env = "TRUNKLINE_PRINCIPAL",
        hide_env_values = true
    )]
    pub(crate) principal: Option<String>,
    /// For which tenant: agents, messages and everything else of other tenants are not there for
    /// the command.
    #[arg(
        long,
        global = true,
        help_heading = "Broker",
        value_name = "NAME",
        env = "TRUNKLINE_TENANT",
        hide_env_values = true
    )]
    pub(crate) tenant: Option<TenantId>,
    /// What carries sessions: framed (plain TCP), grpc, or auto for framed where the broker speaks
    /// it.
    #[arg(
        long,
        global = true,
        help_heading = "Broker",
        value_name = "WHICH",
        env = "TRUNKLINE_TRANSPORT",
        hide_env_values = true,
        default_value = "auto"
    )]
    pub(crate) transport: Transport,
}

impl Reach {
    /// The broker to talk to. An empty variable of the environment names none.
    pub(crate) fn url(&self) -> String {
        let named = || env::var("TRUNKLINE_URL").ok().filter(|url| !url.is_empty());
        self.url.clone().or_else(named).unwrap_or_else(|| "http://127.0.0.1:7420".into())
    }
}

/// What there is to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a broker.
    Serve(serve::ServeArgs),
    /// Make an executable an agent.
    Agent(agent::AgentArgs),
    /// Send a task that survives a crash, and wait for its result if asked.
    Send(send::SendArgs),
    /// Ask one or several and print the answers; nothing is kept.
    Request(request::RequestArgs),
    /// Publish an event to the subscribers of a topic.
    Publish(publish::PublishArgs),
    /// Print the events of the topics that match a pattern.
    Subscribe(subscribe::SubscribeArgs),
    /// See tasks, watch them, call them off, answer what they ask.
    Task(task::TaskArgs),
    /// See what was said in a conversation.
    Context(context::ContextArgs),
    /// See any message by its id, or call it off.
    Message(message::MessageArgs),
    /// Have something sent again and again, by a cron expression.
    Schedule(schedule::ScheduleArgs),
    /// See which agents there are, and set their weight, health and whether they drain.
    Agents(agents::AgentsArgs),
    /// See one inbox, and set how it is run.
    Inbox(inbox::InboxArgs),
    /// See dead letters, send them again or delete them.
    Dead(dead::DeadArgs),
    /// Print the broker's figures.
    Stats(stats::StatsArgs),
    /// See or check the broker's configuration.
    Config(config::ConfigArgs),
    /// Check the data of a stopped broker, and put damage aside.
    Verify(verify::VerifyArgs),
    /// Back up a data directory, also while a broker works on it.
    Backup(backup::BackupArgs),
    /// Make a data directory of a backup.
    Restore(restore::RestoreArgs),
    /// Measure how fast messages are delivered and acknowledged.
    Bench(bench::BenchCommand),
    /// Show a broker and agents at work on real files.
    Demo(demo::DemoArgs),
    /// Kill a broker under load and show that nothing accepted is lost.
    Torture(torture::TortureArgs),
    /// Print completions for a shell.
    Completions(completions::CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            if command.has_subcommands() {
                let shown = command.get_subcommands().filter(|inner| !inner.is_hide_set());
                shown.for_each(|inner| check(inner, &path));
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(path.trim()), "no example in the help of '{path}'");
            }
        }
        check(&Cli::command(), "");
    }
}
