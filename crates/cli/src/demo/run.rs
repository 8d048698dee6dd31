//! The whole demo: from the files to the farewell.

use super::args::DemoArgs;
use super::figures::{self, Figures};
use super::files::Files;
use super::stage::Stage;
use super::{python, roles, show};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the command.
///
/// # Errors
/// There is nothing to work on, a process fails, the counts differ, or it was interrupted. In
/// each case everything is stopped and removed first.
pub(crate) async fn run(args: DemoArgs, output: &Output) -> Result<(), CliError> {
    if let (Some(role), Some(url)) = (args.role, &args.broker) {
        return Box::pin(roles::play(role, args.number, url, !args.keep)).await;
    }
    if args.python {
        return Box::pin(python::run(&args, output)).await;
    }
    let files = Files::read(&args.input, usize::try_from(args.files).unwrap_or(usize::MAX))?;
    let count = files.texts.len();
    output.note(format_args!(
        "working on {count} text files of '{}' with a broker and agents in processes of their own",
        args.input.display()
    ));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut stage = None;
    let played = tokio::select! {
        played = Box::pin(play(&mut stage, &args, files, *output)) => played,
        _ = terminate.recv() => Err(interrupted()),
        _ = interrupt.recv() => Err(interrupted()),
    };
    match (played, stage) {
        (Ok(figures), Some(stage)) => {
            let agree = figures.agree();
            if args.keep {
                let url = stage.url.clone();
                let left = stage.leave();
                figures::print(&figures, &args, Some((&url, &left)), *output)?;
            } else {
                stage.stop().await?;
                figures::print(&figures, &args, None, *output)?;
            }
            if agree { Ok(()) } else { Err(CliError::new(Exit::Mismatch, "the counts differ")) }
        }
        (Err(error), Some(stage)) => {
            // The first error is the one that matters; what is left is killed when dropped.
            let _ = stage.stop().await;
            Err(error)
        }
        (Err(error), None) => Err(error),
        (Ok(_), None) => Err(CliError::new(Exit::General, "nothing was started")),
    }
}

/// Starts everything in `stage`, where it stays whatever happens next, and works.
async fn play(
    stage: &mut Option<Stage>,
    args: &DemoArgs,
    files: Files,
    output: Output,
) -> Result<Figures, CliError> {
    let stage = stage.insert(Stage::start(args.keep).await?);
    show::show(stage, files, output.is_interactive()).await
}

fn interrupted() -> CliError {
    CliError::new(Exit::Interrupted, "interrupted; everything is stopped and removed")
}
