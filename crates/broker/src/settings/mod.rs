//! What can be set about a broker: by which name and within which range, what must hold between
//! settings, and which of them can change while it runs.
//!
//! The names are those of the configuration file. Where its text comes from is its reader's matter.
//! Read [`Setting`] first, then `table`.

mod check;
mod setting;
mod slot;
mod table;
pub mod units;

pub use check::check;
pub(crate) use check::merged;
pub use setting::{Setting, Takes};
pub use slot::Slot;
pub use table::{BILLION, DAY, GIB, HOUR, KIB, MIB, SECOND, all, find, ms};
