//! Whom a request to several is sent to.

use super::{Gathering, Part, PartState};
use crate::admission::{Answered, Origin, nobody};
use crate::effect::Output;
use crate::engine::Engine;
use crate::now::Now;
use crate::queue::Entry;
use crate::table::TenantKey;
use std::sync::Arc;
use trunkline_types::session::Accepted;
use trunkline_types::{
    Absent, AgentId, Destination, Durability, Failure, FailureCode, Gather, GatherRule,
    InboxAddress, Publish, Refusal, RefusalCode,
};

impl Engine {
    /// Takes in a request that gathers answers, or says why not.
    pub(crate) fn gather(
        &mut self,
        now: Now,
        origin: &Origin,
        publish: &Arc<Publish>,
        gather: Gather,
        out: &mut Output,
    ) -> Result<Answered, Refusal> {
        let tenant = origin.tenant;
        let agents = self.agents_to_ask(tenant, publish)?;
        if let GatherRule::Quorum(quorum) = gather.rule
            && quorum as usize > agents.len()
        {
            let message = format!(
                "a quorum of {quorum} answers is wanted, but '{}' is {} agents",
                publish.envelope.destination,
                agents.len()
            );
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let asked: Vec<Asked> = agents
            .into_iter()
            .map(|agent| {
                let why_not = self.why_not(tenant, publish, &agent);
                (agent, why_not)
            })
            .collect();
        if asked.iter().all(|(_, why_not)| why_not.is_some()) {
            return Err(self.nobody_to_ask(publish, &asked));
        }
        let wanted = asked.iter().filter(|(_, why_not)| why_not.is_none());
        let wanted = wanted.map(|(agent, _)| agent);
        self.check_room_for_inboxes(tenant, &publish.envelope.destination, wanted)?;
        let level = self.note_gather_key(origin, publish, out)?;
        let recorded = level.is_logged();
        *self.tenants[tenant].tally.accepted_of(recorded) += 1;
        let unserved = |(agent, why_not): &&Asked| {
            let inbox = self.tenants[tenant].agent_inbox(agent);
            why_not.is_none() && !inbox.is_some_and(|inbox| self.is_served(inbox))
        };
        let parked = count(asked.iter().filter(unserved).count());
        let full = |(_, why_not): &&Asked| {
            why_not.as_ref().is_some_and(|failure| failure.code == FailureCode::Rejected)
        };
        let dropped = count(asked.iter().filter(full).count());
        let targets = self.place_parts(now, origin, publish, gather, asked, out);
        let accepted = Accepted {
            operation: origin.operation,
            id: publish.envelope.id,
            duplicate: false,
            targets,
            dropped,
            parked,
        };
        Ok(Answered::Accepted(level, accepted))
    }

    /// Notes the idempotency key of a request, if it has one: that outlives the process, though
    /// the gathering does not. Returns how durable that must be before it is confirmed.
    fn note_gather_key(
        &mut self,
        origin: &Origin,
        publish: &Arc<Publish>,
        out: &mut Output,
    ) -> Result<Durability, Refusal> {
        if publish.envelope.idempotency_key.is_none() {
            return Ok(Durability::Ephemeral);
        }
        let recorded = self.config.logged;
        if recorded {
            self.check_log()?;
            let mut written = Publish::clone(publish);
            written.options.gather = None;
            self.record_acceptance(origin, &Arc::new(written), (&[], false), out);
        }
        self.apply_key(origin.tenant, publish, origin.at, recorded);
        Ok(if recorded { Durability::Buffered } else { Durability::Ephemeral })
    }

    /// The agents that a request asks, in the order of their ids.
    fn agents_to_ask(&self, tenant: TenantKey, publish: &Publish) -> Result<Vec<AgentId>, Refusal> {
        let envelope = &publish.envelope;
        let registered = self.tenants[tenant].agents.values().filter_map(|&(key, _)| {
            let agent = &self.agents[key];
            Some((&agent.id, &agent.registration.as_ref()?.card))
        });
        let mut agents: Vec<AgentId> = match &envelope.destination {
            Destination::Agents(ids) => ids.clone(),
            Destination::All => {
                let others = registered.filter(|&(id, _)| Some(id) != envelope.source.as_ref());
                others.map(|(id, _)| id.clone()).collect()
            }
            Destination::Skill(skill) => {
                let offering = registered.filter(|(_, card)| card.skills.contains(skill));
                offering.map(|(id, _)| id.clone()).collect()
            }
            // Refused by the check of the publish.
            Destination::Agent(_) | Destination::Topic(_) => Vec::new(),
        };
        agents.sort_unstable();
        agents.dedup();
        let (found, most) = (agents.len(), self.config.gather_agents);
        if found == 0 {
            let message =
                format!("nobody to ask: there is no agent behind '{}'", { &envelope.destination });
            return Err(Refusal::new(RefusalCode::NobodyThere, message));
        }
        if found > most {
            let message = format!(
                "'{}' is {found} agents, the limit for gathering answers is {most}",
                envelope.destination
            );
            return Err(Refusal::new(RefusalCode::TooLarge, message));
        }
        Ok(agents)
    }

    /// Why an agent cannot be asked, if so. One that nobody has heard of gets no inbox for that.
    fn why_not(&self, tenant: TenantKey, publish: &Publish, agent: &AgentId) -> Option<Failure> {
        let inbox = self.tenants[tenant].agent_inbox(agent);
        let served = inbox.is_some_and(|inbox| self.is_served(inbox));
        if publish.absent() == Absent::Fail && !served {
            let reason = "it is not connected, and the sender did not want to wait".to_owned();
            return Some(Failure { code: FailureCode::NobodyThere, reason });
        }
        let size = publish.envelope.payload.data.len() as u64;
        let most = self.config.inbox_ephemeral_bytes;
        let limit = match inbox {
            Some(inbox) => self.over_bound(inbox, Durability::Ephemeral, size)?,
            None if size > most => format!("{most} bytes of ephemeral envelopes"),
            None => return None,
        };
        let reason = format!("its inbox is full: it may hold {limit}");
        Some(Failure { code: FailureCode::Rejected, reason })
    }

    fn nobody_to_ask(&self, publish: &Publish, asked: &[Asked]) -> Refusal {
        let failures = asked.iter().filter_map(|(agent, failure)| Some((agent, failure.as_ref()?)));
        let full = failures.into_iter().find(|(_, failure)| failure.code == FailureCode::Rejected);
        let Some((agent, failure)) = full else { return nobody(&publish.envelope.destination) };
        let message = format!(
            "none of the agents behind '{}' can be asked; '{agent}': {}",
            publish.envelope.destination, failure.reason
        );
        Refusal::new(RefusalCode::InboxFull, message).retry_after(self.config.full_hint)
    }

    /// Makes an entry for each agent that can be asked. Returns how many these are.
    fn place_parts(
        &mut self,
        now: Now,
        origin: &Origin,
        publish: &Arc<Publish>,
        gather: Gather,
        asked: Vec<Asked>,
        out: &mut Output,
    ) -> u32 {
        let mut parts = Vec::with_capacity(asked.len());
        let mut placed = Vec::with_capacity(asked.len());
        for (agent, why_not) in asked {
            let state = why_not.map_or_else(
                || {
                    let inbox = self.agent_inbox(origin.tenant, &agent);
                    let level = Durability::Ephemeral;
                    let (sender, at) = (origin.session, origin.at);
                    let entry = self.apply_accepted(inbox, publish, sender, at, level);
                    placed.push(entry);
                    PartState::Open(entry.0, entry.1)
                },
                |failure| PartState::Ended(Err(failure)),
            );
            parts.push(Part { agent, state });
        }
        let key = self.gathers.insert(Gathering {
            tenant: origin.tenant,
            request: publish.envelope.id,
            sender: origin.session,
            gather,
            parts,
            answers: 0,
            room: u64::from(gather.reply_bytes),
            open: count(placed.len()),
            closing: false,
        });
        for &(entry, _) in &placed {
            self.entries[entry].set_gather(key);
        }
        let targets = count(placed.len());
        for (entry, id) in placed {
            self.hold_ready(now, Durability::Ephemeral, (entry, id), out);
        }
        targets
    }

    /// Which inbox a delivery is said to come from: what every agent with a skill is asked lies in
    /// the agents' own inboxes, but it is the skill that is wanted of them.
    pub(crate) fn wanted_of(&self, entry: &Entry) -> InboxAddress {
        if entry.gather().is_some()
            && let Destination::Skill(skill) = entry.body.destination()
        {
            return InboxAddress::Skill(skill.clone());
        }
        self.address(entry.inbox).expect("bare subscriptions have no entries")
    }
}

/// An agent, and why it cannot be asked, if so.
type Asked = (AgentId, Option<Failure>);

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
