//! Who wants which topics.

use crate::map::{Map, map};
use crate::table::{AgentKey, SessionKey};
use std::collections::BTreeMap;
use std::sync::Arc;
use trunkline_types::session::Subscription;
use trunkline_types::{GroupName, PatternTree, Topic};

/// Who gets the events of a subscription.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Subscriber {
    /// An agent, in its inbox.
    Agent(AgentKey),
    /// A session, directly.
    Session(SessionKey),
}

/// A subscription and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) who: Subscriber,
    pub(crate) what: Arc<Subscription>,
}

/// The subscriptions of one tenant. Patterns without a wildcard, which most are, are found by their
/// text at once.
#[derive(Debug)]
pub(crate) struct Topics {
    literal: Map<String, Vec<Wanted>>,
    wild: PatternTree<Vec<Wanted>>,
    groups: BTreeMap<GroupName, Group>,
}

/// What is known of a group besides its members' subscriptions.
#[derive(Debug, Default)]
struct Group {
    subscriptions: usize,
    /// Whose turn it is, counted on for ever.
    turn: usize,
}

impl Topics {
    pub(crate) fn new(seed: u64) -> Self {
        Self { literal: map(seed), wild: PatternTree::default(), groups: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, who: Subscriber, what: Arc<Subscription>) {
        if let Some(group) = &what.group {
            self.groups.entry(group.clone()).or_default().subscriptions += 1;
        }
        if what.pattern.is_literal() {
            let list = self.literal.entry(what.pattern.as_str().to_owned()).or_default();
            list.push(Wanted { who, what });
        } else {
            self.wild.get_or_insert(&what.pattern).push(Wanted { who, what: what.clone() });
        }
    }

    /// Removes the subscription of that owner at the same place, which must be there.
    pub(crate) fn remove(&mut self, who: Subscriber, what: &Subscription) {
        if let Some(name) = &what.group
            && let Some(group) = self.groups.get_mut(name)
        {
            group.subscriptions -= 1;
            if group.subscriptions == 0 {
                self.groups.remove(name);
            }
        }
        let other = |wanted: &Wanted| wanted.who != who || !wanted.what.same_place(what);
        let is_literal = what.pattern.is_literal();
        let list = if is_literal {
            self.literal.get_mut(what.pattern.as_str())
        } else {
            self.wild.get_mut(&what.pattern)
        };
        let Some(list) = list else { return };
        list.retain(other);
        match (list.is_empty(), is_literal) {
            (true, true) => drop(self.literal.remove(what.pattern.as_str())),
            (true, false) => drop(self.wild.remove(&what.pattern)),
            (false, _) => {}
        }
    }

    /// The subscriptions to a topic.
    pub(crate) fn to<'a>(&'a self, topic: &'a Topic) -> impl Iterator<Item = &'a Wanted> {
        let literal = self.literal.get(topic.as_str()).map_or(&[][..], Vec::as_slice);
        literal.iter().chain(self.wild.matching(topic).into_iter().flatten())
    }

    /// Whose turn it is in a group, and that it is the next one's afterwards.
    pub(crate) fn turn(&mut self, group: &GroupName) -> usize {
        let Some(group) = self.groups.get_mut(group) else { return 0 };
        let turn = group.turn;
        group.turn = turn.wrapping_add(1);
        turn
    }
}
