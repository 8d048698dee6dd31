//! `completions`: what a shell needs to complete the command line.

use crate::args::Cli;
use crate::error::CliError;
use crate::output::Output;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

/// What `completions` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  trunkline completions bash > ~/.local/share/bash-completion/completions/trunkline")]
pub(crate) struct CompletionsArgs {
    /// Which shell.
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &CompletionsArgs, output: &Output) -> Result<(), CliError> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "trunkline", &mut script);
    output.bytes(&script)
}
