//! What actors send: every kind of envelope to every kind of destination, with every option.

use super::person::{agent, skill};
use crate::totals::Count;
use crate::world::{World, tenant};
use std::sync::Arc;
use std::time::Duration;
use trunkline_types::session::Operation;
use trunkline_types::{
    Absent, Destination, Durability, Envelope, Gather, GatherRule, IdempotencyKey, Kind, MessageId,
    OrderingKey, Partition, Payload, Priority, Publish, PublishOptions, WallTime,
};

impl World {
    /// An actor sends one or several envelopes.
    pub(crate) fn send_some(&mut self, number: usize) {
        let burst = self.rng.u32(1..=self.plan.traffic.burst);
        let operations = (0..burst).map(|_| self.publish(number)).collect();
        self.operate(number, operations);
    }

    pub(crate) fn publish(&mut self, number: usize) -> Operation {
        let traffic = self.plan.traffic.clone();
        self.ids += 1;
        let id = MessageId::from_parts(self.clock.now().wall.0, Partition(0), self.ids);
        let (kind, destination) = self.address(number);
        let mut envelope =
            Envelope::new(id, kind, destination, Payload::text(format!("work {}", self.ids)));
        envelope.source = self.actors[number].agent().cloned();
        envelope.tenant = tenant(self.actors[number].tenant);
        if self.chance(traffic.urgent) {
            envelope.priority = Priority::ALL[self.rng.usize(..Priority::ALL.len())];
        }
        if self.chance(traffic.ttl) {
            envelope.ttl = Some(Duration::from_millis(self.rng.u64(1..=1500)));
        }
        if kind != Kind::Request {
            self.relate(number, &mut envelope);
        }
        let mut publish = Publish::new(envelope);
        let options = &mut publish.options;
        options.durability = Some(Durability::Synced);
        if kind == Kind::Request {
            options.task = self.rng.bool();
            options.reply = self.rng.bool();
        }
        if traffic.pure {
            options.durability = Some(Durability::Synced);
        } else if self.rng.u32(..1000) < traffic.ephemeral {
            options.durability = Some(Durability::Ephemeral);
        } else if self.rng.u32(..1000) < traffic.buffered {
            options.durability = Some(Durability::Buffered);
        } else if self.rng.u8(..) < 40 {
            options.durability = None;
        }
        if self.rng.u8(..) < 128 {
            options.attempts = Some(self.rng.u32(1..=5));
        }
        let topic = matches!(publish.envelope.destination, Destination::Topic(_));
        let delayed = if topic { traffic.pending } else { traffic.delay };
        if self.rng.u32(..1000) < delayed {
            options.delay = Some(Duration::from_millis(self.rng.u64(0..=600)));
        }
        if self.rng.u32(..1000) < delayed / 3 {
            let wall = self.clock.now().wall;
            let at = WallTime(wall.0.saturating_sub(200) + self.rng.u64(0..=800));
            options.not_before = Some(at);
        }
        if self.rng.u32(..1000) < traffic.max_run {
            options.max_run = Some(Duration::from_millis(self.rng.u64(20..=400)));
        }
        if topic && self.rng.u32(..1000) < traffic.pending {
            options.absent = Some(Absent::Park);
            publish.envelope.ttl = Some(Duration::from_millis(self.rng.u64(100..=2000)));
        }
        if topic && self.rng.bool() {
            let value = ["a", "b"][self.rng.usize(..2)];
            publish.envelope.headers.push(("h".into(), value.into()));
        }
        if self.rng.u8(..) < 8 {
            options.absent = Some(Absent::Fail);
        }
        if !traffic.pure && self.chance(traffic.gather) {
            return self.gather(publish);
        }
        let logged = publish.durability().is_logged();
        if logged && self.chance(traffic.ordered) {
            let key = format!("k{}", self.rng.u8(..3));
            publish.envelope.ordering_key = OrderingKey::new(key).ok();
        }
        let one =
            matches!(publish.envelope.destination, Destination::Agent(_) | Destination::Skill(_));
        if logged && one && self.chance(traffic.keyed) {
            self.give_key(number, &mut publish);
        }
        Operation::Publish(Arc::new(publish))
    }

    /// Makes a request to several agents of it.
    fn gather(&mut self, publish: Publish) -> Operation {
        self.did(Count::Gathers);
        let agents = self.plan.agents;
        let Publish { mut envelope, .. } = publish;
        envelope.kind = Kind::Request;
        envelope.destination = match self.rng.u8(..3) {
            0 => Destination::All,
            1 => Destination::Skill(skill(self.rng.usize(..2))),
            _ => Destination::Agents(vec![agent(0), agent(self.rng.usize(..agents))]),
        };
        envelope.ttl = Some(Duration::from_millis(self.rng.u64(1..=1500)));
        let rule = match self.rng.u8(..3) {
            0 => GatherRule::First,
            1 => GatherRule::All,
            _ => GatherRule::Quorum(self.rng.u32(1..=3)),
        };
        let reply_bytes = if self.rng.u8(..) < 40 { 12 } else { Gather::REPLY_BYTES };
        let options = PublishOptions {
            reply: true,
            durability: Some(Durability::Ephemeral),
            gather: Some(Gather { rule, reply_bytes }),
            ..PublishOptions::default()
        };
        Operation::Publish(Arc::new(Publish { envelope, options }))
    }

    /// A key that is new, or one used before, with the same content or, now and then, another.
    fn give_key(&mut self, number: usize, publish: &mut Publish) {
        let fresh = self.ids;
        if self.actors[number].tenant > 0 && self.rng.u8(..) < 80 {
            // A key of another tenant, which is none in its own.
            let others = self.actors[0].keys.last().copied();
            self.actors[number].keys.extend(others);
        }
        let keys = &mut self.actors[number].keys;
        let (key, content) = if keys.is_empty() || self.rng.bool() {
            keys.push((fresh, fresh));
            (fresh, fresh)
        } else {
            keys[self.rng.usize(..keys.len())]
        };
        let content = if self.chance(150) { fresh } else { content };
        let envelope = &mut publish.envelope;
        envelope.idempotency_key = IdempotencyKey::new(format!("i{key}")).ok();
        envelope.payload = Payload::text(format!("keyed {content}"));
        envelope.kind = Kind::Request;
        envelope.destination = Destination::Skill(skill(0));
    }

    /// What is no request: mostly an event.
    fn kind(&mut self) -> Kind {
        let others = [Kind::Response, Kind::ContextShare, Kind::Status, Kind::Error];
        if self.rng.bool() { Kind::Event } else { others[self.rng.usize(..others.len())] }
    }

    /// Says what an envelope that is no request answers, and what came before it.
    fn relate(&mut self, number: usize, envelope: &mut Envelope) {
        if envelope.kind == Kind::Response || self.rng.u8(..) < 80 {
            envelope.correlation_id = Some(self.any_task(number));
        }
        if self.rng.u8(..) < 80 {
            envelope.causation_id = Some(self.any_task(number));
            envelope.root_id = envelope.causation_id;
        }
        envelope.traceparent = self.rng.bool().then(|| {
            format!("00-{:032x}-{:016x}-01", self.rng.u128(1..), self.rng.u64(1..)).into()
        });
    }

    fn address(&mut self, number: usize) -> (Kind, Destination) {
        let agents = self.plan.agents;
        if self.chance(self.plan.traffic.unserved) {
            return (Kind::Request, Destination::Skill(skill(9)));
        }
        if self.chance(self.plan.traffic.topics) {
            let topic = ["t.a", "t.b", "t.b.c", "u.a"][self.rng.usize(..4)];
            let topic = topic.parse().expect("the topics are valid");
            return (self.kind(), Destination::Topic(topic));
        }
        let kind = if self.rng.u8(..) < 60 { self.kind() } else { Kind::Request };
        match self.rng.u8(..16) {
            0 => (Kind::Broadcast, Destination::All),
            1 => {
                let both = vec![agent(0), agent(self.rng.usize(..agents)), agent(0)];
                (self.kind(), Destination::Agents(both))
            }
            2..=5 => (kind, Destination::Agent(agent(self.rng.usize(..agents)))),
            _ => {
                let _ = number;
                (kind, Destination::Skill(skill(self.rng.usize(..2))))
            }
        }
    }
}
