//! Which handler a delivery is for, and in which lane it waits.

use super::lanes::{PLAIN, Plan};
use crate::Handler;
use crate::handler::Intake;
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Delivery;
use trunkline_types::{Destination, InboxAddress, PatternTree, SkillName, TopicPattern};

/// Most deliveries that a handler may have at once.
const MOST_BATCH: u32 = 1024;

/// The header by which a sender names the skill that it wants of the agent it sends to.
const SKILL_HEADER: &str = "a2a-skill";

/// An agent's handlers.
#[derive(Default)]
pub(crate) struct Handlers {
    skills: Vec<(SkillName, Entry)>,
    events: Vec<Entry>,
    /// The first handler of events for each pattern.
    patterns: PatternTree<Option<usize>>,
    message: Option<Entry>,
}

/// A handler and the lane in which its deliveries wait.
pub(super) struct Entry {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) lane: usize,
}

impl Entry {
    fn new(handler: Arc<dyn Handler>) -> Self {
        Self { handler, lane: PLAIN }
    }
}

impl Handlers {
    /// Adds a skill's handler, in place of an earlier one.
    pub(crate) fn add_skill(&mut self, skill: SkillName, handler: Arc<dyn Handler>) {
        self.skills.retain(|(known, _)| *known != skill);
        self.skills.push((skill, Entry::new(handler)));
    }

    pub(crate) fn add_event(&mut self, pattern: &TopicPattern, handler: Arc<dyn Handler>) {
        self.patterns.get_or_insert(pattern).get_or_insert(self.events.len());
        self.events.push(Entry::new(handler));
    }

    pub(crate) fn set_message(&mut self, handler: Arc<dyn Handler>) {
        self.message = Some(Entry::new(handler));
    }

    fn entries(&mut self) -> impl Iterator<Item = &mut Entry> {
        let skills = self.skills.iter_mut().map(|(_, entry)| entry);
        skills.chain(&mut self.events).chain(self.message.as_mut())
    }

    /// Checks what the handlers ask for.
    ///
    /// # Errors
    /// Which number is out of range, its value and the range.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        for entry in self.entries() {
            let Intake { batch, linger: _, parallel } = entry.handler.intake();
            if !(1..=MOST_BATCH).contains(&batch) {
                return Err(format!(
                    "a handler's batch is {batch}, the range is 1 to {MOST_BATCH}"
                ));
            }
            if parallel == 0 {
                return Err("a handler runs 0 times at once, the least is 1".to_owned());
            }
        }
        Ok(())
    }

    /// Gives each handler its lane and tells how the deliveries of the lanes are taken. Handlers
    /// of batches that name no `linger` have this one.
    pub(super) fn plan(&mut self, linger: Duration) -> Vec<Plan> {
        let mut plans = vec![Plan::PLAIN];
        for entry in self.entries() {
            let Intake { batch, linger: own, parallel } = entry.handler.intake();
            if batch > 1 || parallel < u32::MAX {
                let linger = if batch > 1 { own.unwrap_or(linger) } else { Duration::ZERO };
                entry.lane = plans.len();
                plans.push(Plan { batch: batch as usize, linger, parallel });
            }
        }
        plans
    }

    /// Whether any handler has no lane of its own, or there is none at all.
    pub(super) fn has_plain(&mut self) -> bool {
        let mut entries = self.entries().peekable();
        entries.peek().is_none() || entries.any(|entry| entry.lane == PLAIN)
    }

    /// The handler for a delivery, if there is one.
    pub(super) fn find(&self, delivery: &Delivery) -> Option<&Entry> {
        let wanted = match (&delivery.inbox, &delivery.publish.envelope.destination) {
            (InboxAddress::Skill(skill), _) => {
                return self.skills.iter().find(|(known, _)| known == skill).map(|(_, it)| it);
            }
            (InboxAddress::Agent(_), Destination::Topic(topic)) => {
                let first = self.patterns.matching(topic).into_iter().flatten().min();
                first.map(|&first| &self.events[first])
            }
            (InboxAddress::Agent(_), _) => None,
        };
        wanted.or(self.message.as_ref()).or_else(|| self.by_skill(delivery))
    }

    /// The handler for what is sent to the agent itself although none was given for that: of the
    /// skill that the sender names, or of the only one there is.
    fn by_skill(&self, delivery: &Delivery) -> Option<&Entry> {
        let envelope = &delivery.publish.envelope;
        if !matches!(envelope.destination, Destination::Agent(_)) {
            return None;
        }
        let named = envelope.headers.iter().find(|(name, _)| name == SKILL_HEADER);
        match (named, self.skills.as_slice()) {
            (Some((_, named)), skills) => {
                skills.iter().find(|(known, _)| known.as_str() == named).map(|(_, it)| it)
            }
            (None, [(_, only)]) => Some(only),
            (None, _) => None,
        }
    }

    /// The lane in which a delivery waits.
    pub(super) fn lane(&self, delivery: &Delivery) -> usize {
        self.find(delivery).map_or(PLAIN, |entry| entry.lane)
    }
}
