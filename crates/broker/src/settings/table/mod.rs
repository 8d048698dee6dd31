//! Every setting of a broker, once: its name, its range, its place, what it does and when it takes
//! effect.
//!
//! One file for each section. A setting that does nothing has no place here, and what the crates
//! below decide for themselves (the partition, the seeds) is not to be set.

mod broker;
mod limits;
mod log;

use super::setting::Setting;
use crate::BrokerConfig;
use std::time::Duration;

/// So many milliseconds.
pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A second in milliseconds.
pub const SECOND: u64 = 1_000;
/// An hour in milliseconds.
pub const HOUR: u64 = 3_600 * SECOND;
/// A day in milliseconds.
pub const DAY: u64 = 24 * HOUR;
/// A KiB in bytes.
pub const KIB: u64 = 1 << 10;
/// A MiB in bytes.
pub const MIB: u64 = 1 << 20;
/// A GiB in bytes.
pub const GIB: u64 = 1 << 30;
/// As many of anything as can be counted on.
pub const BILLION: u64 = 1_000_000_000;

/// All settings of a broker but where it keeps its work, by section and in the order in which they
/// are shown.
pub fn all() -> impl Iterator<Item = &'static Setting<BrokerConfig>> + Clone {
    let sections = [broker::SETTINGS, log::SETTINGS, limits::SETTINGS];
    sections.into_iter().flatten()
}

/// The setting of this name in a section.
pub fn find(section: &str, key: &str) -> Option<&'static Setting<BrokerConfig>> {
    all().find(|setting| setting.section == section && setting.key == key)
}
