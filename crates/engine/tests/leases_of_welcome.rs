//! A session renews its leases by what its welcome told it: a lease that is set anew holds for it
//! from its next welcome on.

use crate::world::{Peer, World, config, hello};
use std::time::Duration;
use trunkline_engine::{Command, ConnectionKey, Effect, EngineConfig, Now, Output};
use trunkline_types::session::{ClientFrame, Credit, Delivery, Hello};
use trunkline_types::{CopyState, Kind, Principal};

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(5);

/// An agent that was told a lease and holds a delivery.
fn held(lease: Duration) -> (World, Peer, Delivery) {
    let mut world = World::new(config());
    world.configure(|config| config.lease = lease);
    let agent = world.agent(1, "a");
    let mut sender = world.client(2);
    let publish = world.message(Kind::Request, "agent:a");
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
    let publish = world.message(Kind::Request, "agent:a");
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

#[test]
fn no_lease_runs_out_while_its_holder_waits_for_the_welcome() {
    let (mut world, agent, delivery) = held(SHORT);
    world.disconnect(agent);
    let mut hello = Hello { held: vec![delivery.token], ..hello(1, Some("a")) };
    hello.credit = Credit { deliveries: 0, events: 0 };
    // Another card is recorded, and the welcome waits until that is on disk.
    hello.card.as_mut().expect("it is an agent").version = "2".into();
    let (connection, principal) = (ConnectionKey(77), Principal::default());
    let command = Command::Connect { connection, principal, hello: Box::new(hello) };
    let mut slow = Output::default();
    world.stage.engine.handle(world.stage.now, command, &mut slow);
    assert!(slow.effects.is_empty(), "the disk is slow");
    world.now =
        Now { mono: world.now.mono.after(2 * SHORT), wall: world.now.wall.after(2 * SHORT) };
    world.stage.engine.tick(world.stage.now, &mut slow);
    let latest = slow.records.last().expect("the card is recorded").0;
    world.stage.engine.durable(world.stage.now, latest, latest, &mut slow);
    let revoked = slow.effects.iter().find_map(|effect| match effect {
        Effect::Welcome { result: Ok(welcome), .. } => Some(welcome.revoked.clone()),
        _ => None,
    });
    assert_eq!(revoked, Some(Vec::new()), "it still has what it held");
    world.records.append(&mut slow.records);
    world.pass(SHORT.saturating_sub(Duration::from_millis(1)));
    assert!(is_leased(&mut world, &delivery), "its lease runs from the welcome on");
    world.pass(Duration::from_millis(1));
    assert!(!is_leased(&mut world, &delivery));
}

#[test]
fn after_a_restart_whoever_held_something_has_a_lease_to_come_back() {
    let mut world = World::new(EngineConfig { lease: SHORT, ..config() });
    let agent = world.agent(1, "a");
    let mut sender = world.client(2);
    let mut publish = world.message(Kind::Request, "agent:a");
    publish.options.task = true;
    world.publish(&mut sender, &publish).unwrap();
    let delivery = world.deliveries(agent).pop().expect("the agent is there");
    let mut world = world.restarted();
    world.pass(SHORT.saturating_sub(Duration::from_millis(1)));
    assert!(is_leased(&mut world, &delivery));
    world.pass(Duration::from_millis(1));
    assert!(!is_leased(&mut world, &delivery), "nobody came back for it");
}
