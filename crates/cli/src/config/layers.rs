//! The sources of settings, laid over each other: the file, the environment, the flags.

use super::settings::Settings;
use super::table::{SETTINGS, Setting};
use crate::error::CliError;
use crate::exit::Exit;
use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// What the variables of the environment begin with.
const PREFIX: &str = "TRUNKLINE_";
/// What an agent's child is told of its delivery's headers; never a setting.
const HEADERS: &str = "TRUNKLINE_HEADER_";
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
        let variables = env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        });
        loaded.read_environment(variables)?;
        for Override { key, flag, value } in flags {
            loaded.set(key, value, (*flag).to_owned(), flag)?;
        }
        loaded.settings.check().map_err(CliError::usage)?;
        Ok(loaded)
    }

    /// Checks a file by itself and returns how many settings it has.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub(crate) fn check_file(path: &Path) -> Result<usize, CliError> {
        let mut loaded = Loaded::default();
        loaded.read_file(path)?;
        loaded.settings.check().map_err(CliError::usage)?;
        Ok(loaded.origins.len())
    }
}

impl Loaded {
    /// Every setting: its name, its value, and where that comes from.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (String, String, String)> + '_ {
        SETTINGS.iter().map(|setting| {
            let name = setting.name();
            let origin = self.origins.get(&name).map_or("default", String::as_str).to_owned();
            (name, setting.slot.show(&self.settings), origin)
        })
    }

    fn read_file(&mut self, path: &Path) -> Result<(), CliError> {
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
        for (section, value) in &table {
            if !SETTINGS.iter().any(|setting| setting.section == section) {
                return Err(unknown(&place, "section", section, &sections()));
            }
            let Value::Table(keys) = value else {
                let message = format!("{place}: '{section}' is a section; write [{section}]");
                return Err(CliError::usage(message));
            };
            for (key, value) in keys {
                let name = format!("{section}.{key}");
                let setting = find(&name).ok_or_else(|| unknown_key(&place, &name))?;
                setting
                    .slot
                    .set_value(&mut self.settings, value)
                    .map_err(|error| CliError::usage(format!("{place}: {name} {error}")))?;
                self.origins.insert(name, place.clone());
            }
        }
        Ok(())
    }

    fn read_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), CliError> {
        let mut variables: Vec<_> = variables.collect();
        // In a fixed order, so that of two mistakes always the same is told.
        variables.sort();
        for (variable, value) in variables {
            let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
            let Some((section, key)) = rest.split_once("__") else { continue };
            if variable.starts_with(HEADERS) {
                continue;
            }
            let name = format!("{section}.{key}").to_ascii_lowercase();
            self.set(&name, &value, format!("environment {variable}"), &variable)?;
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
            .slot
            .set_text(&mut self.settings, value)
            .map_err(|error| CliError::usage(format!("{place}: {name} {error}")))?;
        self.origins.insert(name.to_owned(), origin);
        Ok(())
    }
}

fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name() == name)
}

fn sections() -> Vec<String> {
    let mut sections: Vec<_> = SETTINGS.iter().map(|setting| setting.section.to_owned()).collect();
    sections.dedup();
    sections
}

fn unknown_key(place: &str, name: &str) -> CliError {
    unknown(place, "key", name, &SETTINGS.iter().map(Setting::name).collect::<Vec<_>>())
}

/// The error for a name that is not there, with the one that was probably meant.
fn unknown(place: &str, what: &str, name: &str, known: &[String]) -> CliError {
    let error = CliError::new(Exit::Usage, format_args!("{place}: unknown {what} '{name}'"));
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
            ("OTHER__KEY", "1"),
        ])
        .unwrap();
        assert_eq!(loaded.settings.engine.lease.as_secs(), 60);
        let lease = loaded.entries().find(|(name, _, _)| name == "broker.lease").unwrap();
        assert_eq!((&*lease.1, &*lease.2), ("1m", "environment TRUNKLINE_BROKER__LEASE"));
        let grace = loaded.entries().find(|(name, _, _)| name == "broker.resume_grace").unwrap();
        assert_eq!(grace.2, "default");
    }

    #[test]
    fn a_name_that_is_not_there_brings_the_nearest_one() {
        for (variable, meant) in [
            ("TRUNKLINE_BROKER__LEESE", "broker.lease"),
            ("TRUNKLINE_SERVER__LEASE", "broker.lease"),
            ("TRUNKLINE_LIMIT__PAYLOAD_BYTES", "limits.payload_bytes"),
        ] {
            let error = environment(&[(variable, "1")]).unwrap_err();
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
