//! The broker's configuration: one TOML file, then the environment, then flags; later wins.
//!
//! `table` lists every setting once, with its range and its place in the [`Settings`]; `layers`
//! reads the three sources against that list and refuses what is not in it; `reload` says what of
//! another reading takes effect at once.

mod layers;
mod reload;
mod settings;
mod table;

pub(crate) use layers::{Entry, Loaded, Override, check_environment};
pub(crate) use reload::Reloaded;
pub(crate) use settings::Settings;
