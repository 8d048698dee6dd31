//! Topics, patterns and destinations: what is accepted keeps the rules, matching is what a plain
//! model says, and every text comes back as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_types::{AgentId, Destination, InboxAddress, Topic, TopicPattern};

/// Longest topic or pattern, in bytes, and the most tokens.
const LONGEST: usize = 256;
const MOST_TOKENS: usize = 16;
/// Longest name, in bytes; a topic is a name, and so is every literal token of a pattern.
const LONGEST_NAME: usize = 128;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, topic) = text.split_once('\n').unwrap_or((text, text));
    let (wanted, given) = (TopicPattern::new(pattern), Topic::new(topic));
    assert_eq!(wanted.is_ok(), is_pattern(pattern), "pattern {pattern:?}: {wanted:?}");
    assert_eq!(given.is_ok(), is_topic(topic), "topic {topic:?}: {given:?}");
    if let Ok(wanted) = &wanted {
        assert_eq!(wanted.as_str(), pattern);
        assert_eq!(wanted.is_literal(), is_topic(pattern) || !pattern.contains(['*', '>']));
    }
    if let (Ok(wanted), Ok(given)) = (&wanted, &given) {
        let tokens = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        let expected = matches(&tokens(pattern), &tokens(topic));
        assert_eq!(wanted.matches(given), expected, "{pattern} on {topic}");
        if wanted.is_literal() {
            assert_eq!(wanted.matches(given), pattern == topic);
        }
    }
    comes_back::<Destination>(text);
    comes_back::<InboxAddress>(text);
    comes_back::<AgentId>(text);
});

/// Whether a text stays what it is when it is read, written and read again.
fn comes_back<T>(text: &str)
where
    T: std::str::FromStr + std::fmt::Display + PartialEq + std::fmt::Debug,
{
    if let Ok(value) = text.parse::<T>() {
        assert_eq!(value.to_string(), text);
        assert_eq!(text.parse::<T>().ok(), Some(value));
    }
}

/// `>` is the rest, which is one token at least; `*` is one.
fn matches(pattern: &[String], topic: &[String]) -> bool {
    match (pattern, topic) {
        ([], []) => true,
        ([last], [_, ..]) if last == ">" => true,
        ([first, pattern @ ..], [token, topic @ ..]) => {
            (first == "*" || first == token) && matches(pattern, topic)
        }
        _ => false,
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte);
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(allowed)
}

fn has_tokens(text: &str) -> bool {
    let tokens: Vec<_> = text.split('.').collect();
    text.len() <= LONGEST && tokens.len() <= MOST_TOKENS && !tokens.contains(&"")
}

fn is_topic(text: &str) -> bool {
    is_name(text) && has_tokens(text)
}

fn is_pattern(text: &str) -> bool {
    let tokens: Vec<_> = text.split('.').collect();
    let last = tokens.len() - 1;
    let fits = |(place, token): (usize, &&str)| match *token {
        "*" => true,
        ">" => place == last,
        token => is_name(token),
    };
    has_tokens(text) && tokens.iter().enumerate().all(fits)
}
