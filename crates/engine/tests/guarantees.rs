//! What each durability keeps through a fault, where no other test says so of all of them.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod world;

use std::time::Duration;
use trunkline_engine::{Command, EngineConfig};
use trunkline_types::session::{Delivery, Hello, Operation};
use trunkline_types::{
    CopyState, Durability, Kind, MessageId, Outcome, Publish, RefusalCode, Settle, WallTime,
};
use world::{Peer, World, config, hello, with_ttl};

const LEVELS: [Durability; 3] = [Durability::Synced, Durability::Buffered, Durability::Ephemeral];
/// Seconds after which a lease has run out.
const LEASE: usize = 31;
/// Within the resume grace.
const SHORT: Duration = Duration::from_secs(4);

fn work(world: &mut World, level: Durability) -> Publish {
    let mut publish = world.envelope(Kind::Request, "skill:s");
    publish.options.durability = Some(level);
    publish.options.attempts = Some(3);
    publish
}

/// A client, an agent that is at work, and what it holds.
fn held(level: Durability) -> (World, Peer, Peer, Delivery) {
    let mut world = World::new(config());
    let (mut client, agent) = (world.client(1), world.agent(2, "a"));
    let publish = work(&mut world, level);
    world.publish(&mut client, &publish).unwrap();
    let delivery = world.deliveries(agent).remove(0);
    (world, client, agent, delivery)
}

fn settled(world: &mut World, peer: &mut Peer, delivery: &Delivery) -> Result<(), RefusalCode> {
    let outcome = Outcome::Complete { reply: None };
    let settle = Operation::Settle(Settle { token: delivery.token, outcome });
    world.ask(peer, settle).map(drop).map_err(|refusal| refusal.code)
}

fn state(world: &mut World, id: MessageId) -> Option<CopyState> {
    world.status(id).ok().and_then(|status| status.copies.first().map(|copy| copy.state))
}

#[test]
fn a_late_result_counts_until_somebody_else_has_the_work_and_then_it_is_stale() {
    for level in LEVELS {
        for taken in [false, true] {
            let (mut world, _, mut agent, delivery) = held(level);
            world.credit(agent, 0, 0);
            let other = taken.then(|| world.agent(3, "b"));
            let mut again = 0;
            // In steps: a broker that wakes up late counts that as an absence of its own.
            for _ in 0..LEASE {
                world.pass(Duration::from_secs(1));
                again += other.map_or(0, |other| world.deliveries(other).len());
            }
            assert_eq!(again, usize::from(taken), "{level}");
            let late = settled(&mut world, &mut agent, &delivery);
            let expected = if taken { Err(RefusalCode::StaleToken) } else { Ok(()) };
            assert_eq!(late, expected, "{level}, taken: {taken}");
        }
    }
}

#[test]
fn a_session_that_comes_back_in_time_keeps_what_it_holds_however_durable_that_is() {
    for level in LEVELS {
        let (mut world, _, agent, delivery) = held(level);
        world.disconnect(agent);
        world.pass(SHORT);
        let hello = Hello { held: vec![delivery.token], ..hello(2, Some("a")) };
        let mut agent = world.try_connect(hello).unwrap();
        assert_eq!(world.deliveries(agent).len(), 0, "{level}");
        assert_eq!(settled(&mut world, &mut agent, &delivery), Ok(()), "{level}");
    }
}

#[test]
fn what_a_client_says_again_over_another_connection_is_accepted_once() {
    for level in LEVELS {
        let mut world = World::new(config());
        let (mut client, agent) = (world.client(1), world.agent(2, "a"));
        let publish = work(&mut world, level);
        world.publish(&mut client, &publish).unwrap();
        world.disconnect(client);
        // The answer was lost, so the client says it again under the same number.
        let mut client = world.try_connect(hello(1, None)).unwrap();
        world.publish(&mut client, &publish).unwrap();
        assert_eq!(world.deliveries(agent).len(), 0, "{level}");
        assert_eq!(world.stats().counters.accepted, 1, "{level}");
    }
}

#[test]
fn a_jump_of_the_wall_clock_takes_no_lease_away() {
    for level in LEVELS {
        for wall in [0, 1_000_000_000] {
            let (mut world, _, mut agent, delivery) = held(level);
            let other = world.agent(3, "b");
            world.now.wall = WallTime(wall);
            world.pass(Duration::from_secs(1));
            assert_eq!(world.deliveries(other).len(), 0, "{level} at {wall}");
            assert_eq!(settled(&mut world, &mut agent, &delivery), Ok(()), "{level} at {wall}");
        }
    }
}

#[test]
fn a_time_to_live_follows_the_wall_clock_forwards() {
    for level in LEVELS {
        let mut world = World::new(config());
        let mut client = world.client(1);
        let publish = with_ttl(work(&mut world, level), 60_000);
        let id = publish.envelope.id;
        world.publish(&mut client, &publish).unwrap();
        world.pass(Duration::from_secs(1));
        assert!(state(&mut world, id).is_some(), "{level}");
        world.now.wall = world.now.wall.after(Duration::from_hours(1));
        world.pass(Duration::from_secs(1));
        assert_eq!(world.stats().counters.expired, 1, "{level}");
    }
}

#[test]
fn a_full_disk_refuses_what_would_be_logged_and_takes_what_is_in_memory_only() {
    for level in LEVELS {
        let (mut world, mut client, mut agent, delivery) = held(level);
        world.handle(Command::Space { ample: false });
        let publish = work(&mut world, level);
        let refused = world.publish(&mut client, &publish).map(drop).map_err(|no| no.code);
        let ephemeral = level == Durability::Ephemeral;
        let expected = if ephemeral { Ok(()) } else { Err(RefusalCode::DiskFull) };
        assert_eq!(refused, expected, "{level}");
        // What was begun is finished.
        assert_eq!(settled(&mut world, &mut agent, &delivery), Ok(()), "{level}");
        world.handle(Command::Space { ample: true });
        let publish = work(&mut world, level);
        world.publish(&mut client, &publish).unwrap();
    }
}

#[test]
fn a_stop_loses_what_is_ephemeral_and_keeps_the_rest_with_its_lease() {
    for level in LEVELS {
        let (world, _, _, delivery) = held(level);
        let id = delivery.publish.envelope.id;
        let mut world = world.killed();
        let kept = level != Durability::Ephemeral;
        assert_eq!(state(&mut world, id).is_some(), kept, "{level}");
        let hello = Hello { held: vec![delivery.token], ..hello(2, Some("a")) };
        let mut agent = world.try_connect(hello).unwrap();
        assert_eq!(world.deliveries(agent).len(), 0, "{level}");
        let late = settled(&mut world, &mut agent, &delivery);
        assert_eq!(late.is_ok(), kept, "{level}");
    }
}

#[test]
fn whoever_is_refused_because_the_log_is_behind_is_told_when_to_come_back() {
    let hint = Duration::from_secs(7);
    let mut world = World::new(EngineConfig { full_hint: hint, ..config() });
    let mut client = world.client(1);
    world.handle(Command::Congestion { congested: true });
    let publish = work(&mut world, Durability::Synced);
    let refusal = world.publish(&mut client, &publish).unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after), (RefusalCode::Unavailable, Some(hint)));
    let nothing_logged = work(&mut world, Durability::Ephemeral);
    world.publish(&mut client, &nothing_logged).unwrap();
    world.handle(Command::Congestion { congested: false });
    world.publish(&mut client, &publish).unwrap();
}
