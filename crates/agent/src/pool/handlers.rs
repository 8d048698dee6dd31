//! Which handler a delivery is for.

use crate::Handler;
use std::sync::Arc;
use trunkline_types::session::Delivery;
use trunkline_types::{Destination, InboxAddress, SkillName, TopicPattern};

/// An agent's handlers.
#[derive(Default)]
pub(crate) struct Handlers {
    skills: Vec<(SkillName, Arc<dyn Handler>)>,
    events: Vec<(TopicPattern, Arc<dyn Handler>)>,
    message: Option<Arc<dyn Handler>>,
}

impl Handlers {
    /// Adds a skill's handler, in place of an earlier one.
    pub(crate) fn add_skill(&mut self, skill: SkillName, handler: Arc<dyn Handler>) {
        self.skills.retain(|(known, _)| *known != skill);
        self.skills.push((skill, handler));
    }

    pub(crate) fn add_event(&mut self, pattern: TopicPattern, handler: Arc<dyn Handler>) {
        self.events.push((pattern, handler));
    }

    pub(crate) fn set_message(&mut self, handler: Arc<dyn Handler>) {
        self.message = Some(handler);
    }

    pub(crate) fn patterns(&self) -> impl Iterator<Item = &TopicPattern> {
        self.events.iter().map(|(pattern, _)| pattern)
    }

    /// The handler for a delivery, if there is one.
    pub(super) fn find(&self, delivery: &Delivery) -> Option<&Arc<dyn Handler>> {
        let wanted = match (&delivery.inbox, &delivery.publish.envelope.destination) {
            (InboxAddress::Skill(skill), _) => {
                return self.skills.iter().find(|(known, _)| known == skill).map(|(_, h)| h);
            }
            (InboxAddress::Agent(_), Destination::Topic(topic)) => {
                self.events.iter().find(|(pattern, _)| pattern.matches(topic)).map(|(_, h)| h)
            }
            (InboxAddress::Agent(_), _) => None,
        };
        wanted.or(self.message.as_ref())
    }
}
