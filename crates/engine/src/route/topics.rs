//! Who wants which topics.

use crate::map::{Map, map};
use crate::table::{AgentKey, SessionKey};
use trunkline_types::{Topic, TopicPattern};

/// Who gets the events of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Subscriber {
    /// An agent, in its inbox.
    Agent(AgentKey),
    /// A session, directly.
    Session(SessionKey),
}

/// The subscriptions of one tenant. Patterns without a wildcard are found by their text, the
/// others are tried one by one.
#[derive(Debug)]
pub(crate) struct Topics {
    literal: Map<String, Vec<Subscriber>>,
    wild: Vec<(TopicPattern, Subscriber)>,
}

impl Topics {
    pub(crate) fn new(seed: u64) -> Self {
        Self { literal: map(seed), wild: Vec::new() }
    }

    pub(crate) fn add(&mut self, pattern: &TopicPattern, subscriber: Subscriber) {
        if pattern.is_literal() {
            self.literal.entry(pattern.as_str().to_owned()).or_default().push(subscriber);
        } else {
            self.wild.push((pattern.clone(), subscriber));
        }
    }

    pub(crate) fn remove(&mut self, pattern: &TopicPattern, subscriber: Subscriber) {
        if !pattern.is_literal() {
            self.wild.retain(|(other, who)| other != pattern || *who != subscriber);
        } else if let Some(list) = self.literal.get_mut(pattern.as_str()) {
            list.retain(|who| *who != subscriber);
            if list.is_empty() {
                self.literal.remove(pattern.as_str());
            }
        }
    }

    /// Who wants an event on `topic`, each once, in a fixed order.
    pub(crate) fn subscribers(&self, topic: &Topic, found: &mut Vec<Subscriber>) {
        if let Some(list) = self.literal.get(topic.as_str()) {
            found.extend_from_slice(list);
        }
        let wild = self.wild.iter().filter(|(pattern, _)| pattern.matches(topic));
        found.extend(wild.map(|&(_, who)| who));
        found.sort_unstable();
        found.dedup();
    }
}
