//! What the engine asks about filters and recurrences, answered in the simulator's language.

use crate::model::wants;
use trunkline_engine::Rules;
use trunkline_types::{Filter, Publish, WallTime};

/// Reads the simulator's small language.
#[derive(Debug)]
pub(crate) struct SmallRules;

impl Rules for SmallRules {
    fn check_filter(&self, filter: &Filter) -> Result<(), String> {
        wants::compiles(filter).then_some(()).ok_or_else(|| "no '=' in it".to_owned())
    }

    fn matches(&self, filter: &Filter, publish: &Publish) -> bool {
        wants::wants(filter, publish)
    }

    fn next_due(
        &self,
        cron: &str,
        _zone: &str,
        after: WallTime,
    ) -> Result<Option<WallTime>, String> {
        if !cron.starts_with("every ") {
            return Err(format!("'{cron}' is not 'every MILLISECONDS'"));
        }
        Ok(wants::next_due(cron, after))
    }
}
