//! Full inboxes: who is refused, who waits, what is dropped and told; and the pressure before.

use crate::world::{Peer, World, config, durable, ephemeral, hello, own, with_ttl};
use std::sync::Arc;
use std::time::Duration;
use trunkline_engine::EngineConfig;
use trunkline_types::session::{ClientFrame, NumberRange, Operation, Subscription};
use trunkline_types::{
    CopyState, Durability, InboxChange, Kind, MessageId, Publish, Refusal, RefusalCode, WhenFull,
};

const SECOND: Duration = Duration::from_secs(1);

/// A broker whose inboxes hold two ephemeral envelopes.
fn two(when_full: WhenFull) -> EngineConfig {
    EngineConfig { when_full, inbox_ephemeral: 2, ..ephemeral() }
}

/// Agent `a`, which takes nothing for now, and a sender that has filled its inbox with events.
fn filled(config: EngineConfig) -> (World, Peer, Peer, Vec<MessageId>) {
    let mut world = World::new(config);
    let agent = world.agent(1, "a");
    world.credit(agent, 0, 0);
    let mut sender = world.client(2);
    let ids = [(); 2].map(|()| {
        let event = world.event("agent:a");
        world.publish(&mut sender, &event).unwrap();
        event.envelope.id
    });
    (world, agent, sender, ids.into())
}

fn send(world: &mut World, peer: &mut Peer, publish: &Publish) -> u64 {
    world.send(peer, Operation::Publish(Arc::new(publish.clone())))
}

fn set(world: &mut World, change: InboxChange) {
    let mut operator = world.operator();
    let inbox = "agent:a".parse().unwrap();
    world.ask(&mut operator, Operation::SetInbox { inbox, change: Box::new(change) }).unwrap();
}

fn full(result: Option<Result<Option<trunkline_types::session::Accepted>, Refusal>>) -> Refusal {
    let refusal = result.expect("it is answered").unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
    refusal
}

fn range(first: u64, last: u64) -> NumberRange {
    NumberRange { first, last }
}

#[test]
fn a_full_inbox_refuses_with_a_hint() {
    let (mut world, _, mut sender, _) = filled(two(WhenFull::Reject));
    let event = world.event("agent:a");
    let number = send(&mut world, &mut sender, &event);
    let refusal = full(world.answer(sender, number));
    assert_eq!(refusal.retry_after, Some(EngineConfig::default().full_hint));
    assert!(refusal.message.contains("2 ephemeral envelopes"), "{refusal}");
}

#[test]
fn what_is_set_about_an_inbox_comes_before_the_brokers_settings() {
    let (mut world, _, mut sender, ids) = filled(two(WhenFull::Reject));
    set(&mut world, InboxChange { when_full: Some(WhenFull::DropOldest), ..Default::default() });
    let event = world.event("agent:a");
    world.publish(&mut sender, &event).unwrap();
    assert_eq!(world.states(ids[0]), [CopyState::Dropped]);
    let change = InboxChange { reset: true, limit: Some(1), ..Default::default() };
    set(&mut world, change);
    let event = world.event("agent:a");
    let number = send(&mut world, &mut sender, &event);
    let refusal = full(world.answer(sender, number));
    assert!(refusal.message.contains("1 ephemeral envelopes"), "{refusal}");
}

#[test]
fn a_full_inbox_lets_a_publish_wait_and_then_takes_it() {
    let (mut world, agent, mut sender, _) = filled(two(WhenFull::Wait));
    let event = world.event("agent:a");
    let number = send(&mut world, &mut sender, &event);
    assert_eq!(world.answer(sender, number), None, "neither done nor refused");
    assert_eq!(world.stats().waiting_outside, 1);
    let again = ClientFrame::Operations {
        first: number,
        operations: vec![Operation::Publish(Arc::new(event.clone()))],
    };
    world.frame(sender, again.clone());
    assert!(world.items(sender).is_empty(), "said again, it waits once");
    assert_eq!(world.stats().waiting_outside, 1);

    let mut agent = agent;
    world.credit(agent, 1, 0);
    let first = world.deliveries(agent).pop().unwrap();
    world.complete(&mut agent, &first);
    assert_eq!(world.answer(sender, number), Some(Ok(None)));
    assert_eq!(world.stats().waiting_outside, 0);
    world.frame(sender, again);
    assert_eq!(world.answer(sender, number), Some(Ok(None)), "it is remembered as done");
    assert_eq!(world.stats().messages_accepted, 3);
}

#[test]
fn those_who_wait_are_admitted_in_order_of_arrival_and_nobody_overtakes_them() {
    let (mut world, mut agent, mut sender, _) = filled(two(WhenFull::Wait));
    let mut other = world.client(3);
    let mut waiting = Vec::new();
    for turn in 0..4 {
        let event = world.event("agent:a");
        let peer = if turn % 2 == 0 { &mut sender } else { &mut other };
        send(&mut world, peer, &event);
        waiting.push(event.envelope.id);
    }
    // One frame makes room and publishes: those who waited come first all the same.
    world.credit(agent, 1, 0);
    let first = world.deliveries(agent).pop().unwrap();
    let late = world.event("agent:a");
    let settle = trunkline_types::Settle {
        token: first.token,
        outcome: trunkline_types::Outcome::Complete { reply: None },
    };
    let operations = vec![Operation::Settle(settle), Operation::Publish(Arc::new(late.clone()))];
    let frame = ClientFrame::Operations { first: agent.next, operations };
    agent.next += 2;
    world.frame(agent, frame);
    waiting.push(late.envelope.id);
    let mut got = Vec::new();
    let mut next = world.deliveries(agent);
    while let Some(delivery) = next.pop() {
        got.push(delivery.publish.envelope.id);
        world.complete(&mut agent, &delivery);
        next = world.deliveries(agent);
    }
    assert_eq!(got[1..], waiting);
}

#[test]
fn a_publish_waits_no_longer_than_it_may_and_no_longer_than_it_is_of_use() {
    let (mut world, _, mut sender, _) =
        filled(EngineConfig { wait: SECOND, ..two(WhenFull::Wait) });
    let long = world.event("agent:a");
    let short = with_ttl(world.event("agent:a"), 500);
    let (long, short) =
        (send(&mut world, &mut sender, &long), send(&mut world, &mut sender, &short));
    world.pass(SECOND / 2);
    full(world.answer(sender, short));
    assert_eq!(world.answer(sender, long), None);
    world.pass(SECOND / 2);
    assert!(full(world.answer(sender, long)).retry_after.is_some());
    let stats = world.stats();
    assert_eq!((stats.waiting_outside, stats.messages_refused), (0, 2));

    set(&mut world, InboxChange { wait: Some(2 * SECOND), ..Default::default() });
    let event = world.event("agent:a");
    let number = send(&mut world, &mut sender, &event);
    world.pass(SECOND);
    assert_eq!(world.answer(sender, number), None, "the inbox lets it wait longer");
    world.pass(SECOND);
    full(world.answer(sender, number));
    set(&mut world, InboxChange::default().ttl(SECOND / 2));
    let number = send(&mut world, &mut sender, &event);
    world.pass(SECOND / 2);
    full(world.answer(sender, number));
    set(&mut world, InboxChange { wait: Some(Duration::ZERO), ..Default::default() });
    let number = send(&mut world, &mut sender, &event);
    full(world.answer(sender, number));
}

#[test]
fn what_has_waited_for_longer_than_the_inbox_lets_it_live_by_now_is_refused() {
    let (mut world, agent, mut sender, _) =
        filled(EngineConfig { wait: SECOND * 10, ..two(WhenFull::Wait) });
    let event = world.event("agent:a");
    let number = send(&mut world, &mut sender, &event);
    world.pass(SECOND);
    set(&mut world, InboxChange::default().ttl(SECOND));
    assert_eq!(world.answer(sender, number), None);
    let mut agent = agent;
    world.credit(agent, 1, 0);
    let first = world.deliveries(agent).pop().unwrap();
    world.complete(&mut agent, &first);
    let refusal = full(world.answer(sender, number));
    assert!(refusal.message.contains("time to live has ended"), "{refusal}");
}

#[test]
fn how_many_wait_outside_is_bounded() {
    let (mut world, _, mut sender, _) =
        filled(EngineConfig { waiting_outside: 2, ..two(WhenFull::Wait) });
    let numbers = [(); 3].map(|()| {
        let event = world.event("agent:a");
        send(&mut world, &mut sender, &event)
    });
    let refusal = full(world.answer(sender, numbers[2]));
    assert!(refusal.message.contains("2 wait outside, which is the limit"), "{refusal}");
    assert_eq!(world.stats().waiting_outside, 2);
}

#[test]
fn what_waits_outside_ends_with_its_connection_and_is_sent_again() {
    let (mut world, mut agent, mut sender, _) = filled(two(WhenFull::Wait));
    let event = world.event("agent:a");
    let number = send(&mut world, &mut sender, &event);
    world.disconnect(sender);
    assert_eq!(world.stats().waiting_outside, 0);
    let mut greeting = hello(2, None);
    greeting.next_operation = number;
    let mut sender = world.try_connect(greeting).unwrap();
    assert_eq!(send(&mut world, &mut sender, &event), number);
    world.credit(agent, 1, 0);
    let first = world.deliveries(agent).pop().unwrap();
    world.complete(&mut agent, &first);
    assert_eq!(world.answer(sender, number), Some(Ok(None)));
    assert_eq!(world.stats().messages_accepted, 3);
}

#[test]
fn a_higher_bound_lets_in_who_waits() {
    let (mut world, _, mut sender, _) = filled(two(WhenFull::Wait));
    let event = world.event("agent:a");
    let number = send(&mut world, &mut sender, &event);
    world.configure(|config| config.inbox_ephemeral = 3);
    assert_eq!(world.answer(sender, number), Some(Ok(None)));
    set(&mut world, InboxChange { limit: Some(1), ..Default::default() });
    let event = world.event("agent:a");
    let number = send(&mut world, &mut sender, &event);
    assert_eq!(world.answer(sender, number), None);
    world.configure(|config| config.inbox_ephemeral = 4);
    assert_eq!(world.answer(sender, number), None, "the inbox has a bound of its own");
    set(&mut world, InboxChange { reset: true, ..Default::default() });
    assert_eq!(world.answer(sender, number), Some(Ok(None)));
}

#[test]
fn an_event_for_several_does_not_wait_and_who_missed_it_is_told() {
    let (mut world, mut agent, mut sender, _) = filled(two(WhenFull::Wait));
    let other = world.agent(3, "b");
    let event = world.event("agents:a,b");
    let accepted = world.accepted(&mut sender, &event);
    assert_eq!((accepted.targets, accepted.dropped), (1, 1));
    assert_eq!(world.deliveries(other).len(), 1);
    world.credit(agent, 1, 0);
    let first = world.deliveries(agent).pop().unwrap();
    assert_eq!((first.number, first.missed.clone()), (1, vec![range(3, 3)]));
    world.complete(&mut agent, &first);
    let second = world.deliveries(agent).pop().unwrap();
    assert_eq!((second.number, second.missed), (2, vec![]), "told once");
    assert_eq!(world.stats().counters.dropped, 1);
}

#[test]
fn the_oldest_event_is_dropped_for_a_newer_one_counted_and_told() {
    let (mut world, agent, mut sender, ids) = filled(two(WhenFull::DropOldest));
    let newer = world.event("agent:a");
    assert_eq!(world.publish(&mut sender, &newer), Ok(None));
    assert_eq!(world.states(ids[0]), [CopyState::Dropped]);
    assert_eq!(world.states(ids[1]), [CopyState::Waiting]);
    assert_eq!(world.stats().counters.dropped, 1);
    world.credit(agent, 10, 0);
    let told: Vec<_> =
        world.deliveries(agent).into_iter().map(|it| (it.number, it.missed)).collect();
    assert_eq!(told, [(2, vec![range(1, 1)]), (3, vec![])]);
}

#[test]
fn work_is_never_dropped_and_nothing_is_dropped_for_it() {
    for kind in [Kind::Request, Kind::Response, Kind::Error] {
        let mut world = World::new(two(WhenFull::DropOldest));
        let agent = world.agent(1, "a");
        world.credit(agent, 0, 0);
        let mut sender = world.client(2);
        let work = |world: &mut World| {
            let mut publish = world.message(kind, "agent:a");
            publish.envelope.correlation_id = Some(publish.envelope.id);
            publish
        };
        let (first, event) = (work(&mut world), world.event("agent:a"));
        world.publish(&mut sender, &first).unwrap();
        world.publish(&mut sender, &event).unwrap();
        let more = work(&mut world);
        let number = send(&mut world, &mut sender, &more);
        full(world.answer(sender, number));
        let newer = world.message(Kind::Status, "agent:a");
        world.publish(&mut sender, &newer).unwrap();
        assert_eq!(world.states(first.envelope.id), [CopyState::Waiting], "{kind}");
        assert_eq!(world.states(event.envelope.id), [CopyState::Dropped]);
    }
}

#[test]
fn as_many_events_are_dropped_as_a_large_one_needs_or_none() {
    let bytes = 10;
    let config = EngineConfig {
        inbox_ephemeral_bytes: bytes,
        inbox_ephemeral: 100,
        ..two(WhenFull::DropOldest)
    };
    let mut world = World::new(config);
    let agent = world.agent(1, "a");
    world.credit(agent, 0, 0);
    let mut sender = world.client(2);
    let sized = |world: &mut World, kind, size: usize| {
        let mut publish = world.message(kind, "agent:a");
        publish.envelope.payload.data = vec![0; size].into();
        publish
    };
    for (kind, size) in [(Kind::Request, 4), (Kind::Event, 3), (Kind::Event, 3)] {
        let publish = sized(&mut world, kind, size);
        world.publish(&mut sender, &publish).unwrap();
    }
    let too_large = sized(&mut world, Kind::Event, 7);
    let number = send(&mut world, &mut sender, &too_large);
    full(world.answer(sender, number));
    assert_eq!(world.stats().counters.dropped, 0);
    let fits = sized(&mut world, Kind::Event, 5);
    world.publish(&mut sender, &fits).unwrap();
    assert_eq!(world.stats().counters.dropped, 2);
}

#[test]
fn a_logged_event_that_was_dropped_stays_dropped_after_a_restart() {
    let config = EngineConfig { inbox_logged: 1, when_full: WhenFull::DropOldest, ..config() };
    let mut world = World::new(config);
    let mut sender = world.client(1);
    let ids = [(); 2].map(|()| {
        let mut event = world.event("agent:a");
        event.options.durability = Some(Durability::Synced);
        world.publish(&mut sender, &event).unwrap();
        event.envelope.id
    });
    let mut world = world.killed();
    assert_eq!(world.states(ids[0]), [CopyState::Dropped]);
    let agent = world.agent(2, "a");
    let got = world.deliveries(agent);
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].publish.envelope.id, got[0].number), (ids[1], 1), "numbers begin anew");
}

/// A session that may hold one event without acknowledging it, and has two waiting.
fn slow_subscriber(when_full: WhenFull) -> (World, Peer, Peer) {
    let mut world = World::new(EngineConfig { inbox_ephemeral: 3, ..ephemeral() });
    let mut client = world.client(1);
    world.credit(client, 0, 1);
    let subscription = Subscription { when_full, ..own("t") };
    world.ask(&mut client, Operation::Subscribe(subscription)).unwrap();
    let mut sender = world.client(2);
    for _ in 0..3 {
        let event = world.event("topic:t");
        assert_eq!(world.accepted(&mut sender, &event).dropped, 0);
    }
    (world, client, sender)
}

fn drain(world: &mut World, client: Peer) -> Vec<(u64, u64)> {
    world.frame(
        client,
        ClientFrame::Credit(trunkline_types::session::Credit { deliveries: 0, events: 10 }),
    );
    world.events(client).into_iter().map(|event| (event.number, event.missed)).collect()
}

#[test]
fn a_session_over_its_bound_misses_the_new_event_or_the_oldest_as_it_asked() {
    let (mut world, client, mut sender) = slow_subscriber(WhenFull::Reject);
    let event = world.event("topic:t");
    assert_eq!(world.accepted(&mut sender, &event).dropped, 1);
    world.frame(client, ClientFrame::Acknowledge { through: 1 });
    assert_eq!(world.events(client)[0].number, 2);
    world.accepted(&mut sender, &event);
    assert_eq!(drain(&mut world, client), [(3, 0), (5, 1)]);

    let (mut world, client, mut sender) = slow_subscriber(WhenFull::DropOldest);
    let event = world.event("topic:t");
    for _ in 0..2 {
        assert_eq!(world.accepted(&mut sender, &event).dropped, 0);
    }
    assert_eq!(world.stats().counters.dropped, 2);
    assert_eq!(drain(&mut world, client), [(4, 2), (5, 0)]);
}

#[test]
fn events_that_expire_in_a_session_queue_are_told_as_missed() {
    let (mut world, client, mut sender) = slow_subscriber(WhenFull::DropOldest);
    let short = with_ttl(world.event("topic:t"), 10);
    let last = world.event("topic:t");
    world.accepted(&mut sender, &short);
    world.accepted(&mut sender, &short);
    world.frame(client, ClientFrame::Acknowledge { through: 1 });
    world.pass(SECOND);
    world.accepted(&mut sender, &last);
    assert_eq!(drain(&mut world, client), [(6, 1)], "4 went out at once, 5 expired");
}

#[test]
fn a_sender_is_told_the_pressure_as_it_rises_and_when_it_is_over() {
    let mut world = World::new(EngineConfig {
        inbox_ephemeral: 100,
        warning: 60,
        pressure_pace: Duration::from_millis(40),
        ..ephemeral()
    });
    let mut agent = world.agent(1, "a");
    world.credit(agent, 0, 0);
    let mut sender = world.client(2);
    let mut told = Vec::new();
    for _ in 0..100 {
        let event = world.event("agent:a");
        world.publish(&mut sender, &event).unwrap();
        told.extend(world.pressure(sender).into_iter().map(|it| (it.percent, it.pace)));
    }
    let paces = (60..=100)
        .step_by(5)
        .map(|percent| (percent, Duration::from_millis(u64::from(percent) - 60)));
    assert_eq!(told, paces.collect::<Vec<_>>());

    let bystander = world.client(3);
    world.credit(agent, 1, 0);
    let mut next = world.deliveries(agent);
    let mut settled = 0;
    while let Some(delivery) = next.pop() {
        world.complete(&mut agent, &delivery);
        settled += 1;
        assert!(world.pressure(bystander).is_empty());
        if let Some(over) = world.pressure(sender).pop() {
            assert_eq!((over.percent, over.pace), (40, Duration::ZERO));
            break;
        }
        next = world.deliveries(agent);
    }
    assert_eq!(settled, 60);
}

#[test]
fn a_session_that_comes_back_is_told_the_pressure_anew() {
    let mut world = World::new(EngineConfig { inbox_ephemeral: 10, ..ephemeral() });
    let agent = world.agent(1, "a");
    world.credit(agent, 0, 0);
    let mut sender = world.client(2);
    for _ in 0..9 {
        let event = world.event("agent:a");
        world.publish(&mut sender, &event).unwrap();
    }
    assert_eq!(world.pressure(sender).len(), 1);
    world.disconnect(sender);
    let mut greeting = hello(2, None);
    greeting.next_operation = sender.next;
    let mut sender = world.try_connect(greeting).unwrap();
    world.configure(|config| config.warning = 100);
    let event = world.event("agent:a");
    world.publish(&mut sender, &event).unwrap();
    let pressure = world.pressure(sender).pop().unwrap();
    assert_eq!((pressure.percent, pressure.pace), (100, EngineConfig::default().pressure_pace));
}

#[test]
fn a_subscriber_whose_inbox_is_full_has_its_oldest_event_dropped_if_it_is_so_set() {
    let (mut world, mut agent, mut sender, ids) = filled(two(WhenFull::Reject));
    set(&mut world, InboxChange { when_full: Some(WhenFull::DropOldest), ..Default::default() });
    world.ask(&mut agent, Operation::Subscribe(durable("t"))).unwrap();
    let mut client = world.client(5);
    world.ask(&mut client, Operation::Subscribe(own("t"))).unwrap();
    let event = world.event("topic:t");
    let accepted = world.accepted(&mut sender, &event);
    assert_eq!((accepted.targets, accepted.dropped), (2, 0));
    assert_eq!(world.states(ids[0]), [CopyState::Dropped]);
}

#[test]
fn the_limit_of_an_inbox_bounds_durable_envelopes_too() {
    let mut world = World::new(config());
    let agent = world.agent(1, "a");
    world.credit(agent, 0, 0);
    set(&mut world, InboxChange { limit: Some(2), ..Default::default() });
    let mut sender = world.client(2);
    let synced = |world: &mut World| {
        let mut event = world.event("agent:a");
        event.options.durability = Some(Durability::Synced);
        event
    };
    for _ in 0..2 {
        let event = synced(&mut world);
        world.publish(&mut sender, &event).unwrap();
    }
    let event = synced(&mut world);
    let number = send(&mut world, &mut sender, &event);
    let refusal = full(world.answer(sender, number));
    assert!(refusal.message.contains("2 durable envelopes"), "{refusal}");
}
