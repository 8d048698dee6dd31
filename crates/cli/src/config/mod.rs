//! The broker's configuration: one TOML file, then the environment, then flags; later wins.
//!
//! `table` lists every setting once, with its range and its place in the [`Settings`]; `layers`
//! reads the three sources against that list and refuses what is not in it.

mod layers;
mod settings;
mod slot;
mod table;

pub(crate) use layers::{Loaded, Override};
pub(crate) use settings::Settings;
