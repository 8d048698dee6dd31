//! What the engine asks of the outside about texts that it carries but cannot read.

use std::fmt;
use trunkline_types::{Filter, Publish, WallTime};

/// Reads filters and cron expressions. Every answer depends on the arguments alone, so that the
/// same commands give the same effects.
pub trait Rules: Send + Sync + fmt::Debug {
    /// Whether a filter compiles and stays within its bound on cost.
    ///
    /// # Errors
    /// What is wrong with it, where, and what would be right.
    fn check_filter(&self, filter: &Filter) -> Result<(), String>;

    /// Whether a filter that compiles wants an event. One that cannot be evaluated on an event
    /// does not want it.
    fn matches(&self, filter: &Filter, publish: &Publish) -> bool;

    /// The first time after `after` at which a cron expression is due in a time zone (`UTC` when
    /// empty); `None` if there is none.
    ///
    /// # Errors
    /// What is wrong with the expression or the zone, and what would be right.
    fn next_due(&self, cron: &str, zone: &str, after: WallTime)
    -> Result<Option<WallTime>, String>;
}

/// Reads nothing: there are no filters and no schedules then.
#[derive(Debug)]
pub(crate) struct NoRules;

impl Rules for NoRules {
    fn check_filter(&self, _: &Filter) -> Result<(), String> {
        Err("this broker was made without filters".to_owned())
    }

    fn matches(&self, _: &Filter, _: &Publish) -> bool {
        false
    }

    fn next_due(&self, _: &str, _: &str, _: WallTime) -> Result<Option<WallTime>, String> {
        Err("this broker was made without schedules".to_owned())
    }
}
