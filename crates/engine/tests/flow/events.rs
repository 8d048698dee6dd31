//! Events on their way to several: who gets one, who misses it and is told.

use super::{credit, kept, synced, to};
use crate::stage::{Stage, accepted, config, deliveries, events, hello, millis, settle};
use std::time::Duration;
use trunkline_engine::{Effect, EngineConfig};
use trunkline_types::session::{
    NumberRange, Operation, SessionItem, Subscription, Update, UpdateBody,
};
use trunkline_types::{Kind, Outcome, RefusalCode, WhenFull};

#[test]
fn what_is_logged_goes_to_no_more_inboxes_than_one_record_may_name() {
    let mut stage = Stage::new(EngineConfig { logged_copies: 2, ..config() });
    let mut client = stage.client(1);
    let mut agents = Vec::new();
    for (session, id) in [(2, "a"), (3, "b"), (4, "c")] {
        agents.push(stage.agent(session, id));
    }
    let publish = synced(stage.message(Kind::Broadcast, "all"));
    let refusal = stage.publish(&mut client, &publish).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(refusal.message.contains("is 3 inboxes, the limit"), "{refusal}");
    let publish = stage.message(Kind::Broadcast, "all");
    assert_eq!(deliveries(&stage.publish(&mut client, &publish).unwrap()).len(), 3);
    // Who subscribes while an event waits for its time may be too many as well.
    let mut delayed = synced(stage.message(Kind::Event, "topic:t"));
    delayed.options.delay = Some(millis(100));
    stage.publish(&mut client, &delayed).unwrap();
    for agent in &mut agents {
        stage.ask(agent, Operation::Subscribe(kept("t"))).unwrap();
    }
    let before = stage.stats().counters.dropped;
    assert_eq!(deliveries(&stage.pass(millis(100))).len(), 2);
    assert_eq!(stage.stats().counters.dropped, before + 1);
    let publish = stage.message(Kind::Event, "agent:c");
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!(deliveries(&effects)[0].missed.len(), 1, "who was left out is told");
}

#[test]
fn an_event_that_waited_to_be_routed_expires_when_it_would_have() {
    let mut stage = Stage::new(config());
    let mut subscriber = stage.client(3);
    credit(&mut stage, &subscriber, 0, 0);
    stage.ask(&mut subscriber, Operation::Subscribe(to("t"))).unwrap();
    let mut client = stage.client(1);
    let mut publish = stage.message(Kind::Event, "topic:t");
    publish.envelope.ttl = Some(millis(1000));
    publish.options.delay = Some(millis(900));
    stage.publish(&mut client, &publish).unwrap();
    stage.pass(millis(900));
    stage.pass(millis(500));
    assert!(events(&credit(&mut stage, &subscriber, 0, 10)).is_empty(), "it expired at 1000");
}

#[test]
fn a_group_passes_over_a_full_member_while_another_has_room() {
    let mut stage = Stage::new(EngineConfig { inbox_ephemeral: 2, ..config() });
    let (mut full, mut free) = (stage.client(2), stage.client(3));
    for peer in [&mut full, &mut free] {
        let grouped = Subscription { group: Some("g".parse().unwrap()), ..to("t") };
        stage.ask(peer, Operation::Subscribe(grouped)).unwrap();
    }
    stage.ask(&mut full, Operation::Subscribe(to("u"))).unwrap();
    let mut client = stage.client(1);
    for topic in ["topic:u", "topic:u", "topic:t", "topic:t"] {
        let publish = stage.message(Kind::Event, topic);
        let effects = stage.publish(&mut client, &publish).unwrap();
        assert_eq!((accepted(&effects)[0].targets, accepted(&effects)[0].dropped), (1, 0));
        let whose = if topic == "topic:u" { &full } else { &free };
        let told = effects.iter().any(|effect| {
            matches!(effect, Effect::Item { connection, item: SessionItem::Event(_) }
                if *connection == whose.connection)
        });
        assert!(told, "{effects:?}");
    }
    let publish = stage.message(Kind::Event, "topic:t");
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!(accepted(&effects)[0].dropped, 1, "all are full");
}

#[test]
fn what_was_missed_is_told_until_a_delivery_that_told_it_has_arrived() {
    let settings = EngineConfig { when_full: WhenFull::DropOldest, inbox_ephemeral: 1, ..config() };
    let mut stage = Stage::new(settings);
    let agent = stage.agent(2, "a");
    credit(&mut stage, &agent, 0, 0);
    let mut client = stage.client(1);
    for _ in 0..3 {
        let mut publish = stage.message(Kind::Event, "agent:a");
        publish.options.attempts = Some(3);
        stage.publish(&mut client, &publish).unwrap();
    }
    let both = vec![NumberRange { first: 1, last: 2 }];
    assert_eq!(deliveries(&credit(&mut stage, &agent, 1, 0))[0].missed, both);
    stage.disconnect(&agent);
    let (mut agent, effects) = stage.connect(hello(2, Some("a")));
    let first = deliveries(&effects).remove(0);
    assert_eq!(first.missed, both, "the session came back without the delivery");
    let started = Update { token: first.token, body: UpdateBody::Started };
    stage.ask(&mut agent, Operation::Update(started)).unwrap();
    stage.disconnect(&agent);
    let mut greeting = hello(2, Some("a"));
    greeting.next_operation = agent.next;
    let (mut agent, effects) = stage.connect(greeting);
    assert_eq!(deliveries(&effects)[0].missed, [], "it had arrived, for it was begun");
    credit(&mut stage, &agent, 1, 0);
    for _ in 0..2 {
        let publish = stage.message(Kind::Event, "agent:a");
        let late = stage.publish(&mut client, &publish).map(|effects| accepted(&effects));
        assert_eq!(late.unwrap_err().code, RefusalCode::InboxFull, "the only one is held");
    }
    let several = stage.message(Kind::Event, "agents:a,b");
    stage.publish(&mut client, &several).unwrap();
    let retry = |token| {
        let outcome = Outcome::Retry { reason: "no".into(), delay: Some(Duration::ZERO) };
        settle(token, outcome)
    };
    let effects = stage.ask(&mut agent, retry(deliveries(&effects)[0].token)).unwrap();
    let second = deliveries(&effects).remove(0);
    assert_eq!(second.missed, [NumberRange { first: 4, last: 4 }]);
    let effects = stage.ask(&mut agent, retry(second.token)).unwrap();
    assert!(deliveries(&effects).is_empty(), "that was its last attempt");
    let publish = stage.message(Kind::Event, "agent:a");
    let effects = stage.publish(&mut client, &publish).unwrap();
    assert_eq!(deliveries(&effects)[0].missed, [], "it had arrived, for it was settled");
}

#[test]
fn a_session_is_told_of_an_event_once_that_is_as_durable_as_it_should_be() {
    for delay in [None, Some(millis(100))] {
        let mut stage = Stage::new(config());
        let mut subscriber = stage.client(3);
        stage.ask(&mut subscriber, Operation::Subscribe(to("t"))).unwrap();
        let mut agent = stage.agent(2, "a");
        stage.ask(&mut agent, Operation::Subscribe(kept("t"))).unwrap();
        let mut client = stage.client(1);
        let mut publish = synced(stage.message(Kind::Event, "topic:t"));
        publish.options.delay = delay;
        stage.is_fast = delay.is_some();
        let mut effects = stage.publish(&mut client, &publish).unwrap();
        stage.is_fast = false;
        if let Some(delay) = delay {
            effects = stage.pass(delay);
        }
        assert!(events(&effects).is_empty() && deliveries(&effects).is_empty());
        stage.is_fast = true;
        let effects = stage.commit();
        assert_eq!((events(&effects).len(), deliveries(&effects).len()), (1, 1));
    }
}
