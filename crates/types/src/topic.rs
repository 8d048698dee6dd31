//! Topics and the patterns that subscribe to them.

use crate::name::{self, NameError, text_traits};
use smol_str::SmolStr;
use std::fmt;
use std::str::FromStr;

/// The most tokens a topic or pattern may have.
const MOST_TOKENS: usize = 16;

/// Where events are published: 1–16 tokens joined by dots, such as `build.linux.done`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(SmolStr);

/// Which topics a subscription wants. `*` stands for one token, `>` at the end for one or more.
///
/// ```
/// use trunkline_types::{Topic, TopicPattern};
/// let pattern: TopicPattern = "build.*.done".parse()?;
/// assert!(pattern.matches(&"build.linux.done".parse::<Topic>()?));
/// assert!(!pattern.matches(&"build.linux.x86.done".parse::<Topic>()?));
/// # Ok::<(), trunkline_types::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern(SmolStr);

impl Topic {
    /// Checks and wraps a topic.
    ///
    /// # Errors
    /// [`NameError`] if it is no name, has an empty token or more than 16 tokens.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        let text = text.as_ref();
        name::check("topic", text)?;
        check_tokens("topic", text)?;
        Ok(Self(SmolStr::new(text)))
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TopicPattern {
    /// Checks and wraps a pattern.
    ///
    /// # Errors
    /// [`NameError`] if a token is empty or mixes a wildcard with other characters, if `>` is not
    /// the last token, or if there are more than 16 tokens.
    pub fn new(text: impl AsRef<str>) -> Result<Self, NameError> {
        const WHAT: &str = "topic pattern";
        let text = text.as_ref();
        if text.is_empty() {
            return Err(NameError::Empty { what: WHAT });
        }
        check_tokens(WHAT, text)?;
        let wrong = |rule| NameError::Tokens { what: WHAT, text: text.to_owned(), rule };
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            match token {
                "*" => {}
                ">" if tokens.peek().is_none() => {}
                ">" => return Err(wrong("'>' stands for the rest and must be the last token")),
                token if token.contains(['*', '>']) => {
                    return Err(wrong("a wildcard must be a token of its own"));
                }
                token => name::check(WHAT, token)?,
            }
        }
        Ok(Self(SmolStr::new(text)))
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern has no wildcard, so that it matches exactly one topic.
    pub fn is_literal(&self) -> bool {
        !self.0.contains(['*', '>'])
    }

    /// Whether an event on `topic` is wanted.
    pub fn matches(&self, topic: &Topic) -> bool {
        let mut wanted = self.0.split('.');
        let mut given = topic.0.split('.');
        loop {
            match (wanted.next(), given.next()) {
                (Some(">"), Some(_)) | (None, None) => return true,
                (Some("*"), Some(_)) => {}
                (Some(a), Some(b)) if a == b => {}
                _ => return false,
            }
        }
    }
}

fn check_tokens(what: &'static str, text: &str) -> Result<(), NameError> {
    let wrong = |rule| NameError::Tokens { what, text: text.chars().take(256).collect(), rule };
    if text.len() > 256 {
        return Err(wrong("it is longer than 256 characters"));
    }
    if text.split('.').any(str::is_empty) {
        return Err(wrong("a token between two dots is empty"));
    }
    if text.split('.').count() > MOST_TOKENS {
        return Err(wrong("it has more than 16 tokens"));
    }
    Ok(())
}

text_traits!(Topic);
text_traits!(TopicPattern);

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        TopicPattern::new(pattern).unwrap().matches(&Topic::new(topic).unwrap())
    }

    #[test]
    fn wildcards_stand_for_one_token_and_for_the_rest() {
        assert!(matches("a.b", "a.b"));
        assert!(!matches("a.b", "a.b.c"));
        assert!(matches("a.*", "a.b"));
        assert!(!matches("a.*", "a"));
        assert!(matches("a.>", "a.b.c"));
        assert!(!matches("a.>", "a"));
        assert!(matches(">", "a"));
        assert!(matches("*.b.>", "x.b.c"));
    }

    #[test]
    fn malformed_patterns_say_which_rule_they_break() {
        for (pattern, rule) in [
            ("a..b", "empty"),
            ("a.>.b", "last token"),
            ("a.b*", "token of its own"),
            ("1.2.3.4.5.6.7.8.9.10.11.12.13.14.15.16.17", "16 tokens"),
        ] {
            let error = TopicPattern::new(pattern).unwrap_err().to_string();
            assert!(error.contains(rule), "{pattern}: {error}");
        }
        assert!(Topic::new("a.*").is_err());
    }
}
