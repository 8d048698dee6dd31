//! How long a handler may run, however often it says that it is alive.

use super::world::{Peer, World, done, secs};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::{Command, EngineConfig};
use trunkline_types::session::{ClientFrame, Delivery, Operation, SessionItem};
use trunkline_types::{Answer, DeadLetterFilter, Destination, Durability, Query, Settle, Token};

const LEVELS: [Durability; 3] = [Durability::Synced, Durability::Buffered, Durability::Ephemeral];

/// A task that may be attempted so often and that an agent holds.
fn held(config: EngineConfig, attempts: u32, max_run: Option<Duration>) -> (World, Peer, Delivery) {
    held_at(Durability::Synced, config, attempts, max_run)
}

/// The same of any durability.
fn held_at(
    level: Durability,
    config: EngineConfig,
    attempts: u32,
    max_run: Option<Duration>,
) -> (World, Peer, Delivery) {
    let mut world = World::new(config);
    let (mut agent, mut client) = (world.agent("a"), world.client());
    let mut publish = world.request();
    publish.options.task = true;
    publish.options.attempts = Some(attempts);
    publish.options.max_run = max_run;
    publish.options.durability = Some(level);
    world.ask(&mut client, Operation::Publish(Arc::new(publish))).unwrap();
    let delivery = world.deliveries(&agent).remove(0);
    world.begin(&mut agent, delivery.token);
    world.take(&agent);
    (world, agent, delivery)
}

/// Time passes, and the agent says all the while that it is alive.
fn busy(world: &mut World, agent: &Peer, token: Token, seconds: u64) {
    for _ in 0..seconds {
        world.frame(agent, ClientFrame::Heartbeat { tokens: vec![token] });
        world.pass(secs(1));
    }
}

#[test]
fn a_handler_that_only_heartbeats_is_ended_and_that_was_an_attempt() {
    let (mut world, mut agent, delivery) = held(EngineConfig::default(), 2, Some(secs(90)));
    assert_eq!(delivery.max_run, Some(secs(90)));
    busy(&mut world, &agent, delivery.token, 89);
    assert!(world.take(&agent).is_empty());
    busy(&mut world, &agent, delivery.token, 1);
    let told = world.take(&agent);
    let [SessionItem::Cancel { token, reason }, SessionItem::Delivery(again)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!(*token, delivery.token);
    assert!(reason.contains("ran longer than 1m30s"), "{reason}");
    assert_eq!(again.attempt, 2);
    assert_eq!(world.stats().overran, 1);
    world.begin(&mut agent, again.token);
    busy(&mut world, &agent, again.token, 90);
    let filter = DeadLetterFilter::default();
    let Answer::DeadLetters(page) = world.query(Query::DeadLetters(filter)).unwrap() else {
        panic!("other answer");
    };
    let notes: Vec<_> = page.letters[0].attempts.iter().map(|note| note.reason.as_str()).collect();
    assert_eq!(notes, ["the handler ran longer than 1m30s"; 2]);
    assert_eq!(world.stats().overran, 2);
    world.assert_replays();
}

#[test]
fn a_handler_that_runs_too_long_is_ended_however_durable_its_work_is() {
    for level in LEVELS {
        let (mut world, agent, delivery) =
            held_at(level, EngineConfig::default(), 2, Some(secs(40)));
        busy(&mut world, &agent, delivery.token, 39);
        assert!(world.take(&agent).is_empty(), "{level}");
        busy(&mut world, &agent, delivery.token, 1);
        let told = world.take(&agent);
        let [SessionItem::Cancel { token, .. }, SessionItem::Delivery(again)] = &told[..] else {
            panic!("{level}: {told:?}");
        };
        assert_eq!((*token, again.attempt), (delivery.token, 2), "{level}");
    }
}

#[test]
fn the_brokers_bound_counts_where_the_sender_says_nothing_and_only_there() {
    let config = || EngineConfig { max_run: Some(secs(40)), ..EngineConfig::default() };
    let (mut world, agent, delivery) = held(config(), 3, None);
    assert_eq!(delivery.max_run, Some(secs(40)));
    let frame = ClientFrame::Heartbeat { tokens: vec![delivery.token] };
    world.pass(secs(20));
    world.frame(&agent, frame);
    let wake = world.engine.deadline().mono.unwrap();
    assert_eq!(wake.0, 30_000_000_000, "that of the lease before it was renewed");
    world.pass(secs(11));
    let wake = world.engine.deadline().mono.unwrap();
    assert_eq!(wake.0, 40_000_000_000, "the bound comes before the end of the lease");
    let (mut world, agent, delivery) = held(config(), 3, None);
    busy(&mut world, &agent, delivery.token, 40);
    assert_eq!(world.stats().overran, 1);
    let (mut world, agent, delivery) = held(config(), 3, Some(secs(60)));
    busy(&mut world, &agent, delivery.token, 59);
    assert_eq!(world.stats().overran, 0);
    busy(&mut world, &agent, delivery.token, 1);
    assert_eq!(world.stats().overran, 1);
    let (mut world, agent, delivery) = held(EngineConfig::default(), 3, None);
    assert_eq!(delivery.max_run, None);
    busy(&mut world, &agent, delivery.token, 600);
    assert_eq!(world.stats().overran, 0, "without a bound it may run for as long as it likes");
}

#[test]
fn a_result_after_the_bound_counts_while_nobody_else_has_begun() {
    for taken in [false, true] {
        let (mut world, mut agent, delivery) = held(EngineConfig::default(), 3, Some(secs(10)));
        let other = if taken { Some(world.agent("b")) } else { None };
        // The holder itself takes nothing more, so the work waits or goes to the other one.
        world.credit(&agent, 0);
        busy(&mut world, &agent, delivery.token, 10);
        if let Some(other) = &other {
            assert_eq!(world.deliveries(other).len(), 1);
        }
        let settle = Settle { token: delivery.token, outcome: done() };
        let result = world.ask(&mut agent, Operation::Settle(settle));
        assert_eq!(result.is_err(), taken, "{result:?}");
        world.assert_replays();
    }
}

#[test]
fn a_settled_delivery_does_not_overrun_and_the_next_one_runs_anew() {
    let (mut world, mut agent, delivery) = held(EngineConfig::default(), 3, Some(secs(10)));
    busy(&mut world, &agent, delivery.token, 9);
    let retry = trunkline_types::Outcome::Retry { reason: "again".into(), delay: Some(secs(0)) };
    world.settle(&mut agent, delivery.token, retry);
    let again = world.deliveries(&agent).remove(0);
    busy(&mut world, &agent, again.token, 9);
    assert_eq!(world.stats().overran, 0);
    busy(&mut world, &agent, again.token, 1);
    assert_eq!(world.stats().overran, 1);
}

#[test]
fn after_a_kill_the_time_that_was_run_still_counts_to_a_quarter_of_the_bound() {
    let (mut world, agent, delivery) = held(EngineConfig::default(), 3, Some(secs(20)));
    busy(&mut world, &agent, delivery.token, 17);
    let mut world = world.restarted();
    // However long the broker was away, that does not count.
    world.now.wall = world.now.wall.after(secs(3600));
    let agent = world.come_back(&agent, vec![delivery.token]).unwrap();
    busy(&mut world, &agent, delivery.token, 4);
    assert_eq!(world.stats().overran, 0, "it had run for 15 s when that was noted last");
    busy(&mut world, &agent, delivery.token, 1);
    assert_eq!(world.stats().overran, 1);
    world.assert_replays();
}

#[test]
fn after_a_stop_the_time_that_was_run_counts_in_full_also_while_the_session_is_away() {
    let (mut world, agent, delivery) = held(EngineConfig::default(), 3, Some(secs(20)));
    busy(&mut world, &agent, delivery.token, 17);
    world.handle(Command::Stop);
    let mut world = world.restarted();
    world.pass(secs(2));
    let agent = world.come_back(&agent, vec![delivery.token]).unwrap();
    assert_eq!(world.stats().overran, 0);
    busy(&mut world, &agent, delivery.token, 1);
    assert_eq!(world.stats().overran, 1);
    let mut world = world.restarted();
    let agent = world.come_back(&agent, vec![delivery.token]).unwrap();
    let again = world.deliveries(&agent).remove(0);
    assert_ne!(again.token, delivery.token, "that it was called off is known after a restart");
}

#[test]
fn a_session_that_comes_back_within_the_grace_has_no_more_time_than_before() {
    let (mut world, agent, delivery) = held(EngineConfig::default(), 3, Some(secs(20)));
    busy(&mut world, &agent, delivery.token, 15);
    world.handle(Command::Disconnect { connection: agent.connection });
    world.pass(secs(2));
    let agent = world.come_back(&agent, vec![delivery.token]).unwrap();
    busy(&mut world, &agent, delivery.token, 3);
    assert_eq!(world.stats().overran, 1);
}

#[test]
fn a_lease_that_ran_out_and_is_taken_up_again_has_no_more_time_than_before() {
    let (mut world, agent, delivery) = held(EngineConfig::default(), 3, Some(secs(50)));
    world.credit(&agent, 0);
    world.pass(secs(31));
    let agent = world.come_back(&agent, vec![delivery.token]).unwrap();
    busy(&mut world, &agent, delivery.token, 18);
    assert_eq!(world.stats().overran, 0);
    busy(&mut world, &agent, delivery.token, 1);
    assert_eq!(world.stats().overran, 1);
}

#[test]
fn a_handler_that_ran_too_long_while_its_lease_was_over_does_not_look_like_an_absence() {
    let (mut world, agent, delivery) = held(EngineConfig::default(), 3, Some(secs(35)));
    let (mut other, mut client) = (world.agent("b"), world.client());
    let mut publish = world.request();
    publish.envelope.destination = Destination::agent("b").unwrap();
    world.ask(&mut client, Operation::Publish(Arc::new(publish))).unwrap();
    let held = world.deliveries(&other).remove(0).token;
    world.begin(&mut other, held);
    // Neither takes anything else.
    world.credit(&agent, 0);
    world.credit(&other, 1);
    busy(&mut world, &other, held, 50);
    // The time of its handler was over long before.
    world.come_back(&agent, vec![delivery.token]).unwrap();
    world.pass(Duration::from_millis(1));
    assert_eq!((world.stats().overran, world.stats().gauges.leased), (1, 2));
    world.handle(Command::Disconnect { connection: other.connection });
    (0..6).for_each(|_| world.pass(secs(1)));
    assert_eq!(world.stats().gauges.leased, 1, "the broker was there, so nobody has a whole lease");
}

#[test]
fn the_brokers_own_absence_is_not_counted_as_running() {
    for level in LEVELS {
        let (mut world, agent, delivery) =
            held_at(level, EngineConfig::default(), 3, Some(secs(20)));
        busy(&mut world, &agent, delivery.token, 10);
        world.now.mono.0 += 3_600_000_000_000;
        world.pass(secs(0));
        busy(&mut world, &agent, delivery.token, 9);
        assert_eq!(world.stats().overran, 0, "{level}");
        busy(&mut world, &agent, delivery.token, 2);
        assert_eq!(world.stats().overran, 1, "{level}");
    }
}

#[test]
fn who_was_told_to_stop_does_not_take_the_work_up_again_by_coming_back() {
    let (mut world, agent, delivery) = held(EngineConfig::default(), 3, Some(secs(5)));
    world.credit(&agent, 0);
    busy(&mut world, &agent, delivery.token, 6);
    assert_eq!(world.stats().overran, 1);
    let agent = world.come_back(&agent, vec![delivery.token]).unwrap();
    let again = world.deliveries(&agent).remove(0);
    assert_ne!(again.token, delivery.token, "it begins anew, under a token of its own");
    assert_eq!(again.attempt, 2);
    world.assert_replays();
}

#[test]
fn who_is_lost_after_the_broker_was_away_has_a_whole_lease_to_come_back() {
    let lost = |away: u64| {
        let (mut world, agent, delivery) = held(EngineConfig::default(), 3, None);
        // It is stopped for so long that its agent gives the connection up.
        world.now.mono.0 += away * 1_000_000_000;
        world.handle(Command::Disconnect { connection: agent.connection });
        (0..15).for_each(|_| world.pass(secs(1)));
        let left = world.stats().gauges.leased;
        world.come_back(&agent, vec![delivery.token]).unwrap();
        left
    };
    assert_eq!(lost(120), 1, "it holds what it held");
    assert_eq!(lost(0), 0, "at any other time it has no more than the grace");
}
