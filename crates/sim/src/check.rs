//! What a checker says when a law does not hold.

/// A law that did not hold, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Violation {
    /// Which law: its number in the design, or a word for one of the finer rules.
    pub(crate) law: &'static str,
    /// What was seen.
    pub(crate) message: String,
}

/// What every checker returns.
pub(crate) type Check = Result<(), Violation>;

impl Violation {
    pub(crate) fn new(law: &'static str, message: String) -> Self {
        Self { law, message }
    }
}

/// Returns a violation of a law from the enclosing function unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $law:expr, $($message:tt)+) => {
        if !$holds {
            return Err($crate::check::Violation::new($law, format!($($message)+)));
        }
    };
}
pub(crate) use ensure;
