//! `restore`: a data directory made of a backup.

use crate::commands::storage::{Bar, backup_error};
use crate::error::CliError;
use crate::output::{Output, units};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use trunkline_broker::restore;

/// What `restore` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  trunkline restore /mnt/backup/trunkline --data trunkline-data")]
pub(crate) struct RestoreArgs {
    /// The folder of the backup.
    backup: PathBuf,
    /// The data directory to make: empty, or not there yet.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &RestoreArgs, output: &Output) -> Result<(), CliError> {
    let bar = Bar::new("restore", output);
    let done = restore(&args.backup, &args.data, |_, bytes| bar.more(bytes));
    bar.end();
    let done = done.map_err(|error| backup_error(&error))?;
    if output.is_json() {
        return output.value(&json!({ "files": done.files, "bytes": done.bytes }));
    }
    output.line(format_args!(
        "{} restored: {} of {}",
        args.data.display(),
        units::counted(done.files, "file", "files"),
        units::size(done.bytes),
    ))
}
