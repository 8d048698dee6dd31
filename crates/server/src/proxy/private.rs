//! Who may call agents elsewhere at private addresses.

use std::fmt;
use std::str::FromStr;

/// When a client that adds an agent elsewhere may say that its host may be at an address that is not
/// public. What `a2a_proxy_allow` names may be called anyway.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LetPrivate {
    /// While the server listens on loopback, where clients reach private addresses themselves.
    #[default]
    Loopback,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl LetPrivate {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for LetPrivate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for LetPrivate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Loopback, Self::Always, Self::Never];
        all.into_iter()
            .find(|word| word.as_str() == text)
            .ok_or_else(|| format!("'{text}' is none of loopback, always and never"))
    }
}
