//! From a destination to the inboxes and sessions that get a copy.

use super::topics::Subscriber;
use crate::engine::Engine;
use crate::table::{InboxKey, SessionKey, TenantKey};
use trunkline_types::{AgentId, Destination, Envelope, Kind, Refusal, RefusalCode};

/// Who gets a copy of an envelope.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) inboxes: Vec<InboxKey>,
    pub(crate) sessions: Vec<SessionKey>,
    /// How many copies were dropped because their recipient was over its bound.
    pub(crate) dropped: u32,
}

impl Engine {
    /// Finds who gets a copy. Skills and single agents always have an inbox, served or not.
    pub(crate) fn targets(
        &mut self,
        tenant: TenantKey,
        envelope: &Envelope,
        source: Option<&AgentId>,
    ) -> Result<Targets, Refusal> {
        let several =
            !matches!(envelope.destination, Destination::Agent(_) | Destination::Skill(_));
        if several && envelope.kind == Kind::Request {
            let message = format!(
                "a request goes to one agent or one skill, not to '{}'",
                envelope.destination
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let mut targets = Targets::default();
        match &envelope.destination {
            Destination::Agent(id) => {
                self.check_room_for_inbox(tenant, &envelope.destination)?;
                targets.inboxes.push(self.agent_inbox(tenant, id));
            }
            Destination::Skill(skill) => {
                self.check_room_for_inbox(tenant, &envelope.destination)?;
                targets.inboxes.push(self.skill_inbox(tenant, skill));
            }
            Destination::Agents(ids) => {
                for id in ids {
                    self.check_room_for_inbox(tenant, &Destination::Agent(id.clone()))?;
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
                let mut found = Vec::new();
                self.tenants[tenant].topics.subscribers(topic, &mut found);
                for subscriber in found {
                    match subscriber {
                        Subscriber::Session(session) => targets.sessions.push(session),
                        Subscriber::Agent(agent) => {
                            let id = self.agents[agent].id.clone();
                            targets.inboxes.push(self.agent_inbox(tenant, &id));
                        }
                    }
                }
            }
        }
        Ok(targets)
    }

    fn check_room_for_inbox(
        &self,
        tenant: TenantKey,
        destination: &Destination,
    ) -> Result<(), Refusal> {
        let tenant = &self.tenants[tenant];
        let known = match destination {
            Destination::Agent(id) => tenant.agent_inboxes.contains_key(id),
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
