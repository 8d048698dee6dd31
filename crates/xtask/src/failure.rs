//! Why a task ended early, and the exit code that says so.

/// The end of a task that did not succeed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What failed, with its name and value, for standard error.
    pub(crate) message: String,
    /// The exit code of the process: the child's own where a child failed.
    pub(crate) code: u8,
}

impl Failure {
    /// A failure of the task itself rather than of a program it ran.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }
}
