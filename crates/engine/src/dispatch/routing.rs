//! Routing of what is not simply least-loaded: the other policies, priorities that are bound to
//! labelled agents, and agents behind a circuit breaker.
//!
//! A choice here looks at each session of the inbox; an inbox without any of this never comes by.

use crate::defect::Defect;
use crate::engine::Engine;
use crate::queue::{ALL_LANES, Inbox, Owner, lane_of};
use crate::table::{AgentKey, EntryKey, InboxKey, SessionKey};
use foldhash::quality::FixedState;
use std::cmp::Reverse;
use std::hash::BuildHasher;
use trunkline_types::Routing;

/// Seeds the hash by which keys fall to agents. The same for good, so that a restart moves none.
const HASH_SEED: u64 = 0x7275_6e6b_6c69_6e65;

impl Engine {
    /// Whether every session of an inbox may have everything in it, the least loaded first.
    pub(crate) fn is_plain(&self, inbox: InboxKey) -> bool {
        let row = &self.inboxes[inbox];
        row.shut == 0
            && row.settings.as_ref().is_none_or(|settings| settings.bindings.is_empty())
            && self.policy_of(row) == Routing::LeastLoaded
    }

    /// Who gets what from an inbox. That of an agent is shared by the sessions of that agent only.
    fn policy(&self, inbox: InboxKey) -> Routing {
        self.policy_of(&self.inboxes[inbox])
    }

    fn policy_of(&self, row: &Inbox) -> Routing {
        match &row.owner {
            Owner::Skill(_) => row.settings().routing.unwrap_or(self.config.routing),
            _ => Routing::LeastLoaded,
        }
    }

    /// Which lanes of an inbox an agent may have work from now, as a mask.
    pub(crate) fn lanes_for(&self, inbox: InboxKey, agent: AgentKey) -> u8 {
        let row = &self.inboxes[inbox];
        if row.shut > 0 && !self.passes_breaker(agent, inbox) {
            return 0;
        }
        let agent = &self.agents[agent];
        if agent.control.weight == 0 && self.policy(inbox) == Routing::Weighted {
            return 0;
        }
        let labels = agent.registration.as_ref().map_or(&[][..], |known| &known.card.labels);
        let mut mask = ALL_LANES;
        for binding in &row.settings().bindings {
            let carries =
                labels.iter().any(|(key, value)| *key == binding.key && *value == binding.value);
            if !carries && !self.planted(Defect::IgnoredBinding) {
                mask &= !(1 << binding.priority.number());
            }
        }
        mask
    }

    /// The lanes that a session may have work from now: none if it would take none.
    pub(crate) fn lanes_of(&self, inbox: InboxKey, session: SessionKey) -> u8 {
        let row = &self.sessions[session];
        match row.agent.filter(|_| row.counted) {
            Some(agent) => self.lanes_for(inbox, agent),
            None => 0,
        }
    }

    /// Chooses what an inbox delivers next, out of what somebody may have, and to whom.
    pub(crate) fn pick_routed(&mut self, inbox: InboxKey) -> Option<(EntryKey, SessionKey)> {
        if self.inboxes[inbox].available == 0 {
            return None;
        }
        let mut open = 0;
        for &session in &self.inboxes[inbox].servers {
            open |= self.lanes_of(inbox, session);
            if open == ALL_LANES {
                break;
            }
        }
        let key = self.next_entry_of(inbox, open)?;
        let lane = 1 << lane_of(&self.entries[key]);
        let session = match self.policy(inbox) {
            Routing::LeastLoaded => self.pick_lightest(inbox, lane),
            Routing::RoundRobin => self.pick_in_turn(inbox, lane),
            Routing::Weighted => self.pick_drawn(inbox, lane, Self::share),
            Routing::ConsistentHash => self.pick_hashed(inbox, lane, key),
            Routing::Random => self.pick_drawn(inbox, lane, |_, _| 1),
        }?;
        Some((key, session))
    }

    /// The sessions of an inbox that may have work from a lane, from where the last search ended.
    fn takers(&self, inbox: InboxKey, lane: u8) -> impl Iterator<Item = (usize, SessionKey)> {
        let row = &self.inboxes[inbox];
        let count = row.servers.len();
        let start = row.cursor as usize % count.max(1);
        let places = (start..count).chain(0..start).map(|place| (place, row.servers[place]));
        places.filter(move |&(_, session)| self.lanes_of(inbox, session) & lane != 0)
    }

    fn pick_lightest(&mut self, inbox: InboxKey, lane: u8) -> Option<SessionKey> {
        let compared = self.takers(inbox, lane).take(super::matching::COMPARED);
        let best = compared
            .map(|(_, session)| session)
            .reduce(|best, other| if self.is_lighter(other, best) { other } else { best });
        let row = &mut self.inboxes[inbox];
        row.cursor = row.cursor.wrapping_add(1);
        best
    }

    fn pick_in_turn(&mut self, inbox: InboxKey, lane: u8) -> Option<SessionKey> {
        let (place, session) = self.takers(inbox, lane).next()?;
        let next = if self.planted(Defect::RepeatedTurn) { place } else { place + 1 };
        self.inboxes[inbox].cursor = u32::try_from(next).unwrap_or(0);
        Some(session)
    }

    /// Draws one of the sessions, each as likely as its share says.
    fn pick_drawn(
        &mut self,
        inbox: InboxKey,
        lane: u8,
        share: impl Fn(&Self, SessionKey) -> u64,
    ) -> Option<SessionKey> {
        let total: u64 = self.takers(inbox, lane).map(|(_, session)| share(self, session)).sum();
        if total == 0 {
            return None;
        }
        let mut drawn = self.rng.u64(0..total);
        let mut takers = self.takers(inbox, lane);
        let taker = takers.find(|&(_, session)| {
            let share = share(self, session);
            let hit = drawn < share;
            drawn = drawn.saturating_sub(share);
            hit
        });
        taker.map(|(_, session)| session)
    }

    /// What a session has of its agent's weight, which is shared by those of the agent's sessions
    /// that would take something now.
    fn share(&self, session: SessionKey) -> u64 {
        let Some(agent) = self.sessions[session].agent else { return 0 };
        if self.planted(Defect::IgnoredWeight) {
            return 1;
        }
        let agent = &self.agents[agent];
        let sessions = agent.sessions.iter().filter(|&&other| self.sessions[other].counted).count();
        (u64::from(agent.control.weight) << 20) / (sessions as u64).max(1)
    }

    /// Rendezvous hashing: of the agents that would take it now, the one that scores highest with
    /// the key. When an agent comes or goes, only its own keys move.
    fn pick_hashed(&mut self, inbox: InboxKey, lane: u8, key: EntryKey) -> Option<SessionKey> {
        if self.planted(Defect::WrongMember) && self.rng.u8(..) < 64 {
            return self.takers(inbox, lane).next().map(|(_, session)| session);
        }
        let entry = &self.entries[key];
        let hasher = FixedState::with_seed(HASH_SEED);
        let hash = match entry.body.ordering_key() {
            Some(key) => hasher.hash_one(key.as_str()),
            None => hasher.hash_one(entry.message.as_u128()),
        };
        let score = |session: SessionKey| {
            let agent = self.sessions[session].agent?;
            Some((hasher.hash_one((hash, self.agents[agent].id.as_str())), Reverse(agent)))
        };
        let mut best = None;
        for (_, session) in self.takers(inbox, lane) {
            let scored = score(session);
            let wins = best.is_none_or(|(highest, other)| {
                scored > highest || (scored == highest && self.is_lighter(session, other))
            });
            if wins {
                best = Some((scored, session));
            }
        }
        best.map(|(_, session)| session)
    }
}
