//! A continued task goes back to its agent wherever payloads are.

use super::{Spilling, few};
use crate::world::Peer;
use trunkline_types::session::Operation;
use trunkline_types::{MessageId, Outcome, PauseReason};

#[test]
fn a_continued_task_goes_back_to_its_agent_though_what_never_left_waits_for_a_payload() {
    let mut it = Spilling::new(0);
    let mut a = it.world.try_connect(few(4)).unwrap();
    let paused = it.send("skill:s", |_| {});
    let token = it.world.deliveries(a)[0].token;
    it.send("skill:s", |_| {});
    it.send("skill:s", |_| {});
    let outcome = Outcome::Pause { reason: PauseReason::Input, message: None };
    it.world.settle(&mut a, token, outcome);
    let b = it.world.agent(3, "b");
    it.world.credit(a, 0, 0);
    it.world.credit(b, 0, 0);
    it.send("skill:s", |_| {});
    let last = it.send("skill:s", |_| {});
    it.world.credit(b, 1, 0);
    assert_eq!(it.world.deliveries(b).len(), 1);
    let wanted = it.wanted();
    assert_eq!(wanted.len(), 1, "the last one is out");
    it.world.credit(b, 4, 0);
    it.world.credit(a, 4, 0);
    let operation = Operation::Continue { task: paused, payload: "go on".into() };
    it.world.send(&mut it.sender, operation);
    let to = |agent| it.world.deliveries(agent).len();
    assert_eq!((to(a), to(b)), (1, 0), "though b has less to do");
    assert_eq!(it.world.deliveries(a)[0].publish.envelope.id, paused);
    it.load(wanted);
    assert_eq!(it.world.deliveries(b)[0].publish.envelope.id, last);
}

/// A task that `a` paused and whose payload is out, what else `a` gave back before, and `b`, which
/// has less to do.
struct Paused {
    it: Spilling,
    a: Peer,
    b: Peer,
    earlier: MessageId,
    task: MessageId,
}

fn paused() -> Paused {
    let mut it = Spilling::new(1000);
    let mut a = it.world.try_connect(few(4)).unwrap();
    let earlier = it.send("skill:s", |_| {});
    let early = it.world.deliveries(a)[0].token;
    let task = it.send("skill:s", |_| {});
    let token = it.world.deliveries(a)[0].token;
    it.send("skill:s", |_| {});
    it.send("skill:s", |_| {});
    let outcome = Outcome::Pause { reason: PauseReason::Input, message: None };
    it.world.settle(&mut a, token, outcome.clone());
    it.world.settle(&mut a, early, outcome);
    it.world.configure(|config| config.payload_memory = 0);
    assert_eq!(it.figures().on_disk, 2, "nobody takes what is paused");
    let b = it.world.agent(3, "b");
    Paused { it, a, b, earlier, task }
}

impl Paused {
    fn go_on(&mut self, task: MessageId) {
        let operation = Operation::Continue { task, payload: "go on".into() };
        self.it.world.send(&mut self.it.sender, operation);
    }

    fn delivered_to(&self, agent: Peer) -> Vec<MessageId> {
        let deliveries = self.it.world.deliveries(agent).into_iter();
        deliveries.map(|delivery| delivery.publish.envelope.id).collect()
    }
}

#[test]
fn a_continued_task_goes_back_to_its_agent_though_its_payload_has_left_memory() {
    let mut it = paused();
    it.go_on(it.task);
    assert_eq!(it.delivered_to(it.a), [it.task]);
    assert_eq!(*it.it.world.deliveries(it.a)[0].publish, it.it.sent[1], "whole");
    assert!(it.delivered_to(it.b).is_empty(), "though it has less to do");
    assert_eq!(it.it.wanted(), []);
}

#[test]
fn a_continued_task_goes_back_to_its_agent_though_another_that_came_back_is_to_be_read() {
    let mut it = paused();
    it.it.world.credit(it.a, 0, 0);
    it.it.world.credit(it.b, 0, 0);
    it.go_on(it.earlier);
    let wanted = it.it.wanted();
    assert_eq!(wanted.len(), 1, "it is asked for");
    it.it.world.credit(it.a, 4, 0);
    it.it.world.credit(it.b, 100, 0);
    it.go_on(it.task);
    assert_eq!(it.delivered_to(it.b), [it.earlier], "it waits for nobody in particular");
    assert_eq!(it.delivered_to(it.a), [it.task]);
    it.it.load(wanted);
    assert!(it.delivered_to(it.a).is_empty() && it.delivered_to(it.b).is_empty(), "twice");
}

#[test]
fn a_continued_task_that_cannot_be_read_is_a_dead_letter_at_once() {
    let mut it = paused();
    it.it.records.0.lock().unwrap().clear();
    it.go_on(it.task);
    assert!(it.delivered_to(it.a).is_empty() && it.delivered_to(it.b).is_empty());
    let letters = it.it.letters();
    assert_eq!(letters[0].publish.envelope.id, it.task);
    assert!(letters[0].reason.contains("the disk is broken"), "{}", letters[0].reason);
}
