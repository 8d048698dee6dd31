//! `completions`: what a shell needs to complete the command line.

use crate::args::Cli;
use crate::error::CliError;
use crate::output::Output;
use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};
use serde_json::json;

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
    if output.is_json() {
        let script = String::from_utf8_lossy(&script);
        return output.value(&json!({ "shell": args.shell.to_string(), "script": script }));
    }
    output.bytes(&script)
}
