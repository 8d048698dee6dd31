//! The sources of settings, laid over each other: the file, the environment, the flags.

use super::settings::Settings;
use super::table::{self, Setting};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::units::shown;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use toml::{Table, Value};
use trunkline_agent::exec::VARIABLES;

/// What the variables of the environment begin with.
const PREFIX: &str = "TRUNKLINE_";
/// What else begins so: what the commands that talk to a broker read, and by what the Python package
/// finds this program. What the child of an agent is told of its delivery comes besides.
const OTHERS: [&str; 5] = [
    "TRUNKLINE_URL",
    "TRUNKLINE_PRINCIPAL",
    "TRUNKLINE_TENANT",
    "TRUNKLINE_LOG",
    "TRUNKLINE_BINARY",
];
/// Beginnings of what belongs to others whatever follows: the headers of a delivery, and what
/// Kubernetes tells every container of a service named `trunkline`.
const FOREIGN: [&str; 3] = ["TRUNKLINE_HEADER_", "TRUNKLINE_SERVICE_", "TRUNKLINE_PORT_"];
/// How alike two names must be for one to be offered for the other.
const ALIKE: f64 = 0.5;

/// What a flag of the command line sets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Override {
    /// Section and key with a dot between.
    pub(crate) key: &'static str,
    /// The flag, for who wants to know where the value comes from.
    pub(crate) flag: &'static str,
    /// The value as a text.
    pub(crate) value: String,
}

/// Settings, and where each that is not a default comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loaded {
    /// The settings in force.
    pub(crate) settings: Settings,
    origins: BTreeMap<String, String>,
}

/// One setting as it is in force.
pub(crate) struct Entry {
    /// Which setting.
    pub(crate) setting: Setting,
    /// Its value in a form that can be given back.
    pub(crate) value: String,
    /// Where the value comes from.
    pub(crate) origin: String,
}

impl Settings {
    /// Lays the sources over the defaults.
    ///
    /// # Errors
    /// A usage error that names the setting, its value, and its range or the nearest valid name.
    pub(crate) fn load(file: Option<&Path>, flags: &[Override]) -> Result<Loaded, CliError> {
        let mut loaded = Loaded::default();
        if let Some(path) = file {
            loaded.read_file(path)?;
        }
        let variables = env::vars_os().map(|(name, value)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        });
        loaded.read_environment(variables)?;
        for Override { key, flag, value } in flags {
            loaded.set(key, value, (*flag).to_owned(), flag)?;
        }
        loaded.settings.check().map_err(CliError::usage)?;
        Ok(loaded)
    }

    /// Checks the environment by itself and returns how many settings it has.
    ///
    /// # Errors
    /// As of [`Settings::load`].
    pub(crate) fn check_variables() -> Result<usize, CliError> {
        let loaded = Self::load(None, &[])?;
        loaded.settings.check_listen().map_err(CliError::usage)?;
        Ok(loaded.origins.len())
    }

    /// Checks a file by itself and returns how many settings it has.
    ///
    /// # Errors
    /// Every mistake that is in it, each as of [`Settings::load`]; there is one at least.
    pub(crate) fn check_file(path: &Path) -> Result<usize, Vec<CliError>> {
        let mut loaded = Loaded::default();
        let mut mistakes = loaded.apply_file(path).map_err(|error| vec![error])?;
        // What is wrong by itself does not go with the rest either, which need not be told.
        if mistakes.is_empty() {
            mistakes.extend(loaded.settings.check().err().map(CliError::usage));
        }
        mistakes.extend(loaded.settings.check_listen().err().map(CliError::usage));
        if mistakes.is_empty() { Ok(loaded.origins.len()) } else { Err(mistakes) }
    }
}

/// Refuses a variable of the environment that begins like one of ours and is none, whichever
/// command it was meant for. The values are for the command that reads them.
///
/// # Errors
/// A usage error that names the variable and the nearest one that there is.
pub(crate) fn check_environment() -> Result<(), CliError> {
    let variables = env::vars_os().map(|(name, value)| {
        (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
    });
    for variable in own(variables) {
        variable_setting(&variable.0)?;
    }
    Ok(())
}

/// The variables that are meant for a broker's configuration. They come in a fixed order, so that
/// of two mistakes always the same is told.
fn own(variables: impl Iterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let is_own =
        |(name, value): &(String, String)| name.starts_with(PREFIX) && !is_foreign(name, value);
    variables.filter(is_own).collect()
}

fn variable_setting(variable: &str) -> Result<Setting, CliError> {
    let setting = table::all().find(|setting| setting.variable() == variable);
    setting.ok_or_else(|| unknown_variable(variable))
}

impl Loaded {
    /// Every setting, its value, and where that comes from.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        table::all().map(|setting| {
            let origin = self.origins.get(&setting.name());
            let origin = origin.map_or("default", String::as_str).to_owned();
            Entry { setting, value: setting.show(&self.settings), origin }
        })
    }

    fn read_file(&mut self, path: &Path) -> Result<(), CliError> {
        self.apply_file(path)?.into_iter().next().map_or(Ok(()), Err)
    }

    /// Takes over what is right in a file and returns what is not.
    fn apply_file(&mut self, path: &Path) -> Result<Vec<CliError>, CliError> {
        let place = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            CliError::new(Exit::Usage, format_args!("cannot read {place}: {error}"))
        })?;
        let table: Table = text.parse().map_err(|error: toml::de::Error| {
            CliError::new(
                Exit::Usage,
                format_args!("{place} is no TOML: {}", error.to_string().trim_end()),
            )
        })?;
        let mut mistakes = Vec::new();
        for (section, value) in &table {
            if !table::all().any(|setting| setting.section() == section) {
                mistakes.push(unknown(&place, "section", section, &sections()));
                continue;
            }
            let Value::Table(keys) = value else {
                let message = format!("{place}: '{section}' is a section; write [{section}]");
                mistakes.push(CliError::usage(message));
                continue;
            };
            for (key, value) in keys {
                mistakes.extend(self.set_value(format!("{section}.{key}"), value, &place).err());
            }
        }
        Ok(mistakes)
    }

    fn set_value(&mut self, name: String, value: &Value, place: &str) -> Result<(), CliError> {
        let setting = find(&name).ok_or_else(|| unknown_key(place, &name))?;
        setting
            .set_value(&mut self.settings, value)
            .map_err(|error| CliError::usage(format!("{place}: {name} {error}")))?;
        self.origins.insert(name, place.to_owned());
        Ok(())
    }

    fn read_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), CliError> {
        for (variable, value) in own(variables) {
            let setting = variable_setting(&variable)?;
            self.set(&setting.name(), &value, format!("environment {variable}"), &variable)?;
        }
        Ok(())
    }

    fn set(
        &mut self,
        name: &str,
        value: &str,
        origin: String,
        place: &str,
    ) -> Result<(), CliError> {
        let setting = find(name).ok_or_else(|| unknown_key(place, name))?;
        setting
            .set_text(&mut self.settings, value)
            .map_err(|error| CliError::usage(format!("{place}: {name} {error}")))?;
        self.origins.insert(name.to_owned(), origin);
        Ok(())
    }
}

fn find(name: &str) -> Option<Setting> {
    table::all().find(|setting| setting.name() == name)
}

fn sections() -> Vec<String> {
    let mut sections: Vec<_> = table::all().map(|setting| setting.section().to_owned()).collect();
    sections.dedup();
    sections
}

fn unknown_key(place: &str, name: &str) -> CliError {
    unknown(place, "key", name, &table::all().map(Setting::name).collect::<Vec<_>>())
}

/// The variables that are no settings.
fn others() -> impl Iterator<Item = &'static str> {
    OTHERS.into_iter().chain(VARIABLES)
}

/// Whether a variable is none of this process's settings, though it begins like one.
fn is_foreign(variable: &str, value: &str) -> bool {
    others().any(|other| other == variable)
        || FOREIGN.iter().any(|beginning| variable.starts_with(beginning))
        || (variable == "TRUNKLINE_PORT" && value.contains("://"))
}

/// The error for a variable that sets nothing, with the one that was probably meant.
fn unknown_variable(variable: &str) -> CliError {
    let message = format!("the environment variable {} sets nothing", shown(variable));
    let error = CliError::new(Exit::Usage, message);
    // All of them begin alike, which says nothing about what was meant.
    let rest = |name: &str| name.trim_start_matches(PREFIX).to_ascii_uppercase();
    let flat = |name: &str| rest(name).replace("__", "_");
    // A name without its section, or with another, is still known by its key.
    let key = |name: &str| match rest(name).split_once("__") {
        Some((_, key)) => key.to_owned(),
        None => flat(name),
    };
    let score = |candidate: &String| {
        let alike = strsim::normalized_damerau_levenshtein;
        alike(&flat(variable), &flat(candidate)).max(0.99 * alike(&key(variable), &key(candidate)))
    };
    let known = table::all().map(Setting::variable).chain(others().map(str::to_owned));
    match known.max_by(|a, b| score(a).total_cmp(&score(b))) {
        Some(nearest) if score(&nearest) >= ALIKE => {
            error.hint(format_args!("did you mean '{nearest}'?"))
        }
        _ => error.hint(
            "a setting is written TRUNKLINE_SECTION__KEY; see all with `trunkline config show`",
        ),
    }
}

/// The error for a name that is not there, with the one that was probably meant.
fn unknown(place: &str, what: &str, name: &str, known: &[String]) -> CliError {
    let error =
        CliError::new(Exit::Usage, format_args!("{place}: unknown {what} '{}'", shown(name)));
    let key = |name: &str| name.split_once('.').map_or(name, |(_, key)| key).to_owned();
    // A key is looked for by itself too: it may stand in the wrong section.
    let score = |candidate: &String| {
        let whole = strsim::normalized_damerau_levenshtein(name, candidate);
        whole.max(0.99 * strsim::normalized_damerau_levenshtein(&key(name), &key(candidate)))
    };
    let nearest = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    match nearest {
        Some(nearest) if score(nearest) >= ALIKE => {
            error.hint(format_args!("did you mean '{nearest}'?"))
        }
        _ if what == "section" => error.hint(format_args!("there are {}", known.join(", "))),
        _ => error.hint("see all keys with `trunkline config show`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Loaded, CliError> {
        let mut loaded = Loaded::default();
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        loaded.read_environment(pairs).map(|()| loaded)
    }

    #[test]
    fn the_environment_names_section_and_key() {
        let loaded = environment(&[
            ("TRUNKLINE_BROKER__LEASE", "1m"),
            ("TRUNKLINE_URL", "http://elsewhere"),
            ("TRUNKLINE_HEADER_X__Y", "of a child"),
            ("TRUNKLINE_BINARY", "/usr/bin/trunkline"),
            ("TRUNKLINE_SERVICE_HOST", "10.0.0.7"),
            ("TRUNKLINE_PORT", "tcp://10.0.0.7:7420"),
            ("TRUNKLINE_PORT_7420_TCP", "tcp://10.0.0.7:7420"),
            ("OTHER__KEY", "1"),
        ])
        .unwrap();
        assert_eq!(loaded.settings.broker.engine.lease.as_secs(), 60);
        let entry = |name| loaded.entries().find(|entry| entry.setting.name() == name).unwrap();
        let lease = entry("broker.lease");
        assert_eq!((&*lease.value, &*lease.origin), ("1m", "environment TRUNKLINE_BROKER__LEASE"));
        assert_eq!(entry("broker.resume_grace").origin, "default");
    }

    #[test]
    fn a_name_that_is_not_there_brings_the_nearest_one() {
        for (variable, meant) in [
            ("TRUNKLINE_BROKER__LEESE", "TRUNKLINE_BROKER__LEASE"),
            ("TRUNKLINE_BROKER_LEASE", "TRUNKLINE_BROKER__LEASE"),
            ("TRUNKLINE_broker__lease", "TRUNKLINE_BROKER__LEASE"),
            ("TRUNKLINE_SERVER__LEASE", "TRUNKLINE_BROKER__LEASE"),
            ("TRUNKLINE_LEASE", "TRUNKLINE_BROKER__LEASE"),
            ("TRUNKLINE_LIMIT__PAYLOAD_BYTES", "TRUNKLINE_LIMITS__PAYLOAD_BYTES"),
            ("TRUNKLINE_PRINCIPLE", "TRUNKLINE_PRINCIPAL"),
        ] {
            let error = environment(&[(variable, "1")]).unwrap_err();
            assert!(error.message.contains(variable), "{}", error.message);
            let hint = error.hint.unwrap();
            assert!(hint.contains(&format!("'{meant}'")), "{variable}: {hint}");
        }
        let error = environment(&[("TRUNKLINE_Q__Q", "1")]).unwrap_err();
        assert!(error.hint.unwrap().contains("config show"));
    }

    #[test]
    fn a_value_out_of_range_brings_the_range() {
        let error = environment(&[("TRUNKLINE_BROKER__LEASE", "1ms")]).unwrap_err();
        assert_eq!(
            error.message,
            "TRUNKLINE_BROKER__LEASE: broker.lease is 1ms, the range is 100ms to 1d"
        );
        let error = environment(&[("TRUNKLINE_LOG__FREE_SEGMENTS", "-1")]).unwrap_err();
        assert!(error.message.contains("the range is 0 to 1024"), "{}", error.message);
    }
}
