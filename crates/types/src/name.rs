//! Names: short validated texts that identify agents, skills, tenants and keys.

use smol_str::SmolStr;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The longest name, in characters (all of them ASCII, so also in bytes).
const LONGEST: usize = 128;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// The text is empty.
    #[error("{what} is empty; it needs 1 to 128 characters")]
    Empty {
        /// Which kind of name was wanted.
        what: &'static str,
    },
    /// The text is longer than 128 characters.
    #[error("{what} has {length} characters, the limit is 128: '{start}…'")]
    TooLong {
        /// Which kind of name was wanted.
        what: &'static str,
        /// How long the text is, in bytes.
        length: usize,
        /// How it begins.
        start: String,
    },
    /// The text has a character that names may not have.
    #[error("{what} '{text}' has the character {found:?}; allowed are A–Z a–z 0–9 . _ - :")]
    Character {
        /// Which kind of name was wanted.
        what: &'static str,
        /// The whole text.
        text: String,
        /// The first character that is not allowed.
        found: char,
    },
    /// A topic or pattern breaks the rules for its tokens.
    #[error("{what} '{text}': {rule}")]
    Tokens {
        /// Which kind of name was wanted.
        what: &'static str,
        /// The whole text.
        text: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
}

/// Checks the rule for names: 1–128 characters of `A–Z a–z 0–9 . _ - :`.
pub(crate) fn check(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { what });
    }
    if text.len() > LONGEST {
        let start = text.chars().take(16).collect();
        return Err(NameError::TooLong { what, length: text.len(), start });
    }
    // By bytes, which is faster: what is allowed is ASCII, so that the first byte which is not begins
    // a character.
    let allowed =
        |byte| matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b':');
    let Some(at) = text.bytes().position(|byte| !allowed(byte)) else { return Ok(()) };
    let found = text[at..].chars().next().unwrap_or_default();
    Err(NameError::Character { what, text: text.to_owned(), found })
}

/// What all names have in common.
pub trait Name: FromStr<Err = NameError> + fmt::Display {
    /// The name as text.
    fn as_str(&self) -> &str;
}

/// What every checked text around a [`SmolStr`] has in common: it is parsed by its `new` and
/// shown as it is.
macro_rules! text_traits {
    ($type:ident) => {
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0.as_str())
            }
        }
    };
}
pub(crate) use text_traits;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(SmolStr);

        impl $type {
            /// Checks and wraps a text.
            ///
            /// # Errors
            /// [`NameError`] if it is empty, longer than 128 characters or has a character
            /// outside `A–Z a–z 0–9 . _ - :`.
            pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
                check($what, text.as_ref())?;
                Ok(Self(SmolStr::new(text)))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Name for $type {
            fn as_str(&self) -> &str {
                &self.0
            }
        }

        text_traits!($type);
    };
}

name!(
    /// An agent's id, unique within its tenant.
    AgentId,
    "agent id"
);
name!(
    /// A skill that agents offer.
    SkillName,
    "skill"
);
name!(
    /// The owner of everything; every key starts with it.
    TenantId,
    "tenant"
);
name!(
    /// A key under which repeated publishes are accepted once.
    IdempotencyKey,
    "idempotency key"
);
name!(
    /// A key whose envelopes are handled strictly in order.
    OrderingKey,
    "ordering key"
);
name!(
    /// A conversation: tasks and messages that belong together.
    ContextId,
    "context id"
);

name!(
    /// A group of subscriptions that share events: each goes to one of them.
    GroupName,
    "group"
);
name!(
    /// A schedule's name, unique within its tenant.
    ScheduleName,
    "schedule"
);

impl Default for TenantId {
    fn default() -> Self {
        Self(SmolStr::new_static("default"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_alphabet_and_the_longest_name() {
        assert_eq!(AgentId::new("a.B_9-:x").unwrap().as_str(), "a.B_9-:x");
        assert!(AgentId::new("x".repeat(128)).is_ok());
    }

    #[test]
    fn names_the_thing_its_value_and_the_limit() {
        let long = SkillName::new("x".repeat(129)).unwrap_err().to_string();
        assert!(long.contains("skill has 129 characters, the limit is 128"), "{long}");
        let blank = AgentId::new("a b").unwrap_err().to_string();
        assert!(blank.contains("agent id 'a b' has the character ' '"), "{blank}");
        assert_eq!(TenantId::new(""), Err(NameError::Empty { what: "tenant" }));
    }
}
