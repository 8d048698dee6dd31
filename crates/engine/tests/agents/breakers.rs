//! Circuit breakers between agents and inboxes.

use super::world::{Peer, World, done, failed, secs, skill};
use trunkline_engine::EngineConfig;
use trunkline_types::session::ClientFrame;
use trunkline_types::{AgentEvent, AgentFilter, BreakerState, Destination, InboxAddress, Outcome};

fn config(failures: u32) -> EngineConfig {
    let mut config = EngineConfig { logged: false, ..EngineConfig::default() };
    config.breaker_failures = failures;
    config.breaker_window = secs(60);
    config.breaker_open = secs(30);
    config
}

/// Delivers one request to the agent and ends it so.
fn one(world: &mut World, agent: &mut Peer, client: &mut Peer, outcome: Outcome) {
    world.publish(client, 1);
    let token = world.deliveries(agent).remove(0).token;
    world.settle(agent, token, outcome);
}

fn state(world: &mut World, agent: &str) -> Option<(BreakerState, u32)> {
    let breakers = world.info(agent).unwrap().breakers;
    assert!(breakers.iter().all(|breaker| breaker.inbox == skill()));
    breakers.first().map(|breaker| (breaker.state, breaker.failures))
}

/// A world whose only agent's breaker has just opened.
fn opened(config: EngineConfig) -> (World, Peer, Peer) {
    let failures = config.breaker_failures;
    let mut world = World::new(config);
    let (mut agent, mut client) = (world.agent("a"), world.client());
    for _ in 0..failures {
        one(&mut world, &mut agent, &mut client, failed());
    }
    (world, agent, client)
}

#[test]
fn an_agent_that_keeps_failing_gets_nothing_for_a_while_and_no_attempt_is_burnt() {
    let (mut world, agent, mut client) = opened(config(3));
    assert_eq!(state(&mut world, "a"), Some((BreakerState::Open, 3)));
    assert_eq!(world.stats().breakers_opened, 1);
    world.publish(&mut client, 3);
    world.pass(secs(29));
    assert!(world.deliveries(&agent).is_empty());
    assert_eq!(world.info("a").unwrap().breakers[0].open_for_ms, 1000);
    world.pass(secs(1));
    assert_eq!(state(&mut world, "a"), Some((BreakerState::HalfOpen, 3)));
    let probe = world.deliveries(&agent);
    assert_eq!(probe.len(), 1, "one probe");
    assert_eq!(probe[0].attempt, 1);
}

#[test]
fn with_an_open_breaker_work_goes_to_another_agent() {
    let (mut world, agent, mut client) = opened(config(3));
    world.publish(&mut client, 1);
    let other = world.agent("b");
    world.publish(&mut client, 4);
    assert_eq!(world.deliveries(&other).len(), 5);
    assert!(world.deliveries(&agent).is_empty());
}

#[test]
fn the_breaker_of_one_inbox_does_not_hold_back_the_work_of_another() {
    let (mut world, agent, mut client) = opened(config(2));
    let mut publish = world.request();
    publish.envelope.destination = Destination::agent("a").unwrap();
    let operation = trunkline_types::session::Operation::Publish(std::sync::Arc::new(publish));
    world.ask(&mut client, operation).unwrap();
    let own = InboxAddress::Agent("a".parse().unwrap());
    assert_eq!(world.deliveries(&agent)[0].inbox, own);
}

#[test]
fn a_probe_that_succeeds_closes_the_breaker_and_work_flows_at_once() {
    let (mut world, mut agent, mut client) = opened(config(2));
    world.publish(&mut client, 3);
    world.pass(secs(30));
    let probe = world.deliveries(&agent).remove(0);
    world.settle(&mut agent, probe.token, done());
    assert_eq!(state(&mut world, "a"), None);
    assert_eq!(world.deliveries(&agent).len(), 2);
}

#[test]
fn a_probe_that_fails_opens_the_breaker_again() {
    let (mut world, mut agent, mut client) = opened(config(2));
    world.publish(&mut client, 2);
    world.pass(secs(30));
    let probe = world.deliveries(&agent).remove(0);
    world.settle(&mut agent, probe.token, failed());
    assert_eq!(state(&mut world, "a").unwrap().0, BreakerState::Open);
    assert_eq!(world.stats().breakers_opened, 2);
    world.pass(secs(29));
    assert!(world.deliveries(&agent).is_empty());
    world.pass(secs(1));
    assert_eq!(world.deliveries(&agent).len(), 1);
}

#[test]
fn as_many_probes_as_configured_are_under_way_and_must_succeed() {
    let (mut world, mut agent, mut client) =
        opened(EngineConfig { breaker_probes: 2, ..config(2) });
    world.publish(&mut client, 5);
    world.pass(secs(30));
    let probes = world.deliveries(&agent);
    assert_eq!(probes.len(), 2);
    world.settle(&mut agent, probes[0].token, Outcome::Release);
    let third = world.deliveries(&agent);
    assert_eq!(third.len(), 1, "what was given back is probed with again");
    world.settle(&mut agent, probes[1].token, done());
    assert_eq!(state(&mut world, "a").unwrap().0, BreakerState::HalfOpen, "one is not enough");
    let fourth = world.deliveries(&agent);
    assert_eq!(fourth.len(), 1);
    world.settle(&mut agent, third[0].token, done());
    assert_eq!(state(&mut world, "a"), None);
    assert_eq!(world.deliveries(&agent).len(), 2);
}

#[test]
fn a_probe_whose_session_leaves_makes_room_for_another() {
    let (mut world, agent, mut client) = opened(config(2));
    world.publish(&mut client, 2);
    let second = world.agent("a");
    world.pass(secs(30));
    let held = [&agent, &second].map(|peer| world.deliveries(peer).len());
    assert_eq!(held.iter().sum::<usize>(), 1);
    let (holder, other) = if held[0] == 1 { (&agent, &second) } else { (&second, &agent) };
    world.frame(holder, ClientFrame::Goodbye);
    assert_eq!(world.deliveries(other).len(), 1);
}

#[test]
fn a_probe_that_is_declined_makes_room_for_another() {
    let (mut world, agent, mut client) = opened(config(2));
    let second = world.agent("a");
    world.publish(&mut client, 2);
    world.pass(secs(30));
    let mut held = [agent, second].map(|peer| (world.deliveries(&peer), peer));
    held.sort_by_key(|(held, _)| held.len());
    let [(none, other), (probes, mut holder)] = held;
    assert_eq!((none.len(), probes.len()), (0, 1));
    world.frame(&holder, ClientFrame::Drain);
    world.settle(&mut holder, probes[0].token, Outcome::Reject { reason: "no".to_owned() });
    assert_eq!(world.deliveries(&other).len(), 1, "though the holder takes nothing new");
}

#[test]
fn what_was_delivered_before_it_opened_decides_nothing_while_it_is_half_open() {
    let mut world = World::new(config(2));
    let (mut agent, mut client) = (world.agent("a"), world.client());
    world.publish(&mut client, 4);
    let held = world.deliveries(&agent);
    world.settle(&mut agent, held[0].token, failed());
    world.settle(&mut agent, held[1].token, failed());
    let renew = ClientFrame::Heartbeat { tokens: held.iter().map(|held| held.token).collect() };
    world.pass(secs(20));
    world.frame(&agent, renew);
    world.pass(secs(10));
    world.settle(&mut agent, held[2].token, done());
    world.settle(&mut agent, held[3].token, failed());
    assert_eq!(state(&mut world, "a").unwrap().0, BreakerState::HalfOpen);
}

#[test]
fn failures_that_are_further_apart_than_the_window_do_not_add_up() {
    let mut world = World::new(config(2));
    let (mut agent, mut client) = (world.agent("a"), world.client());
    for _ in 0..3 {
        one(&mut world, &mut agent, &mut client, failed());
        assert_eq!(state(&mut world, "a"), Some((BreakerState::Closed, 1)));
        world.pass(secs(61));
        assert_eq!(state(&mut world, "a"), None);
    }
    one(&mut world, &mut agent, &mut client, failed());
    world.pass(secs(59));
    one(&mut world, &mut agent, &mut client, failed());
    assert_eq!(state(&mut world, "a").unwrap().0, BreakerState::Open);
}

#[test]
fn a_success_in_between_shows_that_the_agent_does_not_keep_failing() {
    let mut world = World::new(config(2));
    let (mut agent, mut client) = (world.agent("a"), world.client());
    for _ in 0..5 {
        one(&mut world, &mut agent, &mut client, failed());
        one(&mut world, &mut agent, &mut client, done());
        assert_eq!(state(&mut world, "a"), None);
    }
    one(&mut world, &mut agent, &mut client, failed());
    one(&mut world, &mut agent, &mut client, failed());
    assert_eq!(state(&mut world, "a").unwrap().0, BreakerState::Open);
}

#[test]
fn without_a_number_of_failures_there_are_no_breakers() {
    let mut world = World::new(config(0));
    let (mut agent, mut client) = (world.agent("a"), world.client());
    for _ in 0..50 {
        one(&mut world, &mut agent, &mut client, failed());
    }
    assert_eq!(state(&mut world, "a"), None);
    assert_eq!(world.stats().breakers_opened, 0);
}

#[test]
fn retries_failures_and_dead_letters_count_and_declined_or_released_work_does_not() {
    let reason = || "no".to_owned();
    let retry = Outcome::Retry { reason: reason(), delay: None };
    let cases = [
        (failed(), true),
        (retry, true),
        (Outcome::DeadLetter { reason: reason() }, true),
        (Outcome::Reject { reason: reason() }, false),
        (done(), false),
    ];
    for (outcome, counts) in cases {
        let mut world = World::new(config(1));
        let (mut agent, mut client) = (world.agent("a"), world.client());
        one(&mut world, &mut agent, &mut client, outcome.clone());
        let open = state(&mut world, "a").is_some();
        assert_eq!(open, counts, "{outcome:?}");
    }
}

#[test]
fn a_lease_that_runs_out_counts_if_the_handler_had_begun() {
    for begun in [false, true] {
        let mut world = World::new(config(1));
        let (mut agent, mut client) = (world.agent("a"), world.client());
        world.publish(&mut client, 1);
        let token = world.deliveries(&agent).remove(0).token;
        if begun {
            world.begin(&mut agent, token);
        }
        world.pass(secs(30));
        assert_eq!(state(&mut world, "a").is_some(), begun);
    }
}

#[test]
fn a_session_lost_while_its_handler_was_at_work_counts() {
    let mut world = World::new(config(1));
    let (mut agent, mut client) = (world.agent("a"), world.client());
    world.publish(&mut client, 1);
    let token = world.deliveries(&agent).remove(0).token;
    world.begin(&mut agent, token);
    world.handle(trunkline_engine::Command::Disconnect { connection: agent.connection });
    world.pass(secs(5));
    assert!(state(&mut world, "a").is_some());
}

#[test]
fn a_breaker_that_opens_and_closes_is_news_of_the_directory() {
    let (mut world, mut agent, mut client) = opened(config(2));
    let mut follower = world.client();
    let follow = trunkline_types::session::Operation::WatchAgents(Box::<AgentFilter>::default());
    world.ask(&mut follower, follow).unwrap();
    world.take(&follower);
    world.publish(&mut client, 1);
    world.pass(secs(30));
    let probe = world.deliveries(&agent).remove(0);
    world.settle(&mut agent, probe.token, failed());
    world.pass(secs(30));
    let probe = world.deliveries(&agent);
    assert!(probe.is_empty(), "it had failed for good");
    one(&mut world, &mut agent, &mut client, done());
    let news = world.news(&follower);
    assert!(news.iter().all(|news| news.event == AgentEvent::Changed));
    let states: Vec<_> =
        news.iter().map(|news| news.agent.breakers.first().map(|breaker| breaker.state)).collect();
    let (open, half) = (Some(BreakerState::Open), Some(BreakerState::HalfOpen));
    assert_eq!(states, [half, open, half, None]);
}

#[test]
fn breakers_are_closed_after_a_restart_and_gone_with_their_agent() {
    let (mut world, _agent, mut client) = opened(EngineConfig { logged: true, ..config(2) });
    assert!(state(&mut world, "a").is_some());
    world.publish(&mut client, 1);
    let operation = trunkline_types::session::Operation::Unregister { agent: "a".parse().unwrap() };
    world.ask(&mut client, operation).unwrap();
    let again = world.agent("a");
    assert_eq!(world.deliveries(&again).len(), 1, "it starts afresh");
    let (world, _agent, _client) = opened(EngineConfig { logged: true, ..config(2) });
    let mut world = world.restarted();
    world.agent("a");
    assert_eq!(state(&mut world, "a"), None);
}

#[test]
fn the_brokers_own_absence_keeps_no_breaker_open_for_less() {
    let (mut world, agent, mut client) =
        opened(EngineConfig { breaker_open: secs(60), ..config(2) });
    world.publish(&mut client, 1);
    // The timers of leases have gone off by then: only the breaker's is left to be late.
    world.pass(secs(40));
    // It was stopped for an hour and wakes far too late.
    world.now.mono.0 += 3_600_000_000_000;
    world.pass(secs(1));
    assert!(world.deliveries(&agent).is_empty());
    world.pass(secs(30));
    assert_eq!(world.deliveries(&agent).len(), 1);
}

#[test]
fn failures_add_up_and_a_breaker_stays_open_for_as_long_as_is_set() {
    let spans = EngineConfig { breaker_window: secs(7), breaker_open: secs(3), ..config(2) };
    let mut world = World::new(spans);
    let (mut agent, mut client) = (world.agent("a"), world.client());
    one(&mut world, &mut agent, &mut client, failed());
    world.pass(secs(8));
    one(&mut world, &mut agent, &mut client, failed());
    assert_eq!(state(&mut world, "a"), Some((BreakerState::Closed, 1)));
    world.pass(secs(6));
    one(&mut world, &mut agent, &mut client, failed());
    assert_eq!(state(&mut world, "a").unwrap().0, BreakerState::Open);
    world.publish(&mut client, 1);
    world.pass(secs(2));
    assert!(world.deliveries(&agent).is_empty());
    world.pass(secs(1));
    assert_eq!(world.deliveries(&agent).len(), 1);
}
