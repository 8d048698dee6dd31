//! `task`: tasks as they stand, and what their caller can do about them.

use super::context::show_history;
use super::dead::{attempts_table, first_line};
use super::paging;
use super::task_watch;
use crate::args::Reach;
use crate::connect::Link;
use crate::error::CliError;
use crate::input::Input;
use crate::output::units::{self, parse_moment};
use crate::output::{self, Output};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use trunkline_agent::Session;
use trunkline_types::{
    AgentId, ContextId, MessageId, SkillName, TaskFilter, TaskPage, TaskSnapshot, TaskState,
    WallTime,
};

/// What `task` takes.
#[derive(Args, Debug)]
pub(crate) struct TaskArgs {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    command: TaskCommand,
}

#[derive(Subcommand, Debug)]
enum TaskCommand {
    /// List tasks, newest first.
    #[command(after_help = "\
Examples:
  trunkline task list --state working --state input-required
  trunkline task list --root 0192f0c1-2d3e-7000-8000-00000000002a --since 2h
  trunkline task list --skill count-words --limit 10 --json")]
    List(ListArgs),
    /// Print one task: its state, its attempts, its result, what was said in it.
    #[command(after_help = "\
Examples:
  trunkline task get 0192f0c1-2d3e-7000-8000-00000000002a
  trunkline task get 0192f0c1-2d3e-7000-8000-00000000002a --history 10")]
    Get {
        /// Its id.
        id: MessageId,
        /// Also at most this many of its latest messages.
        #[arg(
            long,
            value_name = "N",
            default_value_t = 0,
            allow_negative_numbers = true,
            value_parser = clap::value_parser!(u32)
        )]
        history: u32,
    },
    /// Print what happens to a task until it ends. The exit code says how.
    #[command(after_help = "\
Examples:
  trunkline task watch 0192f0c1-2d3e-7000-8000-00000000002a
  trunkline task watch 0192f0c1-2d3e-7000-8000-00000000002a --after 3 --json")]
    Watch {
        /// Its id.
        id: MessageId,
        /// Only events after this number.
        #[arg(
            long,
            value_name = "NUMBER",
            default_value_t = 0,
            allow_negative_numbers = true,
            value_parser = |text: &str| units::parse_from(0, text)
        )]
        after: u64,
    },
    /// Call a task off. Whoever works on it is told.
    #[command(after_help = "\
Examples:
  trunkline task cancel 0192f0c1-2d3e-7000-8000-00000000002a --reason 'no longer needed'
  trunkline task cancel 0192f0c1-2d3e-7000-8000-00000000002a --descendants")]
    Cancel {
        /// Its id.
        id: MessageId,
        /// Why.
        #[arg(long, default_value = "called off from the command line")]
        reason: String,
        /// Call off every task too that it led to.
        #[arg(long)]
        descendants: bool,
    },
    /// Answer what a paused task waits for.
    #[command(after_help = "\
Example:
  trunkline task continue 0192f0c1-2d3e-7000-8000-00000000002a --data yes")]
    Continue {
        /// Its id.
        id: MessageId,
        #[command(flatten)]
        input: Input,
    },
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Only tasks in this state; several may be said, each with the flag.
    #[arg(long)]
    state: Vec<TaskState>,
    /// Only tasks sent to this skill.
    #[arg(long)]
    skill: Option<SkillName>,
    /// Only tasks sent to this agent, or held by it now or last.
    #[arg(long, value_name = "ID")]
    agent: Option<AgentId>,
    /// Only tasks of this conversation.
    #[arg(long, value_name = "ID")]
    context: Option<ContextId>,
    /// Only this task and those that it led to, if it is the first of them all.
    #[arg(long, value_name = "ID")]
    root: Option<MessageId>,
    /// Only tasks that were accepted at this time or later, such as 2030-01-31T08:00:00Z, or 2h
    /// for the last two hours.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<WallTime>,
    /// Only tasks that were accepted before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    until: Option<WallTime>,
    /// Only tasks older than this one: where the page before ended.
    #[arg(long, value_name = "ID")]
    before: Option<MessageId>,
    /// At most this many.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=1000)
    )]
    limit: u32,
}

/// Runs the command.
pub(crate) async fn run(args: TaskArgs, output: &Output) -> Result<(), CliError> {
    let link = Link::new(&args.reach)?;
    match args.command {
        TaskCommand::List(args) => list(&gather(&link, args.filter()).await?, output),
        TaskCommand::Get { id, history } => {
            show(&link.task_with_history(id, Some(history)).await?, output)
        }
        TaskCommand::Watch { id, after } => task_watch::run(&link, id, after, output).await,
        TaskCommand::Cancel { id, reason, descendants } => {
            // Only a task: what else has this id is called off with `message cancel`.
            link.task(id).await?;
            if descendants {
                let cancel = async |session: &Session| {
                    session.cancel_with_descendants(id, reason.clone()).await
                };
                return told_of_all(id, link.with(cancel).await?, output);
            }
            link.with(async |session| session.cancel(id, reason).await).await?;
            told(id, "canceled", output)
        }
        TaskCommand::Continue { id, input } => {
            let payload = input.payload()?;
            link.with(async |session| session.continue_task(id, payload).await).await?;
            told(id, "continued", output)
        }
    }
}

impl ListArgs {
    fn filter(self) -> TaskFilter {
        let Self { state, skill, agent, context, root, since, until, before, limit } = self;
        TaskFilter {
            states: state,
            skill,
            agent,
            context_id: context,
            root_id: root,
            since,
            until,
            before,
            limit,
            ..TaskFilter::default()
        }
    }
}

/// Says how many were called off with a task.
fn told_of_all(id: MessageId, messages: u64, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        let value = json!({ "id": id.to_string(), "done": "canceled", "messages": messages });
        return output.value(&value);
    }
    let messages = units::counted(messages, "task", "tasks");
    output.line(format_args!("canceled {id} and what it led to, {messages} in all"))
}

/// Says what was done to a task.
fn told(id: MessageId, done: &str, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        output.value(&json!({ "id": id.to_string(), "done": done }))
    } else {
        output.line(format_args!("{done} {id}"))
    }
}

/// Asks page by page until there are as many as the filter says or no more.
async fn gather(link: &Link, filter: TaskFilter) -> Result<TaskPage, CliError> {
    let most = filter.limit as usize;
    let from = filter.before;
    let ask = async |limit, before| {
        let filter = TaskFilter { limit, before, ..filter.clone() };
        link.tasks(filter).await.map(|page| (page.tasks, page.next))
    };
    let (tasks, next) = paging::gather(most, from, ask).await?;
    Ok(TaskPage { tasks, next, ..TaskPage::default() })
}

fn list(page: &TaskPage, output: &Output) -> Result<(), CliError> {
    let TaskPage { tasks, next, .. } = page;
    if output.is_json() {
        let tasks: Value = tasks.iter().map(output::task).collect();
        let next = next.as_ref().map(ToString::to_string);
        return output.value(&json!({ "tasks": tasks, "next": next }));
    }
    if tasks.is_empty() {
        output.note("no tasks");
        return Ok(());
    }
    let row = |task: &TaskSnapshot| {
        [
            task.id.to_string(),
            task.state.to_string(),
            task.destination.to_string(),
            task.agent.as_ref().map(ToString::to_string).unwrap_or_default(),
            task.attempts.to_string(),
            units::age(task.created_at),
            task.reason.as_deref().map(first_line).unwrap_or_default(),
        ]
    };
    let header = ["ID", "STATE", "DESTINATION", "AGENT", "ATTEMPTS", "CREATED", "REASON"];
    output.table(&output::rows(header, &[4], tasks.iter().map(row)))?;
    if let Some(next) = next {
        output.note(format_args!("there are older ones: --before {next}"));
    }
    Ok(())
}

fn show(task: &TaskSnapshot, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        return output.value(&output::task(task));
    }
    let text = |value: Option<String>| value.unwrap_or_default();
    let progress = task.progress.as_ref().map(|now| format!("{}% {}", now.percent, now.text));
    let fields = [
        ("id", task.id.to_string()),
        ("state", task.state.to_string()),
        ("reason", text(task.reason.clone())),
        ("destination", task.destination.to_string()),
        ("source", text(task.source.as_ref().map(ToString::to_string))),
        ("agent", text(task.agent.as_ref().map(ToString::to_string))),
        ("attempts", task.attempts.to_string()),
        ("progress", text(progress)),
        ("context", text(task.context_id.as_ref().map(ToString::to_string))),
        ("caused by", text(task.causation_id.map(|id| id.to_string()))),
        ("root", text(task.root_id.map(|id| id.to_string()))),
        ("events", task.last_event.to_string()),
        ("created", units::age(task.created_at)),
        ("updated", units::age(task.updated_at)),
    ];
    output.table(&output::fields(fields.into_iter().filter(|(_, value)| !value.is_empty())))?;
    if !task.notes.is_empty() {
        output.line("")?;
        output.table(&attempts_table(&task.notes))?;
    }
    if let Some(result) = &task.result {
        output.line("")?;
        output.line(output::plain(result).to_text().trim_end_matches('\n'))?;
    }
    show_history(&task.history, output)
}
