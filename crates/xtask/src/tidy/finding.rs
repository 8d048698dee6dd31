//! What a rule reports: a place, what is wrong there, the limit, and the way out.

use std::fmt;

/// One thing that has to change before tidy passes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The file, relative to the root.
    pub(crate) file: String,
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// What is there, with its name and value.
    pub(crate) what: String,
    /// What the rule allows.
    pub(crate) limit: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

impl Finding {
    /// A finding at a place; `what`, `limit` and `remedy` read on from each other.
    pub(crate) fn new(
        file: impl Into<String>,
        line: usize,
        what: impl Into<String>,
        limit: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            line,
            what: what.into(),
            limit: limit.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what, limit, remedy } = self;
        write!(f, "{file}:{line}: {what}, limit: {limit}, remedy: {remedy}")
    }
}
