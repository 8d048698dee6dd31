//! From a destination to the inboxes and sessions that get a copy.

use super::topics::Subscriber;
use crate::engine::Engine;
use crate::table::{InboxKey, SessionKey, TenantKey};
use trunkline_types::{AgentId, Destination, Kind, Publish, Refusal, RefusalCode, WhenFull};

/// Who gets a copy of an envelope.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) inboxes: Vec<InboxKey>,
    /// Sessions that get it themselves, and what is to happen if they have too much.
    pub(crate) sessions: Vec<(SessionKey, WhenFull)>,
    /// How many copies were dropped because their recipient was over its bound.
    pub(crate) dropped: u32,
    /// Subscribers whose filters were not evaluated, for there was too much work with the event.
    pub(crate) left_out: Vec<Subscriber>,
}

/// How many recipients an empty list may have room for that is kept for the next envelope.
const SPARE: usize = 1024;

impl Targets {
    /// Empties the lists, but keeps their allocations unless they are large.
    fn empty(&mut self) {
        self.inboxes.clear();
        self.inboxes.shrink_to(SPARE);
        self.sessions.clear();
        self.sessions.shrink_to(SPARE);
        self.left_out.clear();
        self.left_out.shrink_to(SPARE);
        self.dropped = 0;
    }

    /// Whether nobody gets a copy.
    pub(crate) fn is_empty(&self) -> bool {
        self.inboxes.is_empty() && self.sessions.is_empty()
    }

    /// How many get a copy.
    pub(crate) fn reached(&self) -> u32 {
        u32::try_from(self.inboxes.len() + self.sessions.len()).unwrap_or(u32::MAX)
    }
}

impl Engine {
    /// Finds who gets a copy. Skills and single agents always have an inbox, served or not.
    pub(crate) fn targets(
        &mut self,
        tenant: TenantKey,
        publish: &Publish,
        source: Option<&AgentId>,
    ) -> Result<Box<Targets>, Refusal> {
        let envelope = &publish.envelope;
        let several =
            !matches!(envelope.destination, Destination::Agent(_) | Destination::Skill(_));
        if several && envelope.kind == Kind::Request {
            let message = format!(
                "a request goes to one agent or one skill, not to '{}', unless it gathers answers; \
                 set gather to ask several",
                envelope.destination
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let mut targets = self.spare_targets.take().unwrap_or_default();
        match &envelope.destination {
            Destination::Agent(id) => {
                // Known nearly always, so it is looked up before anything else is asked.
                let known = self.tenants[tenant].agent_inbox(id);
                let inbox = if let Some(inbox) = known {
                    inbox
                } else {
                    self.check_room_for_inbox(tenant, &envelope.destination)?;
                    self.agent_inbox(tenant, id)
                };
                targets.inboxes.push(inbox);
            }
            Destination::Skill(skill) => {
                let known = self.tenants[tenant].skill_inboxes.get(skill).copied();
                let inbox = if let Some(inbox) = known {
                    inbox
                } else {
                    self.check_room_for_inbox(tenant, &envelope.destination)?;
                    self.skill_inbox(tenant, skill)
                };
                targets.inboxes.push(inbox);
            }
            Destination::Agents(ids) => {
                self.check_room_for_inboxes(tenant, &envelope.destination, ids.iter())?;
                for id in ids {
                    let inbox = self.agent_inbox(tenant, id);
                    if !targets.inboxes.contains(&inbox) {
                        targets.inboxes.push(inbox);
                    }
                }
            }
            Destination::All => {
                let registered = self.agents.iter().filter(|(_, agent)| {
                    agent.tenant == tenant
                        && agent.registration.is_some()
                        && Some(&agent.id) != source
                });
                let mut ids: Vec<_> = registered.map(|(_, agent)| agent.id.clone()).collect();
                ids.sort_unstable();
                for id in ids {
                    targets.inboxes.push(self.agent_inbox(tenant, &id));
                }
            }
            Destination::Topic(topic) => {
                self.subscribers(tenant, publish, topic, &mut targets);
            }
        }
        Ok(targets)
    }

    /// Keeps the lists of an envelope that was taken in for the next one.
    pub(crate) fn reuse(&mut self, mut targets: Box<Targets>) {
        targets.empty();
        self.spare_targets = Some(targets);
    }

    /// Whether the inboxes of several agents may be made, as far as they are not there yet.
    pub(crate) fn check_room_for_inboxes<'a>(
        &self,
        tenant: TenantKey,
        destination: &Destination,
        agents: impl Iterator<Item = &'a AgentId>,
    ) -> Result<(), Refusal> {
        let known = &self.tenants[tenant].agents;
        let mut new: Vec<_> = agents.filter(|id| !known.contains_key(*id)).collect();
        new.sort_unstable();
        new.dedup();
        let (count, limit) = (self.inboxes.len() + new.len(), self.config.inboxes);
        if new.is_empty() || count <= limit {
            return Ok(());
        }
        let message = format!(
            "'{destination}' is unknown as to {} of the agents, with whose inboxes there would be \
             {count}; the limit is {limit}",
            new.len()
        );
        Err(Refusal::new(RefusalCode::InboxFull, message))
    }

    /// Whether an inbox that is not there yet may be made.
    pub(crate) fn check_room_for_inbox(
        &self,
        tenant: TenantKey,
        destination: &Destination,
    ) -> Result<(), Refusal> {
        let tenant = &self.tenants[tenant];
        let known = match destination {
            Destination::Agent(id) => tenant.agents.contains_key(id),
            Destination::Skill(skill) => tenant.skill_inboxes.contains_key(skill),
            Destination::Topic(_) | Destination::All | Destination::Agents(_) => true,
        };
        if known || self.inboxes.len() < self.config.inboxes {
            return Ok(());
        }
        let message = format!(
            "'{destination}' is unknown and there are {} inboxes already, which is the limit",
            self.config.inboxes
        );
        Err(Refusal::new(RefusalCode::InboxFull, message))
    }
}
