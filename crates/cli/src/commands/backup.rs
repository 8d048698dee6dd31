//! `backup`: a consistent copy of a data directory, also while a broker works on it.

use crate::commands::storage::{Bar, backup_error, must_exist};
use crate::error::CliError;
use crate::output::{Output, units};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use trunkline_broker::{BackedUp, backup};

/// What `backup` takes.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  trunkline backup trunkline-data --to /mnt/backup/trunkline
  trunkline backup trunkline-data --to /mnt/backup/trunkline   (again: only what is new)")]
pub(crate) struct BackupArgs {
    /// The data directory. A broker may be running on it.
    directory: PathBuf,
    /// The folder of the backup. What an earlier backup put there and is still the same is not
    /// written again.
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &BackupArgs, output: &Output) -> Result<(), CliError> {
    must_exist(&args.directory)?;
    let bar = Bar::new("backup", output);
    let done = backup(&args.directory, &args.to, |_, bytes| bar.more(bytes));
    bar.end();
    let done = done.map_err(|error| backup_error(&error))?;
    let BackedUp { files, bytes, written_files, written_bytes } = done;
    if output.is_json() {
        return output.value(&json!({
            "files": files,
            "bytes": bytes,
            "written_files": written_files,
            "written_bytes": written_bytes,
        }));
    }
    output.line(format_args!(
        "{} in {} of {}; written now: {} of {}",
        args.to.display(),
        units::counted(files, "file", "files"),
        units::size(bytes),
        units::counted(written_files, "file", "files"),
        units::size(written_bytes),
    ))
}
