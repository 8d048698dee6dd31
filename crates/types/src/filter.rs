//! Filters: which of a topic's events a subscription wants.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The most bytes a filter may have.
const MOST_BYTES: usize = 4096;

/// A condition on an event in CEL (the Common Expression Language), such as
/// `headers["env"] == "prod" && payload.size > 10`. Only its length is checked here; whoever
/// evaluates filters says whether it compiles and what it may cost. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filter(Arc<str>);

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// There is no text.
    #[error("the filter is empty; leave it out to want every event of the topic")]
    Empty,
    /// There is too much of it.
    #[error("the filter has {0} bytes, the limit is {MOST_BYTES}")]
    Long(usize),
}

impl Filter {
    /// Checks the length of a filter and wraps it.
    ///
    /// # Errors
    /// [`FilterError`] if it is blank or longer than 4 KiB.
    pub fn new(text: impl AsRef<str>) -> Result<Self, FilterError> {
        let text = text.as_ref();
        if text.trim().is_empty() {
            return Err(FilterError::Empty);
        }
        if text.len() > MOST_BYTES {
            return Err(FilterError::Long(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The filter as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Filter {
    type Err = FilterError;
    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::new(text)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}
