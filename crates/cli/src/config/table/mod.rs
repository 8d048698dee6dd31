//! Every setting: those of the edges and of where work is kept, and those that the broker itself
//! knows.
//!
//! One file for each section of our own. A setting that does nothing has no place here.

mod place;
mod server;
mod value;

use super::settings::Settings;
use trunkline_broker::BrokerConfig;
use trunkline_broker::settings::{self, Takes};

/// A setting that the broker does not know.
type Own = settings::Setting<Settings>;

/// A setting, by who knows it.
#[derive(Clone, Copy)]
pub(crate) enum Setting {
    /// Of the edges, or of where work is kept.
    Own(&'static Own),
    /// Of the broker.
    Broker(&'static settings::Setting<BrokerConfig>),
}

/// What both kinds of settings say of themselves.
macro_rules! either {
    ($setting:expr, $it:ident => $what:expr) => {
        match $setting {
            Setting::Own($it) => $what,
            Setting::Broker($it) => $what,
        }
    };
}

/// All settings, by section and in the order in which they are shown.
pub(super) fn all() -> impl Iterator<Item = Setting> + Clone {
    let own = [server::SETTINGS, place::SETTINGS].into_iter().flatten().map(Setting::Own);
    own.chain(settings::all().map(Setting::Broker))
}

impl Setting {
    /// The table of the file that it is in.
    pub(super) fn section(self) -> &'static str {
        either!(self, it => it.section)
    }

    /// Its name there.
    pub(super) fn key(self) -> &'static str {
        either!(self, it => it.key)
    }

    /// The name with its section, as messages have it.
    pub(crate) fn name(self) -> String {
        either!(self, it => it.name())
    }

    /// The variable of the environment that sets it.
    pub(super) fn variable(self) -> String {
        format!("TRUNKLINE_{}__{}", self.section(), self.key()).to_ascii_uppercase()
    }

    /// What it can be.
    pub(crate) fn range(self) -> String {
        either!(self, it => it.slot.range())
    }

    /// What it is when nobody sets it.
    pub(crate) fn default(self) -> String {
        self.show(&Settings::default())
    }

    /// What it does.
    pub(crate) fn doc(self) -> &'static str {
        either!(self, it => it.doc)
    }

    /// Whether a changed value takes effect when the configuration is read again.
    pub(crate) fn reloads(self) -> bool {
        either!(self, it => it.takes) == Takes::Reload
    }

    /// Its value in a form that can be given back.
    pub(super) fn show(self, settings: &Settings) -> String {
        match self {
            Self::Own(it) => it.slot.show(settings),
            Self::Broker(it) => it.slot.show(&settings.broker),
        }
    }

    /// Sets it from a text: a flag's or an environment variable's.
    ///
    /// # Errors
    /// What is wrong, as the rest of a sentence that begins with the name of the setting.
    pub(super) fn set_text(self, settings: &mut Settings, text: &str) -> Result<(), String> {
        match self {
            Self::Own(it) => it.slot.set_text(settings, text),
            Self::Broker(it) => it.slot.set_text(&mut settings.broker, text),
        }
    }

    /// Sets it from a value of a file.
    ///
    /// # Errors
    /// As [`Setting::set_text`].
    pub(super) fn set_value(
        self,
        settings: &mut Settings,
        value: &toml::Value,
    ) -> Result<(), String> {
        match self {
            Self::Own(it) => value::set(&it.slot, settings, value),
            Self::Broker(it) => value::set(&it.slot, &mut settings.broker, value),
        }
    }
}

#[cfg(test)]
mod tests;
