//! What a watcher is told while it watches.

use super::task;
use crate::stage::{Stage, config, deliveries, items, settle};
use trunkline_engine::EngineConfig;
use trunkline_types::session::{Operation, SessionItem};
use trunkline_types::{Outcome, PauseReason, TaskUpdate};

#[test]
fn events_of_one_command_that_are_not_kept_are_told_as_a_gap() {
    let mut stage = Stage::new(EngineConfig { task_events: 1, ..config() });
    let (mut agent, mut client) = (stage.agent(1, "a"), stage.client(2));
    let publish = task(&mut stage, "skill:s");
    let sent = stage.publish(&mut client, &publish).unwrap();
    let watch = Operation::Watch { task: publish.envelope.id, after: 2 };
    stage.ask(&mut client, watch).unwrap();
    // The question is an event, and so is the state after it.
    let message = Some("which one?".into());
    let outcome = Outcome::Pause { reason: PauseReason::Input, message };
    let effects = stage.ask(&mut agent, settle(deliveries(&sent)[0].token, outcome)).unwrap();
    let told: Vec<_> = items(&effects)
        .filter_map(|item| match item {
            SessionItem::Task { update: TaskUpdate::Gap { first, last }, .. } => {
                Some((*first, *last))
            }
            SessionItem::Task { update: TaskUpdate::Event(event), .. } => Some((event.number, 0)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(3, 3), (4, 0)]);
}
