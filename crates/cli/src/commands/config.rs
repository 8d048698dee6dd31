//! `config`: the settings in force, and whether a file is right.

use crate::config::{Entry, Loaded, Settings};
use crate::error::CliError;
use crate::output::{self, Output, units};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// What `config` takes.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Print every setting of a broker, and where its value comes from.
    #[command(after_help = "\
Examples:
  trunkline config show
  TRUNKLINE_BROKER__LEASE=1m trunkline config show --config trunkline.toml")]
    Show {
        /// Take settings from this file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Check a configuration file.
    #[command(after_help = "\
Example:
  trunkline config check trunkline.toml")]
    Check {
        /// The file.
        file: PathBuf,
    },
}

/// Runs the command.
pub(crate) fn run(args: ConfigArgs, output: &Output) -> Result<(), CliError> {
    match args.command {
        ConfigCommand::Show { config } => show(&Settings::load(config.as_deref(), &[])?, output),
        ConfigCommand::Check { file } => {
            let set = Settings::check_file(&file).map_err(|mut mistakes| {
                // The last one ends the command as any error does.
                let last = mistakes.pop().unwrap_or_else(|| CliError::usage("it is wrong"));
                for mistake in &mistakes {
                    output.error(mistake);
                }
                last
            })?;
            if output.is_json() {
                return output.value(&json!({ "file": file.to_string_lossy(), "settings": set }));
            }
            let set = units::counted(set as u64, "setting", "settings");
            output.line(format_args!("{} is right and has {set}", file.display()))
        }
    }
}

fn show(loaded: &Loaded, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        let entry = |Entry { setting, value, origin }: Entry| {
            let about = json!({
                "value": value,
                "from": origin,
                "default": setting.default(),
                "range": setting.range(),
                "reloads": setting.reloads(),
                "about": setting.doc(),
            });
            (setting.name(), about)
        };
        return output.value(&Value::Object(loaded.entries().map(entry).collect::<Map<_, _>>()));
    }
    let row = |Entry { setting, value, origin }: Entry| {
        let changes = if setting.reloads() { "reload" } else { "restart" };
        [setting.name(), value, origin, changes.to_owned()]
    };
    output.table(&output::rows(
        ["SETTING", "VALUE", "FROM", "CHANGES AT"],
        &[],
        loaded.entries().map(row),
    ))
}
