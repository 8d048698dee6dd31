//! What somebody who looks after the agents does: settings at run time, schedules, dead letters.

use super::person::{agent, skill};
use crate::model::Ending;
use crate::totals::Count;
use crate::world::{World, tenant};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::{LetterAddress, Operation, Redrive};
use trunkline_types::{
    AgentChange, AgentFilter, Binding, Destination, Durability, Envelope, InboxAddress,
    InboxChange, Kind, MessageId, Partition, Payload, Priority, Publish, Routing, Schedule,
    ScheduleName, WhenFull,
};

impl World {
    /// Changes something about an agent, an inbox, a schedule or a dead letter.
    pub(crate) fn look_after(&mut self, number: usize) {
        let traffic = self.plan.traffic.clone();
        if self.chance(traffic.control) {
            let operation = self.set_agent();
            self.operate(number, vec![operation]);
        }
        if self.chance(traffic.weights) {
            let agent = agent(self.rng.usize(..self.plan.agents));
            let change = AgentChange { weight: Some(self.weight()), ..AgentChange::default() };
            self.operate(number, vec![Operation::SetAgent { agent, change }]);
        }
        if self.chance(traffic.settings) {
            let operation = self.set_inbox();
            self.operate(number, vec![operation]);
        }
        if self.chance(traffic.schedules) {
            let operation = self.set_schedule(number);
            self.operate(number, vec![operation]);
        }
        if self.chance(traffic.letters)
            && let Some(operation) = self.clear_letter(number)
        {
            self.operate(number, vec![operation]);
        }
        if self.chance(traffic.directory) {
            let follow = self.rng.u8(..) < 200;
            let filter = self.agent_filter();
            let operation = if follow {
                Operation::WatchAgents(Box::new(filter))
            } else {
                Operation::UnwatchAgents
            };
            self.operate(number, vec![operation]);
        }
        if self.chance(traffic.unregister) {
            self.did(Count::Unregistered);
            let agent = agent(self.rng.usize(..self.plan.agents));
            self.operate(number, vec![Operation::Unregister { agent }]);
        }
    }

    /// Which agents somebody wants to see: all, or some by what their cards say.
    pub(crate) fn agent_filter(&mut self) -> AgentFilter {
        let all = AgentFilter::default();
        let tier = ["gold", "tin"][self.rng.usize(..2)];
        match self.rng.u8(..8) {
            0 => AgentFilter { id: Some(agent(self.rng.usize(..self.plan.agents))), ..all },
            1 | 2 => AgentFilter { skill: Some(skill(self.rng.usize(..2))), ..all },
            3 => AgentFilter { agent_type: Some(tier.into()), ..all },
            4 => AgentFilter { capability: Some(tier.into()), ..all },
            5 => AgentFilter { labels: vec![("tier".into(), tier.into())], ..all },
            _ => all,
        }
    }

    /// Everything goes back to how it is by default, so that whatever waits comes to its end.
    pub(crate) fn undo_settings(&mut self, number: usize) {
        let book = &self.model_of(number).book;
        let mut operations = Vec::new();
        for (agent, control) in &book.controls {
            if control.draining || !control.healthy || control.weight == 0 {
                let change =
                    AgentChange { weight: Some(100), draining: Some(false), healthy: Some(true) };
                operations.push(Operation::SetAgent { agent: agent.clone(), change });
            }
        }
        for (inbox, settings) in &book.settings {
            if !settings.is_default() {
                let change = InboxChange { reset: true, ..InboxChange::default() };
                let inbox = inbox.clone();
                operations.push(Operation::SetInbox { inbox, change: Box::new(change) });
            }
        }
        for name in book.schedules.keys() {
            operations.push(Operation::RemoveSchedule { name: name.clone() });
        }
        if !operations.is_empty() {
            self.operate(number, operations);
        }
    }

    fn set_agent(&mut self) -> Operation {
        self.did(Count::Controls);
        let agent = agent(self.rng.usize(..self.plan.agents));
        let change = AgentChange {
            weight: self.rng.bool().then(|| self.weight()),
            // Mostly it goes back to work.
            draining: self.rng.bool().then(|| self.rng.u8(..) < 80),
            healthy: self.rng.bool().then(|| self.rng.u8(..) < 160),
        };
        Operation::SetAgent { agent, change }
    }

    /// A small limit of an inbox, within the broker's bounds, or none.
    fn limit(&mut self) -> u32 {
        let engine = &self.plan.engine;
        let most = u64::from(engine.inbox_ephemeral).max(engine.inbox_logged).min(8);
        self.rng.u32(0..=u32::try_from(most).unwrap_or(u32::MAX))
    }

    fn weight(&mut self) -> u32 {
        [0, 1, 10, 100, 1000][self.rng.usize(..5)]
    }

    fn set_inbox(&mut self) -> Operation {
        self.did(Count::Settings);
        let of_skill = self.rng.u8(..) < 160;
        let inbox = if of_skill {
            InboxAddress::Skill(skill(self.rng.usize(..2)))
        } else {
            InboxAddress::Agent(agent(self.rng.usize(..self.plan.agents)))
        };
        let mut change = InboxChange {
            when_full: self.rng.bool().then(|| WhenFull::ALL[self.rng.usize(..3)]),
            wait: self.rng.bool().then(|| Duration::from_millis(self.rng.u64(0..=400))),
            limit: (self.rng.u8(..) < 80).then(|| self.limit()),
            ttl: (self.rng.u8(..) < 80).then(|| Duration::from_millis(self.rng.u64(0..=2000))),
            reset: self.rng.u8(..) < 60,
            ..InboxChange::default()
        };
        if of_skill {
            change.routing = self.rng.bool().then(|| Routing::ALL[self.rng.usize(..5)]);
            change.bindings = self.rng.bool().then(|| {
                let priority = Priority::ALL[self.rng.usize(..4)];
                let value = ["gold", "tin"][self.rng.usize(..2)].into();
                vec![Binding { priority, key: "tier".into(), value }]
            });
        }
        Operation::SetInbox { inbox, change: Box::new(change) }
    }

    fn set_schedule(&mut self, number: usize) -> Operation {
        self.did(Count::Schedules);
        let name = ScheduleName::new(["one", "two"][self.rng.usize(..2)]);
        let name = name.expect("letters are a name");
        if self.rng.u8(..) < 60 {
            return Operation::RemoveSchedule { name };
        }
        self.ids += 1;
        let nothing = MessageId::from_parts(0, Partition(0), 0);
        let to = match self.rng.u8(..3) {
            0 => Destination::Agent(agent(self.rng.usize(..self.plan.agents))),
            1 => Destination::topic("t.a").expect("a topic"),
            _ => Destination::Skill(skill(0)),
        };
        let kind = if matches!(to, Destination::Topic(_)) { Kind::Event } else { Kind::Request };
        let text = format!("scheduled {}", self.ids);
        let mut envelope = Envelope::new(nothing, kind, to, Payload::text(text));
        envelope.source = self.actors[number].agent().cloned();
        envelope.tenant = tenant(self.actors[number].tenant);
        let mut publish = Publish::new(envelope);
        publish.options.durability = Some(Durability::Synced);
        let cron = format!("every {}", self.rng.u64(50..=2000));
        let publish = Arc::new(publish);
        let schedule = Schedule { name, cron: cron.into(), zone: "UTC".into(), publish };
        Operation::SetSchedule(Box::new(schedule))
    }

    /// Sends a dead letter again or deletes it; now and then one that was cleared before.
    fn clear_letter(&mut self, number: usize) -> Option<Operation> {
        let book = &self.model_of(number).book;
        let cleared = &book.cleared;
        let dead: Vec<_> = book
            .entries
            .values()
            .filter(|entry| entry.end == Some(Ending::DeadLettered))
            .map(|entry| (entry.id(), entry.inbox.clone()))
            .filter(|address| !cleared.contains(address) || address.0.as_u128() % 5 == 0)
            .collect();
        if dead.is_empty() {
            return None;
        }
        let (id, inbox) = dead[self.rng.usize(..dead.len())].clone();
        let letter = LetterAddress { id, inbox: self.rng.bool().then_some(inbox) };
        if self.rng.u8(..) < 80 {
            self.did(Count::Purges);
            return Some(Operation::Purge(letter));
        }
        self.did(Count::Redrives);
        self.ids += 1;
        let id = MessageId::from_parts(self.clock.now().wall.0, Partition(0), self.ids);
        let redrive = Redrive {
            letter,
            id,
            payload: self.rng.bool().then(|| Payload::text(format!("again {}", self.ids))),
            destination: (self.rng.u8(..) < 60).then(|| Destination::Skill(skill(0))),
            priority: (self.rng.u8(..) < 60).then_some(Priority::Urgent),
        };
        Some(Operation::Redrive(Box::new(redrive)))
    }
}
