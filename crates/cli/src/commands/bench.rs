//! `bench`: how fast messages are delivered and acknowledged.

use crate::error::CliError;
use crate::exit::Exit;
use crate::output::{self, Output};
use clap::Args;
use trunkline_bench::{BenchError, BenchReport, cli};

/// What `bench` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline bench inproc
  trunkline bench oneway --in-flight 256 --seconds 10
  trunkline bench durable --json")]
pub(crate) struct BenchCommand {
    #[command(flatten)]
    pub(crate) bench: cli::BenchArgs,
}

/// Runs the command.
pub(crate) async fn run(args: BenchCommand, output: &Output) -> Result<(), CliError> {
    let report = Box::pin(cli::run(args.bench)).await.map_err(explain)?;
    if output.is_json() {
        output.value(&report.to_json())?;
    } else {
        output.table(&output::fields(report.rows()))?;
    }
    if report.passed() {
        return Ok(());
    }
    let BenchReport { disagreements, .. } = report;
    let message = match disagreements.as_slice() {
        [] => "a goal was not met".to_owned(),
        all => format!("the counts do not agree: {}", all.join(", ")),
    };
    Err(CliError::new(Exit::Mismatch, message))
}

fn explain(error: BenchError) -> CliError {
    match error {
        BenchError::Refused { what, refusal } => {
            let error = CliError::from(refusal);
            CliError { message: format!("{what}: {}", error.message), ..error }
        }
        error @ (BenchError::OptionOfOthers { .. }
        | BenchError::Range { .. }
        | BenchError::NotDurable(_)
        | BenchError::NotOnDisk(_)) => CliError::usage(error),
        error @ (BenchError::System { .. }
        | BenchError::Broker { .. }
        | BenchError::Open(_)
        | BenchError::Late { .. }
        | BenchError::Interrupted
        | BenchError::Ended { .. }
        | BenchError::Load(_)) => CliError::new(Exit::General, error),
    }
}
