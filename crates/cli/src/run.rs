//! From the command line to the exit code.

use crate::args::{Cli, Command, Global};
use crate::commands::{
    agent, agents, backup, bench, completions, config, context, dead, inbox, message, publish,
    request, restore, schedule, send, serve, stats, subscribe, task, verify,
};
use crate::config::check_environment;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{Output, units};
use crate::{demo, mistake, torture};
use clap::{ColorChoice, CommandFactory, FromArgMatches};
use std::env;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Chooses in detail what is told on stderr.
const LOG: &str = "TRUNKLINE_LOG";

/// Runs the command that the process was started with.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    // Looked for by hand, because errors of the command line are told before it is parsed.
    let has = |flag| arguments.iter().take_while(|it| *it != "--").any(|it| it == flag);
    let (json, plain) = (has("--json"), has("--no-color"));
    let color = if plain { ColorChoice::Never } else { ColorChoice::Auto };
    let parsed = Cli::command()
        .color(color)
        .try_get_matches_from(&arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let Cli { global, command } = match parsed {
        Ok(cli) => cli,
        Err(error) => return mistake::tell(&error, &arguments, &Output::new(json, plain)),
    };
    let output = Output::new(global.json, global.no_color);
    if let Err(error) = check_environment() {
        return finish(&output, Err(error));
    }
    if let Err(error) = trace(&global, &command) {
        return finish(&output, Err(error));
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads(&command) {
        builder.worker_threads(threads);
    }
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let message = format!("the system gives no threads: {error}");
            return finish(&output, Err(CliError::new(Exit::General, message)));
        }
    };
    let result = runtime.block_on(Box::pin(run(command, &output)));
    // What is still at work on a blocking thread has nothing left to tell.
    runtime.shutdown_background();
    finish(&output, result)
}

/// How many threads a command works with; `None` for one on each core. With a single connection
/// more threads than one only wake each other up. A broker leaves a core to the log's thread and
/// to those who talk to it: with one more it does less, and takes more time for it.
fn threads(command: &Command) -> Option<usize> {
    match command {
        Command::Serve(_) => {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            Some(cores.saturating_sub(1).max(1))
        }
        Command::Demo(_) | Command::Torture(_) => None,
        Command::Bench(args) => args.threads(),
        Command::Agent(_)
        | Command::Send(_)
        | Command::Request(_)
        | Command::Publish(_)
        | Command::Subscribe(_)
        | Command::Task(_)
        | Command::Context(_)
        | Command::Message(_)
        | Command::Schedule(_)
        | Command::Agents(_)
        | Command::Inbox(_)
        | Command::Dead(_)
        | Command::Stats(_)
        | Command::Config(_)
        | Command::Verify(_)
        | Command::Backup(_)
        | Command::Restore(_)
        | Command::Completions(_) => Some(1),
    }
}

fn finish(output: &Output, result: Result<(), CliError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            error.exit.into()
        }
    }
}

/// Has what the code tells of itself written to stderr.
fn trace(global: &Global, command: &Command) -> Result<(), CliError> {
    let level = match global.verbose {
        // Connections that break are what it is for.
        0 if breaks_connections(command) => "error",
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let chosen = env::var_os(LOG).filter(|text| !text.is_empty());
    let filter = match chosen.as_ref().map(|text| text.to_string_lossy()) {
        Some(text) => EnvFilter::builder().parse(&text).map_err(|error| {
            CliError::usage(format_args!("{LOG} is '{}': {error}", units::shown(&text)))
                .hint("it is a level or a list such as trunkline_client=debug,h2=warn")
        })?,
        None => level.into(),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Where nobody reads any more nobody can be told that, and trying would be a panic.
        .log_internal_errors(false)
        .with_ansi(anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never)
        .init();
    Ok(())
}

fn breaks_connections(command: &Command) -> bool {
    match command {
        Command::Torture(_) => true,
        Command::Bench(args) => args.breaks_connections(),
        _ => false,
    }
}

async fn run(command: Command, output: &Output) -> Result<(), CliError> {
    match command {
        Command::Serve(args) => Box::pin(serve::run(args, output)).await,
        Command::Agent(args) => Box::pin(agent::run(args, output)).await,
        Command::Send(args) => Box::pin(send::run(args, output)).await,
        Command::Request(args) => Box::pin(request::run(args, output)).await,
        Command::Publish(args) => Box::pin(publish::run(args, output)).await,
        Command::Subscribe(args) => Box::pin(subscribe::run(args, output)).await,
        Command::Task(args) => Box::pin(task::run(args, output)).await,
        Command::Context(args) => Box::pin(context::run(args, output)).await,
        Command::Message(args) => Box::pin(message::run(args, output)).await,
        Command::Schedule(args) => Box::pin(schedule::run(args, output)).await,
        Command::Inbox(args) => Box::pin(inbox::run(args, output)).await,
        Command::Agents(args) => Box::pin(agents::run(args, output)).await,
        Command::Dead(args) => Box::pin(dead::run(args, output)).await,
        Command::Stats(args) => Box::pin(stats::run(args, output)).await,
        Command::Config(args) => config::run(args, output),
        Command::Verify(args) => verify::run(&args, output),
        Command::Backup(args) => backup::run(&args, output),
        Command::Restore(args) => restore::run(&args, output),
        Command::Bench(args) => Box::pin(bench::run(args, output)).await,
        Command::Demo(args) => Box::pin(demo::run(args, output)).await,
        Command::Torture(args) => Box::pin(torture::run(args, output)).await,
        Command::Completions(args) => completions::run(&args, output),
    }
}
