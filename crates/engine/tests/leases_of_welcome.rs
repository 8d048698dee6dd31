//! A session renews its leases by what its welcome told it: a lease that is set anew holds for it
//! from its next welcome on.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod world;

use std::time::Duration;
use trunkline_engine::Effect;
use trunkline_types::session::{ClientFrame, Credit, Delivery, Hello};
use trunkline_types::{CopyState, Kind};
use world::{Peer, World, config, hello};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(5);

/// An agent that was told a lease and holds a delivery.
fn held(lease: Duration) -> (World, Peer, Delivery) {
    let mut world = World::new(config());
    world.configure(|config| config.lease = lease);
    let agent = world.agent(1, "a");
    let mut sender = world.client(2);
    let publish = world.envelope(Kind::Request, "agent:a");
    world.publish(&mut sender, &publish).unwrap();
    let delivery = world.deliveries(agent).pop().expect("the agent is there");
    // Or what is lost would be handed to it again.
    world.credit(agent, 0, 0);
    (world, agent, delivery)
}

fn is_leased(world: &mut World, delivery: &Delivery) -> bool {
    world.states(delivery.publish.envelope.id) == [CopyState::Leased]
}

/// The session comes back with what it holds; returns the lease that it is told.
fn come_back(world: &mut World, agent: Peer, delivery: &Delivery) -> Duration {
    world.disconnect(agent);
    let held = vec![delivery.token];
    let credit = Credit { deliveries: 0, events: 0 };
    world.try_connect(Hello { held, credit, ..hello(1, Some("a")) }).unwrap();
    let told = world.effects.iter().find_map(|effect| match effect {
        Effect::Welcome { result: Ok(welcome), .. } => Some(welcome.lease),
        _ => None,
    });
    told.expect("it is welcome")
}

#[test]
fn a_shorter_lease_takes_nothing_from_a_session_that_was_told_a_longer_one() {
    let (mut world, agent, delivery) = held(LONG);
    world.configure(|config| config.lease = SHORT);
    for _ in 0..4 {
        world.frame(agent, ClientFrame::Heartbeat { tokens: vec![delivery.token] });
        world.pass(LONG / 3);
        assert!(is_leased(&mut world, &delivery), "it renews in time for what it was told");
    }
}

#[test]
fn what_is_handed_out_later_has_the_lease_of_the_welcome_too() {
    let (mut world, agent, delivery) = held(LONG);
    world.configure(|config| config.lease = SHORT);
    let mut sender = world.client(3);
    let publish = world.envelope(Kind::Request, "agent:a");
    world.publish(&mut sender, &publish).unwrap();
    world.credit(agent, 2, 0);
    let later = world.deliveries(agent).pop().expect("it takes two");
    world.credit(agent, 0, 0);
    world.pass(LONG / 3);
    assert!(is_leased(&mut world, &later));
    world.frame(agent, ClientFrame::Heartbeat { tokens: vec![delivery.token] });
    world.pass(LONG * 2 / 3);
    assert!(is_leased(&mut world, &delivery), "it was renewed");
    assert!(!is_leased(&mut world, &later), "the other was not");
}

#[test]
fn the_next_welcome_tells_the_new_lease_and_it_holds_from_then_on() {
    let (mut world, agent, delivery) = held(LONG);
    world.configure(|config| config.lease = SHORT);
    assert_eq!(come_back(&mut world, agent, &delivery), SHORT);
    world.pass(SHORT.saturating_sub(Duration::from_millis(1)));
    assert!(is_leased(&mut world, &delivery));
    world.pass(Duration::from_millis(1));
    assert!(!is_leased(&mut world, &delivery), "nobody has renewed it");
}

#[test]
fn a_longer_lease_does_not_lengthen_what_a_session_was_told() {
    let (mut world, agent, delivery) = held(SHORT);
    world.configure(|config| config.lease = LONG);
    world.frame(agent, ClientFrame::Heartbeat { tokens: vec![delivery.token] });
    world.pass(SHORT);
    assert!(!is_leased(&mut world, &delivery));
}
