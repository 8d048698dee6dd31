//! Everything about subscriptions, full inboxes and events that wait at once, at random: the
//! books balance after every step, every operation is answered once, and a broker that was killed
//! knows afterwards what it knew before.

#![allow(clippy::print_stdout, reason = "a seed that fails is named")]

use crate::world::{Peer, World, config, hello, with_ttl};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::EngineConfig;
use trunkline_types::session::{ClientFrame, Operation, SessionItem, Subscription};
use trunkline_types::{
    Absent, Durability, InboxChange, Kind, MessageId, Outcome, Publish, Settle, Token, WhenFull,
};

/// The sessions: two agents with two sessions and one with one, and two clients.
const SESSIONS: [Option<&str>; 6] = [Some("a"), Some("a"), Some("b"), Some("c"), None, None];

struct Run {
    rng: fastrand::Rng,
    world: World,
    peers: Vec<Option<Peer>>,
    /// Operations that are not answered, by session.
    open: Vec<BTreeSet<u64>>,
    held: Vec<Vec<Token>>,
    events: Vec<u64>,
    sent: Vec<MessageId>,
}

fn settings() -> EngineConfig {
    EngineConfig {
        inbox_ephemeral: 4,
        inbox_logged: 4,
        pending_events: 6,
        waiting_outside: 3,
        ended_messages: 20,
        wait: Duration::from_millis(300),
        backoff_cap: Duration::from_millis(50),
        ..config()
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        let world = World::new(EngineConfig { seed, ..settings() });
        let mut run = Self {
            rng,
            world,
            peers: vec![None; SESSIONS.len()],
            open: vec![BTreeSet::new(); SESSIONS.len()],
            held: vec![Vec::new(); SESSIONS.len()],
            events: vec![0; SESSIONS.len()],
            sent: Vec::new(),
        };
        for at in 0..SESSIONS.len() {
            run.connect(at);
        }
        run
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.rng.usize(..all.len())]
    }

    /// Opens a new session in the place of whichever was there.
    fn connect(&mut self, at: usize) {
        let session = 1000 + self.rng.u128(..1 << 64);
        self.peers[at] = Some(self.world.try_connect(hello(session, SESSIONS[at])).unwrap());
        self.open[at].clear();
        self.held[at].clear();
        self.events[at] = 0;
        self.look();
    }

    /// Reads what the latest call led to.
    fn look(&mut self) {
        for at in 0..self.peers.len() {
            let Some(peer) = self.peers[at] else { continue };
            for item in self.world.items(peer) {
                match item {
                    SessionItem::Done { first, last } => {
                        for number in first..=last {
                            assert!(self.open[at].remove(&number), "{number} is answered twice");
                        }
                    }
                    SessionItem::Accepted(accepted) => {
                        assert!(self.open[at].remove(&accepted.operation));
                    }
                    SessionItem::Refused { operation, .. } => {
                        assert!(self.open[at].remove(&operation));
                    }
                    SessionItem::Delivery(delivery) => self.held[at].push(delivery.token),
                    SessionItem::Event(event) => {
                        assert_eq!(event.number - event.missed, self.events[at] + 1, "{event:?}");
                        self.events[at] = event.number;
                    }
                    _ => {}
                }
            }
        }
    }

    fn send(&mut self, operation: Operation) {
        let at = self.rng.usize(..self.peers.len());
        self.send_as(at, operation);
    }

    fn send_as(&mut self, at: usize, operation: Operation) {
        let Some(mut peer) = self.peers[at] else { return };
        self.open[at].insert(peer.next);
        self.world.send(&mut peer, operation);
        self.peers[at] = Some(peer);
        self.look();
    }

    fn publish(&mut self) -> Publish {
        let kind = self.pick(&[Kind::Event, Kind::Event, Kind::Status, Kind::Request]);
        let to = self.pick(&[
            "agent:a",
            "agent:b",
            "skill:s",
            "agents:a,c,d",
            "all",
            "topic:t.x",
            "topic:t.y",
            "topic:u",
        ]);
        let mut publish = self.world.message(kind, to);
        publish.envelope.headers.push(("n".into(), self.pick(&["1", "2"]).into()));
        publish.options.durability = self.pick(&[None, Some(Durability::Synced)]);
        publish.options.absent =
            self.pick(&[None, Some(Absent::Park), Some(Absent::Fail), Some(Absent::Discard)]);
        if self.rng.u8(..) < 80 {
            publish.options.delay = Some(Duration::from_millis(self.rng.u64(..400)));
        }
        if self.rng.bool() {
            publish = with_ttl(publish, self.rng.u64(1..800));
        }
        if self.rng.u8(..) < 60 {
            publish.envelope.ordering_key = Some("k".parse().unwrap());
        }
        publish
    }

    fn subscription(&mut self) -> Subscription {
        Subscription {
            pattern: self.pick(&["t.x", "t.*", ">", "u"]).parse().unwrap(),
            durable: self.rng.bool(),
            filter: self.pick(&[None, Some("n=1"), Some("n=2")]).map(|it| it.parse().unwrap()),
            group: self.pick(&[None, Some("g")]).map(|it| it.parse().unwrap()),
            when_full: self.pick(&[WhenFull::Reject, WhenFull::DropOldest]),
        }
    }

    fn settle(&mut self) {
        let at = self.rng.usize(..self.peers.len());
        if self.held[at].is_empty() {
            return;
        }
        let nth = self.rng.usize(..self.held[at].len());
        let token = self.held[at].swap_remove(nth);
        let outcome = match self.rng.u8(..5) {
            0 => Outcome::Release,
            1 => Outcome::Retry { reason: "again".into(), delay: None },
            2 => Outcome::Fail { reason: "failed".into() },
            _ => Outcome::Complete { reply: None },
        };
        self.send_as(at, Operation::Settle(Settle { token, outcome }));
    }

    fn kill(&mut self) {
        let mut before = self.world.engine.durable_state();
        let old = std::mem::replace(&mut self.world, World::new(config()));
        let killed = self.rng.bool();
        self.world = if killed { old.killed() } else { old.restarted() };
        let mut after = self.world.engine.durable_state();
        if !killed {
            // A stop counts what is lost with it.
            let figures = |name: &String| name.starts_with("figures");
            before.retain(|name, _| !figures(name));
            after.retain(|name, _| !figures(name));
        }
        after.insert("next".to_owned(), before["next"].clone());
        let odd: Vec<_> = before.iter().filter(|&(name, it)| after.get(name) != Some(it)).collect();
        let new: Vec<_> = after.iter().filter(|&(name, it)| before.get(name) != Some(it)).collect();
        assert!(odd.is_empty() && new.is_empty(), "before: {odd:#?}\nafter: {new:#?}");
        self.peers.fill(None);
        for at in 0..SESSIONS.len() {
            self.connect(at);
        }
    }

    fn step(&mut self) {
        let at = self.rng.usize(..self.peers.len());
        match self.rng.u8(..100) {
            0..40 => {
                let publish = self.publish();
                self.sent.push(publish.envelope.id);
                self.send(Operation::Publish(Arc::new(publish)));
            }
            40..65 => self.settle(),
            65..72 => {
                let subscription = self.subscription();
                self.send(Operation::Subscribe(subscription));
            }
            72..75 => {
                let subscription = self.subscription();
                self.send(Operation::Unsubscribe(subscription));
            }
            75..78 if !self.sent.is_empty() => {
                let nth = self.rng.usize(..self.sent.len());
                let (id, reason) = (self.sent[nth], "enough".into());
                self.send(Operation::Cancel { id, reason, descendants: false });
                let _ = self.world.status(id);
            }
            78..82 => {
                let (deliveries, events) = (self.rng.u32(..4), self.rng.u32(..3));
                if let Some(peer) = self.peers[at] {
                    self.world.credit(peer, deliveries, events);
                    self.look();
                }
            }
            82..88 => {
                if let Some(peer) = self.peers[at] {
                    self.world.frame(peer, ClientFrame::Acknowledge { through: self.events[at] });
                    self.look();
                }
            }
            88..90 => {
                if let Some(peer) = self.peers[at].take() {
                    self.world.disconnect(peer);
                    self.open[at].clear();
                    self.look();
                }
            }
            90..92 => {
                if let Some(peer) = self.peers[at].take() {
                    self.world.frame(peer, ClientFrame::Goodbye);
                    self.look();
                }
                self.connect(at);
            }
            92..95 => {
                let change = InboxChange {
                    when_full: Some(self.pick(WhenFull::ALL)),
                    limit: self.pick(&[None, Some(0), Some(2)]),
                    ..Default::default()
                };
                let inbox = self.pick(&["agent:a", "agent:b", "skill:s"]).parse().unwrap();
                self.send(Operation::SetInbox { inbox, change: Box::new(change) });
            }
            95..97 => {
                let when_full = self.pick(WhenFull::ALL);
                self.world.configure(|config| config.when_full = when_full);
                self.look();
            }
            97 if self.rng.u8(..) < 128 => self.kill(),
            _ => {
                let span = Duration::from_millis(self.rng.u64(1..200));
                self.world.pass(span);
                self.look();
            }
        }
    }
}

#[test]
fn the_books_balance_and_every_operation_is_answered_whatever_happens() {
    for seed in 0..100 {
        println!("seed {seed}");
        let mut run = Run::new(seed);
        for _ in 0..400 {
            run.step();
            // What is not answered waits outside.
            let open: usize = run.open.iter().map(BTreeSet::len).sum();
            assert_eq!(open as u64, run.world.stats().waiting_outside);
        }
        // Nobody waits outside for longer than that. The steps are small, or the broker would
        // think that it was away.
        for _ in 0..10 {
            run.world.pass(Duration::from_millis(100));
            run.look();
        }
        assert!(run.open.iter().all(BTreeSet::is_empty), "unanswered: {:?}", run.open);
    }
}
