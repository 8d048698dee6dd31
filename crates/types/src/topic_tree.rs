//! Values by topic patterns, found by the topics that the patterns match.

use crate::{Topic, TopicPattern};
use smol_str::SmolStr;
use std::str::Split;

/// A map from topic patterns to values, in which the values of all patterns that match a topic are
/// found without trying each: for each token of the topic at most two branches go on from each one that
/// was followed so far.
///
/// ```
/// use trunkline_types::PatternTree;
/// let mut tree = PatternTree::default();
/// *tree.get_or_insert(&"build.*.done".parse()?) += 1;
/// *tree.get_or_insert(&"build.>".parse()?) += 2;
/// assert_eq!(tree.matching(&"build.linux.done".parse()?).into_iter().sum::<i32>(), 3);
/// assert_eq!(tree.matching(&"build.linux".parse()?), [&2]);
/// # Ok::<(), trunkline_types::NameError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PatternTree<T> {
    root: Node<T>,
}

/// What patterns that begin alike have next.
#[derive(Clone, Debug)]
struct Node<T> {
    /// The value of the pattern that ends here.
    here: Option<T>,
    /// The value of the pattern that goes on with `>`.
    rest: Option<T>,
    /// Those that go on with `*`.
    any: Option<Box<Node<T>>>,
    /// Those that go on with a token, in the order of the tokens. Most have one, for which a map would
    /// keep room for ten more.
    tokens: Vec<(SmolStr, Box<Node<T>>)>,
}

impl<T> Default for PatternTree<T> {
    fn default() -> Self {
        Self { root: Node::default() }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { here: None, rest: None, any: None, tokens: Vec::new() }
    }
}

impl<T> PatternTree<T> {
    /// The value of a pattern, which is the default if it has none yet.
    pub fn get_or_insert(&mut self, pattern: &TopicPattern) -> &mut T
    where
        T: Default,
    {
        let mut node = &mut self.root;
        for token in pattern.as_str().split('.') {
            node = match token {
                // It is the last token.
                ">" => return node.rest.get_or_insert_default(),
                "*" => node.any.get_or_insert_default(),
                token => node.next_or_new(token),
            };
        }
        node.here.get_or_insert_default()
    }

    /// The value of a pattern, if it has one.
    pub fn get_mut(&mut self, pattern: &TopicPattern) -> Option<&mut T> {
        let mut node = &mut self.root;
        for token in pattern.as_str().split('.') {
            node = match token {
                ">" => return node.rest.as_mut(),
                "*" => node.any.as_mut()?,
                token => {
                    let place = node.place(token).ok()?;
                    &mut node.tokens[place].1
                }
            };
        }
        node.here.as_mut()
    }

    /// Takes the value of a pattern out, if it has one.
    pub fn remove(&mut self, pattern: &TopicPattern) -> Option<T> {
        self.root.remove(pattern.as_str().split('.'))
    }

    /// The values of all patterns that match a topic, in an order that depends on the patterns alone.
    pub fn matching(&self, topic: &Topic) -> Vec<&T> {
        let mut found = Vec::new();
        self.root.find(topic.as_str().split('.'), &mut found);
        found
    }

    /// Whether no pattern has a value.
    pub fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.here.is_none() && self.rest.is_none() && self.any.is_none() && self.tokens.is_empty()
    }

    /// Where the token is among those that go on, or where it would be.
    fn place(&self, token: &str) -> Result<usize, usize> {
        self.tokens.binary_search_by(|(known, _)| known.as_str().cmp(token))
    }

    fn next_or_new(&mut self, token: &str) -> &mut Self {
        let place = self.place(token).unwrap_or_else(|place| {
            self.tokens.insert(place, (SmolStr::new(token), Box::default()));
            place
        });
        &mut self.tokens[place].1
    }

    // A pattern has at most 16 tokens, so neither this nor the search goes deep.
    fn remove(&mut self, mut pattern: Split<'_, char>) -> Option<T> {
        match pattern.next() {
            None => self.here.take(),
            Some(">") => self.rest.take(),
            Some("*") => {
                let node = self.any.as_mut()?;
                let value = node.remove(pattern);
                if node.is_empty() {
                    self.any = None;
                }
                value
            }
            Some(token) => {
                let place = self.place(token).ok()?;
                let node = &mut self.tokens[place].1;
                let value = node.remove(pattern);
                if node.is_empty() {
                    self.tokens.remove(place);
                }
                value
            }
        }
    }

    fn find<'a>(&'a self, mut topic: Split<'_, char>, found: &mut Vec<&'a T>) {
        let Some(token) = topic.next() else { return found.extend(&self.here) };
        if let Ok(place) = self.place(token) {
            self.tokens[place].1.find(topic.clone(), found);
        }
        if let Some(node) = &self.any {
            node.find(topic, found);
        }
        found.extend(&self.rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All texts of one to three tokens out of these.
    fn texts<'a>(tokens: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
        let longer = |texts: Vec<String>| -> Vec<String> {
            let all = texts
                .iter()
                .flat_map(|text| tokens.iter().map(move |token| format!("{text}.{token}")));
            all.collect()
        };
        let one: Vec<String> = tokens.iter().map(ToString::to_string).collect();
        let two = longer(one.clone());
        let three = longer(two.clone());
        one.into_iter().chain(two).chain(three)
    }

    #[test]
    fn it_finds_what_trying_each_pattern_finds_whatever_was_removed() {
        let patterns = texts(&["a", "b", "*", ">"]).filter_map(|text| TopicPattern::new(text).ok());
        let patterns: Vec<_> = patterns.collect();
        assert_eq!(patterns.len(), 52, "four, three times four, nine times four");
        let topics: Vec<_> =
            texts(&["a", "b", "c"]).map(|text| Topic::new(text).unwrap()).collect();
        // With all of them, and without each third.
        for gone in [patterns.len(), 0, 1, 2] {
            let mut tree = PatternTree::default();
            for (number, pattern) in patterns.iter().enumerate() {
                assert_eq!(tree.get_mut(pattern), None);
                *tree.get_or_insert(pattern) = number;
                assert_eq!(tree.get_mut(pattern), Some(&mut number.clone()));
            }
            let is_gone = |number: usize| number % 3 == gone;
            for (number, pattern) in patterns.iter().enumerate() {
                if is_gone(number) {
                    assert_eq!(tree.remove(pattern), Some(number));
                    assert_eq!(tree.remove(pattern), None);
                }
            }
            for topic in &topics {
                let mut found: Vec<_> = tree.matching(topic).into_iter().copied().collect();
                found.sort_unstable();
                let tried = patterns.iter().enumerate();
                let tried = tried.filter(|(at, pattern)| !is_gone(*at) && pattern.matches(topic));
                assert_eq!(found, tried.map(|(at, _)| at).collect::<Vec<_>>(), "{topic}");
            }
        }
    }

    #[test]
    fn what_was_removed_leaves_nothing() {
        let mut tree = PatternTree::default();
        let patterns = ["a.b.c", "a.*.>", "*.*", ">", "a"].map(|text| text.parse().unwrap());
        for pattern in &patterns {
            *tree.get_or_insert(pattern) = 1;
        }
        assert!(!tree.is_empty());
        for pattern in &patterns {
            tree.remove(pattern);
        }
        assert!(tree.is_empty());
    }
}
