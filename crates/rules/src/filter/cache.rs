//! Filters that were compiled, kept up to a bound.

use crate::filter::program::Program;
use crate::kept::Kept;
use std::sync::Arc;
use trunkline_types::Filter;

/// How many programs a generation holds. A program takes some kilobytes.
const GENERATION: usize = 4096;

/// Programs by their filters.
#[derive(Debug)]
pub(crate) struct Programs(Kept<Filter, Arc<Program>>);

impl Default for Programs {
    fn default() -> Self {
        Self(Kept::new(GENERATION))
    }
}

impl Programs {
    /// The program of a filter, compiled if it is not there.
    ///
    /// # Errors
    /// What is wrong with the filter, where, and what would be right.
    pub(crate) fn get(&self, filter: &Filter) -> Result<Arc<Program>, String> {
        self.0.get(filter, || Program::compile(filter.as_str()).map(Arc::new))
    }
}
