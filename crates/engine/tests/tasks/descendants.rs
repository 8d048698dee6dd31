//! Calling a task off together with all that it led to.

use super::{child, publish_all, state, task};
use crate::stage::{Peer, Stage, cancels, config, deliveries, items, millis, settle};
use trunkline_engine::Effect;
use trunkline_types::session::{CANCELED_AT_ONCE, Operation, SessionItem};
use trunkline_types::{MessageId, Outcome, Publish, Refusal, RefusalCode, TaskState};

fn cancel_tree(
    stage: &mut Stage,
    peer: &mut Peer,
    id: MessageId,
) -> Result<(u32, Vec<Effect>), Refusal> {
    let reason = "enough".to_owned();
    let effects = stage.ask(peer, Operation::Cancel { id, reason, descendants: true })?;
    let count = items(&effects).find_map(|item| match item {
        SessionItem::Canceled(canceled) => Some(canceled.messages),
        _ => None,
    });
    Ok((count.expect("it is told how many there were"), effects))
}

/// A root, two children of it and a child of the first; and another root.
fn tree(stage: &mut Stage, client: &mut Peer) -> [Publish; 5] {
    let root = task(stage, "skill:x");
    let first = child(stage, &root, "skill:x");
    let second = child(stage, &root, "skill:x");
    // This one somebody serves.
    let below = child(stage, &first, "skill:s");
    let other = task(stage, "skill:x");
    let all = [root, first, second, below, other];
    for publish in &all {
        stage.publish(client, publish).unwrap();
    }
    all
}

#[test]
fn with_a_task_what_waits_below_it_is_removed_and_who_holds_some_is_told() {
    let mut stage = Stage::new(config());
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let [root, first, second, below, other] =
        tree(&mut stage, &mut client).map(|task| task.envelope.id);
    let (count, effects) = cancel_tree(&mut stage, &mut client, root).unwrap();
    assert_eq!(count, 4);
    let called_off = cancels(&effects);
    assert_eq!(called_off.len(), 1, "the holder of the one that is held");
    for id in [root, first, second, below] {
        assert_eq!(state(&mut stage, id), TaskState::Canceled);
    }
    assert_eq!(state(&mut stage, other), TaskState::Submitted);
    let late = settle(called_off[0].0, Outcome::Complete { reply: Some("late".into()) });
    assert_eq!(stage.ask(&mut agent, late).unwrap_err().code, RefusalCode::StaleToken);
    assert_eq!(cancel_tree(&mut stage, &mut client, root).unwrap().0, 0, "said again");
    let mut stage = stage.restarted(millis(1));
    assert_eq!(state(&mut stage, below), TaskState::Canceled);
    assert_eq!(state(&mut stage, other), TaskState::Submitted);
}

#[test]
fn without_descendants_only_the_task_itself_is_called_off() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let [root, first, ..] = tree(&mut stage, &mut client).map(|task| task.envelope.id);
    let cancel = Operation::Cancel { id: root, reason: "enough".into(), descendants: false };
    stage.ask(&mut client, cancel).unwrap();
    assert_eq!(state(&mut stage, root), TaskState::Canceled);
    assert_eq!(state(&mut stage, first), TaskState::Submitted);
}

#[test]
fn with_a_task_that_is_no_root_only_what_is_below_it_is_called_off() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let [root, first, second, below, _] =
        tree(&mut stage, &mut client).map(|task| task.envelope.id);
    assert_eq!(cancel_tree(&mut stage, &mut client, first).unwrap().0, 2);
    for (id, expected) in [
        (root, TaskState::Submitted),
        (first, TaskState::Canceled),
        (second, TaskState::Submitted),
        (below, TaskState::Canceled),
    ] {
        assert_eq!(state(&mut stage, id), expected);
    }
}

#[test]
fn what_a_task_led_to_is_called_off_although_the_task_has_ended() {
    let mut stage = Stage::new(config());
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let root = task(&mut stage, "skill:s");
    let sent = stage.publish(&mut client, &root).unwrap();
    let below = child(&mut stage, &root, "skill:x");
    stage.publish(&mut client, &below).unwrap();
    stage.complete(&mut agent, deliveries(&sent)[0].token, "done");
    let (root, below) = (root.envelope.id, below.envelope.id);
    assert_eq!(cancel_tree(&mut stage, &mut client, root).unwrap().0, 1);
    assert_eq!(state(&mut stage, root), TaskState::Completed);
    assert_eq!(state(&mut stage, below), TaskState::Canceled);
    let refusal = cancel_tree(&mut stage, &mut client, root).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::WrongState);
}

#[test]
fn causes_that_lead_in_a_circle_lead_to_nothing_else() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let root = task(&mut stage, "skill:x");
    let named = child(&mut stage, &root, "skill:x");
    let mut one = child(&mut stage, &root, "skill:x");
    let two = child(&mut stage, &one, "skill:x");
    one.envelope.causation_id = Some(two.envelope.id);
    for publish in [&root, &named, &one, &two] {
        stage.publish(&mut client, publish).unwrap();
    }
    assert_eq!(cancel_tree(&mut stage, &mut client, named.envelope.id).unwrap().0, 1);
}

#[test]
fn no_more_are_called_off_at_once_than_may_be() {
    let mut stage = Stage::new(config());
    let mut client = stage.client(1);
    let root = task(&mut stage, "skill:x");
    stage.publish(&mut client, &root).unwrap();
    let below: Vec<_> =
        (0..=CANCELED_AT_ONCE).map(|_| child(&mut stage, &root, "skill:x")).collect();
    publish_all(&mut stage, &mut client, &below);
    let id = root.envelope.id;
    assert_eq!(cancel_tree(&mut stage, &mut client, id).unwrap().0, CANCELED_AT_ONCE);
    assert_eq!(cancel_tree(&mut stage, &mut client, id).unwrap().0, 2);
    assert_eq!(stage.stats().tasks_open, 0);
}
