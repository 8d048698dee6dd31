//! `agent`: any executable as an agent.

use super::agent_health::{check, parse_every};
use super::agent_work::Work;
use super::signals::{Signals, interrupted};
use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::input::{Packing, media_type};
use crate::marks::pair;
use crate::output::units::{exact_span, parse_size, parse_span};
use crate::output::{Output, note};
use clap::Args;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process;
use std::time::Duration;
use trunkline_agent::exec::{Exec, ExecOptions};
use trunkline_agent::{Agent, AgentBuilder, Host};
use trunkline_types::session::Subscription;
use trunkline_types::{
    AgentChange, AgentControl, AgentId, Filter, GroupName, RefusalCode, SkillName, TopicPattern,
};

/// How long an agent with a generated id tries to leave the directory at its end.
const FORGET: Duration = Duration::from_secs(2);

/// What `agent` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline agent --skill count-words -- wc -w
  trunkline agent --skill thumbnail --concurrency 4 --timeout 1m -- convert - -resize 200 png:-
  trunkline agent --id auditor --on-topic 'orders.>' -- ./audit.sh

The command gets the payload on stdin and replies on stdout. Exit code 0 completes the work, 65
declines it; any other is a failed attempt. The end of stderr is the reason. Lines written to file
descriptor 3 are progress, a text or JSON such as {\"percent\":40,\"text\":\"half way\"}, or say how
else it ends, such as {\"outcome\":\"retry\",\"delay_ms\":60000}. The environment has
TRUNKLINE_TASK_ID, TRUNKLINE_ATTEMPT, TRUNKLINE_DEADLINE_MS and more, and what `trunkline send`,
`request` and `publish` send from it has the task as its cause; see docs/cli.md.")]
#[command(group = clap::ArgGroup::new("work").required(true).multiple(true))]
pub(crate) struct AgentArgs {
    #[command(flatten)]
    reach: Reach,
    /// A skill to offer; may be given several times.
    #[arg(long, value_name = "NAME", group = "work")]
    skill: Vec<SkillName>,
    /// Run the command for events too, on topics that match this pattern; kept while the agent is
    /// away. May be given several times.
    #[arg(long, value_name = "PATTERN", group = "work")]
    on_topic: Vec<TopicPattern>,
    /// Run the command only for events that this CEL expression wants; of every --on-topic.
    #[arg(long, value_name = "CEL", requires = "on_topic")]
    filter: Option<Filter>,
    /// Share the events with the other subscribers of this group: each goes to one of them; of
    /// every --on-topic.
    #[arg(long, value_name = "NAME", requires = "on_topic")]
    group: Option<GroupName>,
    /// Its id; made of its first skill, the host and the process when not given, and then taken
    /// out of the directory at its end. Work sent to the id itself runs the command as well.
    #[arg(long, group = "work")]
    id: Option<AgentId>,
    /// How many runs at once.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=4096)
    )]
    concurrency: u32,
    /// How long one run may take, until it is terminated and counts as a failed attempt.
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    timeout: Option<Duration>,
    /// How long a run that is called off has between SIGTERM and SIGKILL.
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "5s")]
    grace: Duration,
    /// Largest reply; a run that writes more fails.
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "1MiB")]
    reply_limit: u64,
    /// Give what the command writes to stdout as an artifact of this name rather than as the reply,
    /// where the work is a task.
    #[arg(long, value_name = "NAME")]
    artifact: Option<String>,
    /// The media type of its replies. When not given nothing is said of them.
    #[arg(long, value_name = "TYPE", value_parser = media_type, help_heading = "Payload")]
    content_type: Option<String>,
    #[command(flatten)]
    packing: Packing,
    /// Run the command in this directory.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Take new work only while this command, which a shell runs at the start and then every
    /// --health-every, ends with exit code 0.
    #[arg(long, value_name = "COMMAND")]
    health: Option<String>,
    /// How often the health is checked, and how long a check may take.
    #[arg(
        long,
        value_name = "SPAN",
        value_parser = parse_every,
        default_value = "10s",
        requires = "health"
    )]
    health_every: Duration,
    /// A name for people; the id when not given.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The version of its code.
    #[arg(long, value_name = "TEXT")]
    code_version: Option<String>,
    /// Where it runs.
    #[arg(long, value_name = "TEXT")]
    region: Option<String>,
    /// What it does, for people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A kind of agent that it is, for lookup; may be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    agent_type: Vec<String>,
    /// Something that it can do besides its skills, for lookup; may be given several times.
    #[arg(long, value_name = "NAME")]
    capability: Vec<String>,
    /// A label, for lookup and for priorities that are bound to it; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// Its share where routing is weighted: 0 to 1000. What was set before stays when not given.
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(..=i64::from(AgentControl::MOST_WEIGHT))
    )]
    weight: Option<u32>,
    /// Keep trying while no broker answers at the start, rather than give up; once connected it
    /// comes back by itself in any case.
    #[arg(long)]
    wait_for_broker: bool,
    /// After a signal, wait at most this long for running commands to end.
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "30s")]
    drain_timeout: Duration,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Runs the command.
pub(crate) async fn run(args: AgentArgs, output: &Output) -> Result<(), CliError> {
    let exec = executable(&args);
    let result = work(args, &exec, output).await;
    // What is dropped when the process ends is not certain.
    exec.close();
    result
}

async fn work(args: AgentArgs, exec: &Exec, output: &Output) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    let drain_timeout = args.drain_timeout;
    let id = args.id.clone().map_or_else(|| default_id(args.skill.first()), Ok)?;
    check_program(&args)?;
    let (url, weight, passing) = (args.reach.url(), args.weight, args.id.is_none());
    let told = id.clone();
    let link = Link::new(&args.reach)?.on_reconnect(move |welcome| {
        let how = if welcome.resumed { "session resumed" } else { "broker restarted" };
        note(format_args!("agent {told} reconnected to {url} ({how})"));
    });
    let agent = tokio::select! {
        agent = describe(args, exec, &link, &id).start() => agent?,
        () = signals.next() => return Err(interrupted()),
    };
    if let Some(weight) = weight {
        let change = AgentChange { weight: Some(weight), ..AgentChange::default() };
        agent.session().set_agent(id.clone(), change).await?;
    }
    note(format_args!("agent {id} connected to {}", link.url()));
    if output.is_json() {
        let (id, url) = (id.as_str(), link.url().to_string());
        output.value(&serde_json::json!({ "id": id, "url": url, "pid": process::id() }))?;
    }
    tokio::select! {
        refusal = agent.ended() => {
            link.farewell().await;
            if refusal.code != RefusalCode::Draining {
                return Err(refusal.into());
            }
            // It was told to, and has finished what it held.
            note(format_args!("agent {id} left: {refusal}"));
        }
        () = signals.next() => {
            let span = exact_span(drain_timeout);
            note(format_args!(
                "agent {id} finishes what it holds, at most {span}; a second signal ends it at once"
            ));
            drain(agent, drain_timeout, &mut signals).await?;
            link.farewell().await;
        }
    }
    if passing {
        tokio::select! {
            () = forget(&link, &id) => {}
            () = signals.next() => return Err(interrupted()),
        }
    }
    Ok(())
}

/// Takes an agent out of the directory whose id never comes back. A broker that is not there to
/// hear it is no failure of the agent, but is told.
async fn forget(link: &Link, id: &AgentId) {
    let asked = link.with(async |session| session.unregister(id.clone()).await);
    let why = match tokio::time::timeout(FORGET, asked).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {}", exact_span(FORGET)),
    };
    note(format_args!(
        "note: agent {id} stays in the directory ({why}); \
         `trunkline agents unregister {id}` takes it out"
    ));
}

/// Refuses a command that cannot be found, before work is taken that would all fail for it.
fn check_program(args: &AgentArgs) -> Result<(), CliError> {
    let Some(program) = args.command.first().map(Path::new) else { return Ok(()) };
    let found = if program.components().count() > 1 {
        let base = args.directory.clone().unwrap_or_default();
        program.exists() || base.join(program).exists()
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).any(|directory| directory.join(program).exists())
    };
    if found {
        return Ok(());
    }
    let message = format!("there is no command '{}'", program.display());
    Err(CliError::usage(message).hint("give one that is on PATH, or a path to it"))
}

async fn drain(agent: Agent, most: Duration, signals: &mut Signals) -> Result<(), CliError> {
    let id = agent.id().clone();
    tokio::select! {
        stopped = tokio::time::timeout(most, agent.stop()) => {
            match stopped {
                Ok(()) => note(format_args!("agent {id} stopped")),
                Err(_) => note(format_args!("agent {id} stopped; what it held goes back")),
            }
            Ok(())
        }
        () = signals.next() => Err(interrupted()),
    }
}

/// What is run for each delivery.
fn executable(args: &AgentArgs) -> Exec {
    let mut words = args.command.iter();
    // The command line cannot be parsed without a first word.
    let program = words.next().cloned().unwrap_or_default();
    // What it sends goes to the broker that its work came from.
    let url = ("TRUNKLINE_URL", args.reach.url());
    let principal = args.reach.principal.clone().map(|name| ("TRUNKLINE_PRINCIPAL", name));
    let tenant = args.reach.tenant.as_ref().map(|name| ("TRUNKLINE_TENANT", name.to_string()));
    let reach = [url].into_iter().chain(principal).chain(tenant);
    Exec::new(ExecOptions {
        directory: args.directory.clone(),
        variables: reach.map(|(name, value)| (name.into(), value.into())).collect(),
        timeout: args.timeout,
        grace: args.grace,
        content_type: args.content_type.as_deref().unwrap_or_default().into(),
        reply_bytes: usize::try_from(args.reply_limit).unwrap_or(usize::MAX),
        ..ExecOptions::new(program, words)
    })
}

fn describe(args: AgentArgs, exec: &Exec, link: &Link, id: &AgentId) -> AgentBuilder {
    let AgentArgs {
        reach: _,
        skill,
        on_topic,
        id: _,
        concurrency,
        timeout: _,
        grace: _,
        reply_limit: _,
        artifact,
        filter,
        group,
        content_type: _,
        packing,
        name,
        code_version,
        region,
        directory,
        health,
        health_every,
        description,
        agent_type,
        capability,
        label,
        weight: _,
        drain_timeout: _,
        wait_for_broker,
        command: _,
    } = args;
    let work = Work { exec: exec.clone(), artifact };
    let mut builder = link
        .agent(id.as_str())
        .workers(1..=concurrency)
        // Starting a process takes longer than fetching the next delivery, and what one agent
        // holds ready no other can begin.
        .prefetch(0)
        .on_message(work.clone());
    if let Some(command) = health {
        let check = move || check(command.clone(), directory.clone());
        builder = builder.health(check, health_every);
    }
    for name in &skill {
        builder = builder.skill(name.as_str(), work.clone());
    }
    for pattern in on_topic {
        let (filter, group) = (filter.clone(), group.clone());
        let subscription = Subscription { filter, group, ..Subscription::new(pattern) };
        builder = builder.on_event_with(subscription, work.clone());
    }
    if let Some(compression) = packing.compression() {
        builder = builder.compression(compression);
    }
    if let Some(name) = name {
        builder = builder.name(name);
    }
    if let Some(version) = code_version {
        builder = builder.version(version);
    }
    if let Some(region) = region {
        builder = builder.region(region);
    }
    if let Some(description) = description {
        builder = builder.description(description);
    }
    for kind in agent_type {
        builder = builder.agent_type(kind);
    }
    for name in capability {
        builder = builder.capability(name);
    }
    for (key, value) in label {
        builder = builder.label(key, value);
    }
    if wait_for_broker {
        builder = builder.wait_for_broker();
    }
    builder
}

/// An id that no other process has at the same time.
fn default_id(skill: Option<&SkillName>) -> Result<AgentId, CliError> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let host: String = host.chars().take(40).map(allowed).collect();
    let skill = skill.map_or("agent", SkillName::as_str);
    let skill: String = skill.chars().take(64).collect();
    let id = format!("{skill}-{host}-{}", process::id());
    AgentId::new(id).map_err(CliError::usage)
}
