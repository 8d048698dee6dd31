//! What is sent again after a broken connection is answered as it was the first time, though the
//! window of its idempotency key is over.

use crate::world::{World, config};
use std::time::Duration;
use trunkline_engine::EngineConfig;
use trunkline_types::session::Accepted;
use trunkline_types::{Kind, MessageId, Publish, Refusal};

const WINDOW: Duration = Duration::from_secs(10);

fn world() -> World {
    World::new(EngineConfig { key_window: WINDOW, ..config() })
}

fn keyed(world: &mut World, key: &str) -> Publish {
    let mut publish = world.message(Kind::Event, "agent:a");
    publish.envelope.idempotency_key = Some(key.parse().unwrap());
    publish
}

/// What an answer says came first under the key, if it says so.
fn came_first(answer: Result<Option<Accepted>, Refusal>) -> Option<MessageId> {
    answer.unwrap().filter(|accepted| accepted.duplicate).map(|accepted| accepted.id)
}

#[test]
fn what_was_accepted_is_not_said_to_repeat_what_came_under_its_key_later() {
    let mut world = world();
    let mut sender = world.client(1);
    let (first, later) = (keyed(&mut world, "k"), keyed(&mut world, "k"));
    assert_eq!(came_first(world.publish(&mut sender, &first)), None);
    world.pass(WINDOW);
    assert_eq!(came_first(world.publish(&mut sender, &later)), None, "the window is over");
    world.disconnect(sender);
    let mut sender = world.client(1);
    assert_eq!(came_first(world.publish(&mut sender, &first)), None);
    assert_eq!(came_first(world.publish(&mut sender, &later)), None);
}

#[test]
fn a_repeat_stays_the_repeat_of_what_came_first_when_the_window_is_over() {
    let mut world = world();
    let (mut one, mut two) = (world.client(1), world.client(2));
    let (first, repeat) = (keyed(&mut world, "k"), keyed(&mut world, "k"));
    assert_eq!(came_first(world.publish(&mut one, &first)), None);
    assert_eq!(came_first(world.publish(&mut two, &repeat)), Some(first.envelope.id));
    world.pass(WINDOW);
    // Every use of a key lets go of those whose window is over.
    let other = keyed(&mut world, "other");
    assert_eq!(came_first(world.publish(&mut one, &other)), None);
    world.disconnect(two);
    let mut two = world.client(2);
    assert_eq!(came_first(world.publish(&mut two, &repeat)), Some(first.envelope.id));
}
