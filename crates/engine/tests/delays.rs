//! Delays run on the monotonic clock; a time that somebody names is one on the wall.

use crate::world::{Peer, World, config, own};
use std::time::Duration;
use trunkline_engine::{Command, Effect, EngineConfig};
use trunkline_types::session::Operation;
use trunkline_types::{Durability, Kind, Outcome, Publish, WallTime};

const LEVELS: [Durability; 3] = [Durability::Synced, Durability::Buffered, Durability::Ephemeral];
const DAY: u64 = 86_400_000;
/// What the wall shows at first: late enough to be set back.
const WALL: WallTime = WallTime(10 * DAY);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
enum Jump {
    Nowhere,
    Back,
    Ahead,
    /// By less than a day.
    Somewhat,
}

const JUMPS: [Jump; 3] = [Jump::Nowhere, Jump::Back, Jump::Ahead];

fn jump(world: &mut World, jump: Jump) {
    let WallTime(wall) = world.now.wall;
    world.now.wall = WallTime(match jump {
        Jump::Nowhere => wall,
        Jump::Back => wall - DAY,
        Jump::Ahead => wall + DAY,
        Jump::Somewhat => wall + DAY - 60_000,
    });
}

fn world() -> (World, Peer, Peer) {
    let mut world = World::new(EngineConfig { lease: 30 * SECOND, ..config() });
    world.now.wall = WALL;
    let (client, agent) = (world.client(1), world.agent(2, "a"));
    (world, client, agent)
}

fn work(world: &mut World, level: Durability) -> Publish {
    let mut publish = world.message(Kind::Request, "skill:s");
    publish.options.durability = Some(level);
    publish.options.attempts = Some(3);
    publish
}

/// Lets seconds pass one by one, and says after how many the agent gets something.
fn comes_after(world: &mut World, agent: Peer, most: u64) -> Option<u64> {
    (1..=most).find(|_| {
        world.pass(SECOND);
        !world.deliveries(agent).is_empty()
    })
}

/// A world in which a retry waits out a delay, with the agent.
fn retried(level: Durability, delay: Duration) -> (World, Peer) {
    let (mut world, mut client, mut agent) = world();
    let publish = work(&mut world, level);
    world.publish(&mut client, &publish).unwrap();
    let token = world.deliveries(agent).remove(0).token;
    let outcome = Outcome::Retry { reason: "later".into(), delay: Some(delay) };
    world.settle(&mut agent, token, outcome);
    (world, agent)
}

/// Says the beginning of the log again and lets it go.
fn clean(world: &mut World) {
    let before = world.records.last().unwrap().0.next();
    loop {
        world.handle(Command::Clean { before });
        if world.effects.contains(&Effect::Cleaned { before }) {
            break;
        }
    }
    world.records.retain(|(at, _)| *at >= before);
}

#[test]
fn a_retry_waits_out_its_delay_whichever_way_the_wall_clock_goes() {
    for (level, way) in LEVELS.iter().flat_map(|level| JUMPS.map(|way| (*level, way))) {
        let (mut world, agent) = retried(level, 5 * SECOND);
        jump(&mut world, way);
        assert_eq!(comes_after(&mut world, agent, 60), Some(5), "{level} {way:?}");
    }
}

#[test]
fn a_delayed_message_waits_out_its_delay_whichever_way_the_wall_clock_goes() {
    for (level, way) in LEVELS.iter().flat_map(|level| JUMPS.map(|way| (*level, way))) {
        let (mut world, mut client, agent) = world();
        let mut publish = work(&mut world, level);
        publish.options.delay = Some(5 * SECOND);
        world.publish(&mut client, &publish).unwrap();
        jump(&mut world, way);
        assert_eq!(comes_after(&mut world, agent, 60), Some(5), "{level} {way:?}");
    }
}

#[test]
fn a_delayed_event_is_routed_after_its_delay_whichever_way_the_wall_clock_goes() {
    for (level, way) in LEVELS.iter().flat_map(|level| JUMPS.map(|way| (*level, way))) {
        let (mut world, mut client, mut agent) = world();
        world.ask(&mut agent, Operation::Subscribe(own("t"))).unwrap();
        let mut event = world.event("topic:t");
        event.options.durability = Some(level);
        event.options.delay = Some(5 * SECOND);
        world.publish(&mut client, &event).unwrap();
        jump(&mut world, way);
        let after = (1..=60).find(|_| {
            world.pass(SECOND);
            !world.events(agent).is_empty()
        });
        assert_eq!(after, Some(5), "{level} {way:?}");
    }
}

#[test]
fn a_time_that_its_sender_names_is_one_on_the_wall() {
    for level in LEVELS {
        for delay in [None, Some(SECOND)] {
            for (way, after) in
                [(Jump::Nowhere, Some(5)), (Jump::Back, None), (Jump::Ahead, Some(1))]
            {
                let (mut world, mut client, agent) = world();
                let mut publish = work(&mut world, level);
                publish.options.not_before = Some(WALL.after(5 * SECOND));
                publish.options.delay = delay;
                world.publish(&mut client, &publish).unwrap();
                jump(&mut world, way);
                assert_eq!(comes_after(&mut world, agent, 60), after, "{level} {way:?} {delay:?}");
            }
        }
    }
}

#[test]
fn after_a_restart_what_is_left_of_a_delay_counts_and_never_more_than_the_whole() {
    for level in [Durability::Synced, Durability::Buffered] {
        for (way, after) in [(Jump::Nowhere, 6), (Jump::Back, 10), (Jump::Ahead, 0)] {
            for (delayed, cleaned) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut world = if delayed {
                    let (mut world, mut client, _) = world();
                    let mut publish = work(&mut world, level);
                    publish.options.delay = Some(10 * SECOND);
                    world.publish(&mut client, &publish).unwrap();
                    world
                } else {
                    retried(level, 10 * SECOND).0
                };
                (0..4).for_each(|_| world.pass(SECOND));
                if cleaned {
                    clean(&mut world);
                }
                jump(&mut world, way);
                let mut world = world.killed();
                let agent = world.agent(3, "b");
                let found = match world.deliveries(agent).len() {
                    0 => comes_after(&mut world, agent, 60),
                    _ => Some(0),
                };
                let case = format!("{level} {way:?}, delayed: {delayed}, cleaned: {cleaned}");
                assert_eq!(found, Some(after), "{case}");
            }
        }
    }
}

#[test]
fn what_is_given_back_at_once_comes_at_once_however_far_the_wall_clock_is_set_back() {
    for cleaned in [false, true] {
        let (mut world, mut client, mut agent) = world();
        let publish = work(&mut world, Durability::Synced);
        world.publish(&mut client, &publish).unwrap();
        let token = world.deliveries(agent).remove(0).token;
        world.credit(agent, 0, 0);
        world.settle(&mut agent, token, Outcome::Release);
        if cleaned {
            clean(&mut world);
        }
        jump(&mut world, Jump::Back);
        let mut world = world.killed();
        let agent = world.agent(3, "b");
        assert_eq!(world.deliveries(agent).len(), 1, "cleaned: {cleaned}");
    }
}

#[test]
fn a_wall_clock_that_jumps_forwards_by_the_window_forgets_keys_and_no_other_jump_does() {
    for level in LEVELS {
        for (way, found) in [(Jump::Back, true), (Jump::Somewhat, true), (Jump::Ahead, false)] {
            let (mut world, mut client, _) = world();
            let mut keyed = || {
                let mut publish = work(&mut world, level);
                publish.envelope.idempotency_key = Some("k".parse().unwrap());
                publish
            };
            let (first, again) = (keyed(), keyed());
            world.publish(&mut client, &first).unwrap();
            jump(&mut world, way);
            world.pass(SECOND);
            let accepted = world.publish(&mut client, &again).unwrap();
            let duplicate = accepted.is_some_and(|it| it.duplicate);
            assert_eq!(duplicate, found, "{level} {way:?}");
        }
    }
}
