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
    /// Check a configuration file, or what the environment sets.
    #[command(after_help = "\
Examples:
  trunkline config check trunkline.toml
  TRUNKLINE_BROKER__LEASE=1m trunkline config check")]
    Check {
        /// The file, by itself; there is none that a broker reads without being told. When not
        /// given, the variables of the environment are checked.
        file: Option<PathBuf>,
    },
}

/// Runs the command.
pub(crate) fn run(args: ConfigArgs, output: &Output) -> Result<(), CliError> {
    match args.command {
        ConfigCommand::Show { config } => show(&Settings::load(config.as_deref(), &[])?, output),
        ConfigCommand::Check { file } => {
            let what = file.as_ref().map_or("the environment".into(), |it| it.to_string_lossy());
            let checked = match &file {
                Some(file) => Settings::check_file(file),
                None => Settings::check_variables().map_err(|mistake| vec![mistake]),
            };
            let set = checked.map_err(|mut mistakes| {
                // The last one ends the command as any error does.
                let last = mistakes.pop().unwrap_or_else(|| CliError::usage("it is wrong"));
                for mistake in &mistakes {
                    output.error(mistake);
                }
                last
            })?;
            if output.is_json() {
                return output
                    .value(&json!({ "file": file.as_ref().map(|_| &*what), "settings": set }));
            }
            let set = units::counted(set as u64, "setting", "settings");
            output.line(format_args!("{what} is right and has {set}"))
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
