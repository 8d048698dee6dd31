//! Everything at once, drawn at random. After every step the world checks that nothing is lost,
//! that what is counted is so, and that nothing waits that somebody would take.

use super::world::{Peer, World, done, failed, labelled, secs};
use fastrand::Rng;
use std::sync::Arc;
use trunkline_engine::{Command, EngineConfig};
use trunkline_types::session::{ClientFrame, Operation, SessionItem};
use trunkline_types::{
    AgentChange, Binding, InboxChange, Outcome, Priority, PublishOptions, Routing, Settle, Token,
};

const AGENTS: [&str; 3] = ["a", "b", "c"];

struct Mix {
    world: World,
    rng: Rng,
    client: Peer,
    agents: Vec<(Peer, Vec<Token>)>,
}

impl Mix {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut config = EngineConfig { logged: rng.bool(), seed, ..EngineConfig::default() };
        config.breaker_failures = rng.u32(0..4);
        config.breaker_probes = rng.u32(1..3);
        config.breaker_open = secs(rng.u64(1..20));
        config.routing = *rng.choice(Routing::ALL).unwrap();
        config.max_run = rng.bool().then(|| secs(rng.u64(1..40)));
        let mut world = World::new(config);
        let client = world.client();
        Self { world, rng, client, agents: Vec::new() }
    }

    fn agent_id(&mut self) -> &'static str {
        self.rng.choice(AGENTS).unwrap()
    }

    fn step(&mut self) {
        match self.rng.u8(..100) {
            0..30 => self.publish(),
            30..60 => self.settle(),
            60..70 => self.come_or_go(),
            70..76 => self.set_agent(),
            76..82 => self.set_inbox(),
            82..84 => {
                let agent = self.agent_id().parse().unwrap();
                self.world.send(&mut self.client, Operation::Unregister { agent });
            }
            84..88 => self.world.is_fast = false,
            88..92 => self.world.flush(),
            92..94 => {
                let routing = *self.rng.choice(Routing::ALL).unwrap();
                let failures = self.rng.u32(0..4);
                self.world.configure(|config| {
                    config.routing = routing;
                    config.breaker_failures = failures;
                });
            }
            _ => self.world.pass(secs(self.rng.u64(0..12))),
        }
        self.listen();
    }

    fn publish(&mut self) {
        let mut publish = self.world.request();
        publish.envelope.priority = *self.rng.choice(Priority::ALL).unwrap();
        if self.rng.u8(..4) == 0 {
            publish.envelope.ordering_key = Some("key".parse().unwrap());
        }
        if self.rng.u8(..4) == 0 {
            publish.envelope.ttl = Some(secs(self.rng.u64(1..30)));
        }
        let max_run = self.rng.bool().then(|| secs(self.rng.u64(1..30)));
        publish.options = PublishOptions { task: self.rng.bool(), max_run, ..Default::default() };
        self.world.send(&mut self.client, Operation::Publish(Arc::new(publish)));
    }

    fn settle(&mut self) {
        if self.agents.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.agents.len());
        let (peer, held) = &mut self.agents[index];
        if held.is_empty() {
            return;
        }
        let token = held.swap_remove(self.rng.usize(..held.len()));
        if self.rng.bool() {
            let body = trunkline_types::session::UpdateBody::Started;
            let update = trunkline_types::session::Update { token, body };
            self.world.send(peer, Operation::Update(update));
        }
        let reason = "so".to_owned();
        let outcome = match self.rng.u8(..6) {
            0 => failed(),
            1 => Outcome::Retry { reason, delay: None },
            2 => Outcome::Release,
            3 => Outcome::Reject { reason },
            4 => return,
            _ => done(),
        };
        self.world.send(peer, Operation::Settle(Settle { token, outcome }));
    }

    fn come_or_go(&mut self) {
        if self.agents.len() < 5 && self.rng.bool() {
            let id = self.agent_id();
            let value = if self.rng.bool() { "yes" } else { "no" };
            let peer = self.world.connect(Some(labelled(id, "gpu", value))).unwrap();
            self.world.credit(&peer, self.rng.u32(0..4));
            self.agents.push((peer, Vec::new()));
            return;
        }
        if self.agents.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.agents.len());
        let (peer, held) = self.agents[index].clone();
        match self.rng.u8(..4) {
            0 => {
                self.world.frame(&peer, ClientFrame::Goodbye);
                self.agents.swap_remove(index);
            }
            1 => {
                self.world.handle(Command::Disconnect { connection: peer.connection });
                self.agents.swap_remove(index);
            }
            2 => {
                let back = self.world.come_back(&peer, held.clone()).unwrap();
                self.agents[index] = (back, held);
            }
            _ => self.world.credit(&peer, self.rng.u32(0..4)),
        }
    }

    fn set_agent(&mut self) {
        let agent = self.agent_id().parse().unwrap();
        let change = AgentChange {
            weight: self.rng.bool().then(|| self.rng.u32(0..3)),
            draining: Some(self.rng.u8(..4) == 0),
            healthy: Some(self.rng.u8(..4) > 0),
        };
        self.world.send(&mut self.client, Operation::SetAgent { agent, change });
    }

    fn set_inbox(&mut self) {
        let binding = |priority| Binding { priority, key: "gpu".into(), value: "yes".into() };
        let bound = Priority::ALL.iter().filter(|_| self.rng.u8(..3) == 0).copied();
        let bindings = Some(bound.map(binding).collect());
        let routing = self.rng.choice(Routing::ALL).copied();
        let reset = self.rng.bool();
        let change = Box::new(InboxChange { routing, bindings, reset, ..InboxChange::default() });
        let inbox = super::world::skill();
        self.world.send(&mut self.client, Operation::SetInbox { inbox, change });
    }

    /// Notes what the sessions hold, and which of them were sent away.
    fn listen(&mut self) {
        let world = &mut self.world;
        self.agents.retain_mut(|(peer, held)| {
            for item in world.take(peer) {
                match item {
                    SessionItem::Delivery(delivery) => held.push(delivery.token),
                    SessionItem::Cancel { token, .. } => held.retain(|&other| other != token),
                    SessionItem::GoAway { .. } => return false,
                    _ => {}
                }
            }
            true
        });
    }
}

#[test]
fn whatever_is_set_and_whoever_comes_nothing_waits_that_somebody_would_take() {
    let (mut opened, mut overran) = (0, 0);
    for seed in 0..300 {
        let mut mix = Mix::new(seed);
        for _ in 0..150 {
            mix.step();
        }
        let Mix { mut world, .. } = mix;
        world.flush();
        let stats = world.stats();
        opened += stats.breakers_opened;
        overran += stats.overran;
        world.assert_replays_if_logged();
    }
    assert!(opened > 50 && overran > 50, "{opened} breakers opened, {overran} overran");
}
