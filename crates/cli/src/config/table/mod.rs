//! Every setting, once: its name, its range, its place, what it does and when it takes effect.
//!
//! One file for each section. A setting that does nothing has no place here, and what the crates
//! below decide for themselves (the partition, the seeds) is not to be set.

mod broker;
mod limits;
mod log;
mod server;

use super::settings::Settings;
use super::slot::Slot;
use std::time::Duration;

/// A setting by its section and key.
pub(crate) struct Setting {
    /// The table of the file that it is in.
    pub(super) section: &'static str,
    /// Its name there.
    pub(super) key: &'static str,
    /// What it is and where it goes.
    pub(super) slot: Slot,
    /// When a changed value takes effect.
    pub(super) takes: Takes,
    /// What it does, in half a sentence.
    pub(super) doc: &'static str,
}

/// When a changed value takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Takes {
    /// When the configuration is read again.
    Reload,
    /// When the broker is started again.
    Restart,
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// As many of anything as can be counted on.
const BILLION: u64 = 1_000_000_000;

macro_rules! span {
    ($section:literal, $key:literal, $($field:ident).+, $least:expr, $most:expr, $takes:ident,
     $doc:literal) => {
        Setting {
            section: $section,
            key: $key,
            slot: Slot::Span {
                get: |settings| settings.$($field).+,
                set: |settings, span| settings.$($field).+ = span,
                least: ms($least),
                most: ms($most),
            },
            takes: Takes::$takes,
            doc: $doc,
        }
    };
}
use span;

macro_rules! number {
    ($kind:ident, $section:literal, $key:literal, $($field:ident).+, $least:expr, $most:expr,
     $takes:ident, $doc:literal) => {
        Setting {
            section: $section,
            key: $key,
            slot: Slot::$kind {
                get: |settings| u64::try_from(settings.$($field).+).unwrap_or(u64::MAX),
                // The range keeps the number within what the field can hold.
                set: |settings, number| {
                    settings.$($field).+ = number.try_into().unwrap_or(settings.$($field).+);
                },
                least: $least,
                most: $most,
            },
            takes: Takes::$takes,
            doc: $doc,
        }
    };
}
use number;

/// All settings, by section and in the order in which they are shown.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> + Clone {
    let sections = [server::SETTINGS, broker::SETTINGS, log::SETTINGS, limits::SETTINGS];
    sections.into_iter().flatten()
}

impl Setting {
    /// The name with its section, as messages have it.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The variable of the environment that sets it.
    pub(super) fn variable(&self) -> String {
        format!("TRUNKLINE_{}__{}", self.section, self.key).to_ascii_uppercase()
    }

    /// What it can be.
    pub(crate) fn range(&self) -> String {
        self.slot.range()
    }

    /// What it is when nobody sets it.
    pub(crate) fn default(&self) -> String {
        self.slot.show(&Settings::default())
    }

    /// What it does.
    pub(crate) fn doc(&self) -> &'static str {
        self.doc
    }

    /// Whether a changed value takes effect when the configuration is read again.
    pub(crate) fn reloads(&self) -> bool {
        self.takes == Takes::Reload
    }
}

#[cfg(test)]
mod tests;
