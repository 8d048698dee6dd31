//! Nobody there, or not yet: what becomes of it by policy, and events that wait.

use crate::world::{
    Peer, World, config, durable, ephemeral, filtered, hello, own, with_header, with_ttl,
};
use std::time::Duration;
use trunkline_engine::{EngineConfig, Record};
use trunkline_types::session::{Accepted, Operation};
use trunkline_types::{Absent, CopyState, Durability, Kind, Publish, RefusalCode, WallTime};

const SECOND: Duration = Duration::from_secs(1);

fn absent(mut publish: Publish, policy: Absent) -> Publish {
    publish.options.absent = Some(policy);
    publish
}

fn delayed(mut publish: Publish, span: Duration) -> Publish {
    publish.options.delay = Some(span);
    publish
}

fn logged(mut publish: Publish) -> Publish {
    publish.options.durability = Some(Durability::Synced);
    publish
}

fn parked_event(world: &mut World) -> Publish {
    with_ttl(absent(world.event("topic:t"), Absent::Park), 60_000)
}

fn figures(accepted: &Accepted) -> (u32, u32, u32) {
    (accepted.targets, accepted.dropped, accepted.parked)
}

fn subscribe(world: &mut World, peer: &mut Peer, pattern: &str) {
    world.ask(peer, Operation::Subscribe(own(pattern))).unwrap();
}

#[test]
fn what_nobody_serves_is_parked_and_the_acceptance_says_so() {
    let mut world = World::new(ephemeral());
    let mut sender = world.client(1);
    for to in ["agent:a", "skill:s", "agents:a"] {
        let publish = world.event(to);
        assert_eq!(figures(&world.accepted(&mut sender, &publish)), (1, 0, 1), "{to}");
    }
    let event = parked_event(&mut world);
    assert_eq!(figures(&world.accepted(&mut sender, &event)), (0, 0, 1));
    let for_all = absent(world.event("all"), Absent::Park);
    assert_eq!(figures(&world.accepted(&mut sender, &for_all)), (0, 0, 1));

    let agent = world.agent(2, "a");
    assert_eq!(world.deliveries(agent).len(), 4, "all of it but the event on a topic");
    let publish = world.event("agent:a");
    assert_eq!(world.publish(&mut sender, &publish), Ok(None), "somebody is there now");
}

#[test]
fn what_nobody_serves_is_refused_if_it_is_to_fail() {
    let mut world = World::new(ephemeral());
    let mut agent = world.agent(1, "a");
    world.ask(&mut agent, Operation::Subscribe(durable("kept"))).unwrap();
    world.disconnect(agent);
    let mut sender = world.client(2);
    for to in ["agent:a", "agent:b", "skill:s", "agents:a,b", "topic:t", "topic:kept", "all"] {
        let publish = absent(world.event(to), Absent::Fail);
        let refusal = world.publish(&mut sender, &publish).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::NobodyThere, "{to}");
        let later = delayed(absent(world.event(to), Absent::Fail), SECOND);
        assert_eq!(world.publish(&mut sender, &later).unwrap_err().code, RefusalCode::NobodyThere);
    }
}

#[test]
fn what_nobody_serves_goes_nowhere_if_it_is_to_be_discarded() {
    let mut world = World::new(ephemeral());
    let mut sender = world.client(1);
    for to in ["agent:a", "skill:s", "agents:a,b", "topic:t", "all"] {
        let publish = absent(world.event(to), Absent::Discard);
        assert_eq!(figures(&world.accepted(&mut sender, &publish)), (0, 0, 0), "{to}");
    }
    for to in ["topic:t", "all"] {
        let publish = world.event(to);
        assert_eq!(figures(&world.accepted(&mut sender, &publish)), (0, 0, 0), "by default");
    }
    assert_eq!(world.stats().messages_unrouted, 7);
    let mut agent = world.agent(2, "a");
    assert!(world.deliveries(agent).is_empty());

    world.ask(&mut agent, Operation::Subscribe(durable("t"))).unwrap();
    world.disconnect(agent);
    let event = absent(world.event("topic:t"), Absent::Discard);
    let accepted = world.accepted(&mut sender, &event);
    assert_eq!(figures(&accepted), (1, 0, 1), "a kept subscription keeps it");
    let request = absent(world.message(Kind::Request, "agent:a"), Absent::Discard);
    let refusal = world.publish(&mut sender, &request).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
}

#[test]
fn a_parked_event_goes_to_whoever_subscribes_first_and_wants_it() {
    for pattern in ["t.a", "t.*", ">"] {
        let mut world = World::new(ephemeral());
        let mut sender = world.client(1);
        let ids: Vec<_> = ["t.a", "t.a", "u.a"]
            .map(|topic| {
                let event = with_ttl(world.event(&format!("topic:{topic}")), 60_000);
                let event = with_header(absent(event, Absent::Park), "n", "1");
                world.accepted(&mut sender, &event);
                event.envelope.id
            })
            .into();
        let mut client = world.client(2);
        let unwanted = filtered(own(pattern), "n=2");
        world.ask(&mut client, Operation::Subscribe(unwanted)).unwrap();
        assert!(world.events(client).is_empty());
        let mut agent = world.agent(3, "a");
        let wanted = filtered(durable(pattern), "n=1");
        world.ask(&mut agent, Operation::Subscribe(wanted)).unwrap();
        let got = world.deliveries(agent);
        let got: Vec<_> = got.iter().map(|delivery| delivery.publish.envelope.id).collect();
        assert_eq!(got, ids[..if pattern == ">" { 3 } else { 2 }], "in order, to '{pattern}'");
        subscribe(&mut world, &mut client, pattern);
        assert!(world.events(client).is_empty(), "the first one has it");
    }
}

#[test]
fn a_hello_that_subscribes_gets_what_was_parked() {
    let mut world = World::new(ephemeral());
    let mut sender = world.client(1);
    let event = parked_event(&mut world);
    world.accepted(&mut sender, &event);
    let mut greeting = hello(2, None);
    greeting.subscriptions = vec![own("t")];
    let client = world.try_connect(greeting).unwrap();
    assert_eq!(world.events(client).len(), 1);
}

#[test]
fn a_parked_event_expires_and_that_is_counted() {
    let mut world = World::new(ephemeral());
    let mut sender = world.client(1);
    let event = with_ttl(parked_event(&mut world), 1000);
    world.accepted(&mut sender, &event);
    assert_eq!(world.stats().gauges.parked, 1);
    world.pass(SECOND);
    let mut client = world.client(2);
    subscribe(&mut world, &mut client, "t");
    assert!(world.events(client).is_empty());
    let stats = world.stats();
    assert_eq!((stats.counters.expired, stats.gauges.total()), (1, 0));
}

#[test]
fn a_delayed_event_is_routed_when_it_is_due_to_those_who_subscribe_then() {
    let mut world = World::new(ephemeral());
    let (mut early, mut late, mut sender) = (world.client(1), world.client(2), world.client(3));
    subscribe(&mut world, &mut early, "t");
    let event = delayed(world.event("topic:t"), SECOND);
    assert_eq!(figures(&world.accepted(&mut sender, &event)), (0, 0, 1));
    assert!(world.events(early).is_empty());
    assert_eq!(world.stats().gauges.delayed, 1);
    world.ask(&mut early, Operation::Unsubscribe(own("t"))).unwrap();
    subscribe(&mut world, &mut late, "t");
    assert!(world.events(late).is_empty(), "its time has not come");
    world.pass(SECOND);
    assert_eq!((world.events(early).len(), world.events(late).len()), (0, 1));
    let stats = world.stats();
    assert_eq!((stats.counters.accepted, stats.counters.settled), (2, 1), "it has moved");
}

#[test]
fn not_before_holds_for_every_destination_and_a_time_in_the_past_is_now() {
    let mut world = World::new(ephemeral());
    let mut agent = world.agent(1, "a");
    world.ask(&mut agent, Operation::Subscribe(durable("t"))).unwrap();
    let mut sender = world.client(2);
    for to in ["agent:a", "skill:s", "agents:a", "topic:t", "all"] {
        let mut publish = world.event(to);
        publish.options.not_before = Some(world.now.wall.after(SECOND));
        world.publish(&mut sender, &publish).unwrap();
        assert!(world.deliveries(agent).is_empty(), "{to}");
        world.pass(SECOND);
        assert_eq!(world.deliveries(agent).len(), 1, "{to}");
        let mut publish = world.event(to);
        publish.options.not_before = Some(WallTime(0));
        publish.options.delay = Some(Duration::ZERO);
        world.publish(&mut sender, &publish).unwrap();
        assert_eq!(world.deliveries(agent).len(), 1, "{to}");
    }
}

#[test]
fn a_due_event_that_finds_nobody_is_counted_as_unrouted() {
    let mut world = World::new(config());
    let mut sender = world.client(1);
    let event = logged(delayed(world.event("topic:t"), SECOND));
    world.accepted(&mut sender, &event);
    world.pass(SECOND);
    let stats = world.stats();
    assert_eq!((stats.messages_unrouted, stats.counters.dropped), (1, 1));
    let mut world = world.killed();
    assert_eq!(world.stats().gauges.total(), 0, "and it stays so");
}

#[test]
fn a_logged_event_waits_across_a_restart_and_is_routed_once() {
    let mut world = World::new(config());
    let mut sender = world.client(1);
    let mut parked = logged(parked_event(&mut world));
    parked.envelope.destination = "topic:parked".parse().unwrap();
    let later = logged(delayed(world.event("topic:later"), SECOND));
    world.accepted(&mut sender, &parked);
    world.accepted(&mut sender, &later);
    let mut world = world.killed();
    let mut agent = world.agent(2, "a");
    for pattern in ["parked", "later"] {
        world.ask(&mut agent, Operation::Subscribe(durable(pattern))).unwrap();
        let got = world.deliveries(agent).len();
        assert_eq!(got, usize::from(pattern == "parked"));
    }
    let before = world.engine.durable_state();
    let mut world = world.killed();
    let mut after = world.engine.durable_state();
    after.insert("next".to_owned(), before["next"].clone());
    assert_eq!(before, after);
    world.pass(SECOND);
    let routed = world.records.iter().filter(|(_, it)| matches!(it, Record::Routed { .. }));
    assert_eq!(routed.count(), 2);
    let mut world = world.killed();
    let states = [world.states(parked.envelope.id), world.states(later.envelope.id)];
    assert_eq!(states[1], [CopyState::Parked], "one copy each");
    assert_eq!(states[0].len(), 1);
}

#[test]
fn an_event_that_came_due_while_the_broker_was_down_goes_out_at_the_start() {
    let mut world = World::new(config());
    let mut agent = world.agent(1, "a");
    world.ask(&mut agent, Operation::Subscribe(durable("t"))).unwrap();
    let mut sender = world.client(2);
    let event = logged(delayed(world.event("topic:t"), SECOND));
    world.accepted(&mut sender, &event);
    world.now.wall = world.now.wall.after(SECOND);
    let mut world = world.killed();
    let agent = world.agent(1, "a");
    assert_eq!(world.deliveries(agent).len(), 1);
}

#[test]
fn an_ephemeral_event_that_waits_is_lost_at_a_stop_and_counted() {
    let mut world = World::new(config());
    let mut sender = world.client(1);
    let event = parked_event(&mut world);
    world.accepted(&mut sender, &event);
    let mut world = world.restarted();
    let stats = world.stats();
    assert_eq!((stats.counters.lost, stats.counters.accepted), (1, 1));
    assert_eq!(stats.inboxes[0].address, None);
}

#[test]
fn an_ephemeral_event_that_waits_is_gone_after_a_kill_and_nobody_counts_it() {
    let mut world = World::new(config());
    let mut sender = world.client(1);
    let event = parked_event(&mut world);
    world.accepted(&mut sender, &event);
    assert_eq!(world.states(event.envelope.id), [CopyState::Parked]);
    let mut world = world.killed();
    let stats = world.stats();
    assert_eq!((stats.counters.lost, stats.counters.accepted), (0, 0));
    assert!(world.status(event.envelope.id).is_err());
    let mut agent = world.agent(2, "a");
    world.ask(&mut agent, Operation::Subscribe(durable("t"))).unwrap();
    assert_eq!(world.deliveries(agent).len(), 0);
}

#[test]
fn how_many_events_wait_is_bounded() {
    let mut world = World::new(EngineConfig { pending_events: 2, ..ephemeral() });
    let mut sender = world.client(1);
    for _ in 0..2 {
        let event = parked_event(&mut world);
        world.accepted(&mut sender, &event);
    }
    for event in [parked_event(&mut world), delayed(world.event("topic:t"), SECOND)] {
        let refusal = world.publish(&mut sender, &event).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::InboxFull);
        assert!(refusal.message.contains("the limit is 2"), "{refusal}");
        assert!(refusal.retry_after.is_some());
    }
}

#[test]
fn how_many_bytes_of_logged_events_wait_is_bounded() {
    let mut world = World::new(EngineConfig { pending_event_bytes: 100, ..config() });
    let mut sender = world.client(1);
    let sized = |world: &mut World, size: usize| {
        let mut event = logged(parked_event(world));
        event.envelope.payload = vec![0; size].into();
        event
    };
    let first = sized(&mut world, 60);
    world.accepted(&mut sender, &first);
    let event = sized(&mut world, 41);
    let refusal = world.publish(&mut sender, &event).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
    assert!(refusal.message.contains("would have 101 bytes, the limit is 100"), "{refusal}");
    let mut world = world.killed();
    let mut sender = world.client(2);
    assert!(world.publish(&mut sender, &event).is_err(), "a restart frees nothing");
    let cancel =
        Operation::Cancel { id: first.envelope.id, reason: String::new(), descendants: false };
    world.ask(&mut sender, cancel).unwrap();
    world.accepted(&mut sender, &event);
    let mut subscriber = world.client(3);
    subscribe(&mut world, &mut subscriber, "t");
    let event = delayed(sized(&mut world, 100), SECOND);
    world.accepted(&mut sender, &event);
}

#[test]
fn an_event_without_a_time_to_live_is_not_parked_for_a_first_subscriber() {
    let mut world = World::new(ephemeral());
    let mut sender = world.client(1);
    let event = absent(world.event("topic:t"), Absent::Park);
    let refusal = world.publish(&mut sender, &event).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
}

#[test]
fn of_several_agents_those_whom_nobody_serves_are_refused_left_out_or_parked_as_asked() {
    let mut world = World::new(config());
    let agent = world.agent(1, "ann");
    let mut sender = world.client(2);
    let mut event = world.event("agents:ann,ghost");
    event.options.absent = Some(Absent::Fail);
    let refusal = world.publish(&mut sender, &event).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NobodyThere);
    assert!(refusal.message.contains("'agent:ghost'"), "{refusal}");
    assert!(world.deliveries(agent).is_empty(), "nothing was sent");

    let mut event = world.event("agents:ann,ghost");
    event.options.absent = Some(Absent::Discard);
    let accepted = world.accepted(&mut sender, &event);
    assert_eq!((accepted.targets, accepted.parked), (1, 0));

    let event = world.event("agents:ann,ghost");
    let accepted = world.accepted(&mut sender, &event);
    assert_eq!((accepted.targets, accepted.parked), (2, 1));
}
