//! To whom a continued task goes.

use super::task;
use crate::stage::{Peer, Stage, config, deliveries, millis, settle};
use trunkline_engine::{Command, Effect};
use trunkline_types::session::{ClientFrame, Credit, Operation, SessionItem};
use trunkline_types::{Durability, MessageId, Outcome, PauseReason};

/// A task that `a` paused, and `b`, which has less to do.
struct Scene {
    stage: Stage,
    a: Peer,
    b: Peer,
    client: Peer,
    task: MessageId,
}

fn scene() -> Scene {
    let mut stage = Stage::new(config());
    let (mut a, mut client) = (stage.agent(1, "a"), stage.client(2));
    let publish = task(&mut stage, "skill:s");
    let sent = stage.publish(&mut client, &publish).unwrap();
    let token = deliveries(&sent)[0].token;
    for _ in 0..3 {
        let more = task(&mut stage, "skill:s");
        stage.publish(&mut client, &more).unwrap();
    }
    let outcome = Outcome::Pause { reason: PauseReason::Input, message: None };
    stage.ask(&mut a, settle(token, outcome)).unwrap();
    let b = stage.agent(3, "b");
    Scene { stage, a, b, client, task: publish.envelope.id }
}

impl Scene {
    /// Continues the task, and checks that it goes to that session alone.
    fn goes_to(mut self, taker: fn(&Self) -> &Peer) {
        let operation = Operation::Continue { task: self.task, payload: "go on".into() };
        let effects = self.stage.ask(&mut self.client, operation).unwrap();
        let takers: Vec<_> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Item { connection, item: SessionItem::Delivery(_) } => Some(*connection),
                _ => None,
            })
            .collect();
        assert_eq!(takers, [taker(&self).connection]);
    }

    fn frame(&mut self, frame: ClientFrame) {
        let connection = self.a.connection;
        self.stage.handle(Command::Frame { connection, frame, verdicts: Vec::new() });
    }
}

#[test]
fn a_continued_task_goes_back_to_the_agent_that_paused_it() {
    scene().goes_to(|scene| &scene.a);
}

#[test]
fn a_continued_task_does_not_wait_for_an_agent_that_is_gone() {
    let mut scene = scene();
    scene.stage.disconnect(&scene.a);
    scene.goes_to(|scene| &scene.b);
}

#[test]
fn a_continued_task_does_not_wait_for_an_agent_that_drains() {
    let mut scene = scene();
    scene.frame(ClientFrame::Drain);
    scene.goes_to(|scene| &scene.b);
}

#[test]
fn a_continued_task_does_not_wait_for_an_agent_without_credit() {
    let mut scene = scene();
    scene.frame(ClientFrame::Credit(Credit { deliveries: 3, events: 0 }));
    scene.goes_to(|scene| &scene.b);
}

#[test]
fn after_a_restart_a_continued_task_goes_back_all_the_same_once_the_agent_is_there() {
    let scene = scene();
    let mut stage = scene.stage.restarted(millis(1));
    let (b, a) = (stage.agent(13, "b"), stage.agent(11, "a"));
    let client = stage.client(12);
    Scene { stage, a, b, client, task: scene.task }.goes_to(|scene| &scene.a);
}

#[test]
fn a_continued_task_waits_for_the_log_though_an_earlier_return_of_it_is_durable() {
    let mut stage = Stage::new(config());
    let (mut a, mut client) = (stage.agent(1, "a"), stage.client(2));
    let mut publish = task(&mut stage, "skill:s");
    publish.options.durability = Some(Durability::Synced);
    let sent = stage.publish(&mut client, &publish).unwrap();
    let token = deliveries(&sent)[0].token;
    // Its lease runs out, and what pauses it comes late, all while the log is busy.
    stage.is_fast = false;
    while stage.out.records.is_empty() {
        stage.pass(millis(400));
    }
    let returned = stage.out.records.last().expect("the return of the task").0;
    let outcome = Outcome::Pause { reason: PauseReason::Input, message: None };
    stage.ask(&mut a, settle(token, outcome)).unwrap();
    let task = publish.envelope.id;
    let go_on = Operation::Continue { task, payload: "go on".into() };
    stage.ask(&mut client, go_on).unwrap();

    stage.engine.durable(stage.now, returned, returned, &mut stage.out);
    assert_eq!(deliveries(&stage.commit()), [], "what its caller said is not durable yet");
    stage.is_fast = true;
    assert_eq!(deliveries(&stage.commit()).len(), 1);
}
