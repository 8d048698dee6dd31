//! Bounds on bytes that wait, and what whoever is refused is told: the limit, and when to come back.

use crate::options_peer::{Peer, broker, hello, message, millis, task};
use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::Broker;
use trunkline_types::session::{Operation, SessionItem, Subscription};
use trunkline_types::{Absent, Kind, Publish, Refusal, RefusalCode, WhenFull};

/// The hint that is set in these tests; by default it is another.
const HINT: Duration = Duration::from_secs(7);

fn told(refusal: &Refusal, part: &str) {
    assert_eq!(refusal.code, RefusalCode::InboxFull, "{refusal}");
    assert_eq!(refusal.retry_after, Some(HINT), "{refusal}");
    assert!(refusal.message.contains(part), "{refusal}");
}

/// An event that waits for a first subscriber.
fn early(size: usize) -> Publish {
    let mut event = message(Kind::Event, "topic:a.b");
    event.envelope.ttl = Some(Duration::from_hours(1));
    event.envelope.payload = vec![0; size].into();
    event.options.absent = Some(Absent::Park);
    event
}

#[tokio::test]
async fn events_that_wait_have_no_more_bytes_than_one_inbox_may_and_there_is_a_hint() {
    let broker = broker(|engine| (engine.inbox_ephemeral_bytes, engine.full_hint) = (100, HINT));
    let broker = broker.await;
    let mut client = Peer::open(&broker, hello(1, None)).await.unwrap();
    client.publish(early(60)).await.unwrap();
    let refusal = client.publish(early(41)).await.unwrap_err();
    told(&refusal, "would have 101 bytes, the limit is 100 unless they are logged");
    client.publish(early(40)).await.unwrap();
}

#[tokio::test]
async fn nobody_is_asked_for_an_answer_who_has_no_room_and_there_is_a_hint() {
    let broker = broker(|engine| (engine.inbox_ephemeral_bytes, engine.full_hint) = (100, HINT));
    let broker = broker.await;
    let ask = |size: usize| {
        let to = Destination::Agents(vec!["a".parse().unwrap()]);
        broker.gather(to, vec![0; size]).timeout(millis(1)).into_future()
    };
    let Err(RequestError::Refused(refusal)) = ask(101).await else { panic!("it was asked") };
    told(&refusal, "its inbox is full: it may hold 100 bytes of ephemeral envelopes");
    assert_eq!(ask(100).await.unwrap().answers().count(), 0, "it was asked, and is not there");
}

#[tokio::test]
async fn whoever_waited_outside_in_vain_is_told_when_to_come_back() {
    let broker = broker(|engine| {
        (engine.inbox_ephemeral, engine.full_hint) = (1, HINT);
        (engine.when_full, engine.wait) = (WhenFull::Wait, millis(1));
    });
    let broker = broker.await;
    let mut client = Peer::open(&broker, hello(1, None)).await.unwrap();
    client.publish(task()).await.unwrap();
    told(&client.publish(task()).await.unwrap_err(), "full for as long as the envelope may wait");
}

#[tokio::test]
async fn a_session_too_many_is_told_when_one_may_be_gone() {
    let broker = broker(|engine| (engine.sessions, engine.resume_grace) = (1, HINT)).await;
    let _first = Peer::open(&broker, hello(1, None)).await.unwrap();
    let refusal = Peer::open(&broker, hello(2, None)).await.err().unwrap();
    assert_eq!((refusal.code, refusal.retry_after), (RefusalCode::Unavailable, Some(HINT)));
}

#[tokio::test]
async fn a_key_too_many_is_told_when_one_may_be_gone() {
    let broker = broker(|engine| (engine.keys, engine.key_window) = (1, 7 * HINT)).await;
    let mut client = Peer::open(&broker, hello(1, None)).await.unwrap();
    let keyed = |key: &str| {
        let mut task = task();
        task.envelope.idempotency_key = Some(key.parse().unwrap());
        task
    };
    client.publish(keyed("a")).await.unwrap();
    let refusal = client.publish(keyed("b")).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::KeyCap);
    assert!(refusal.message.ends_with("they expire 49s after their use"), "{refusal}");
}

/// An event of a topic.
fn event(size: usize) -> Publish {
    let mut event = message(Kind::Event, "topic:a.b");
    event.envelope.payload = vec![0; size].into();
    event
}

fn wants(group: Option<&str>) -> Operation {
    let group = group.map(|name| name.parse().unwrap());
    Operation::Subscribe(Subscription { group, ..Subscription::new("a.b".parse().unwrap()) })
}

/// A subscriber that takes one event and leaves the others where they are.
async fn slow(broker: &Broker, session: u128, group: Option<&str>) -> Peer {
    let mut hello = hello(session, None);
    hello.credit.events = 1;
    let mut slow = Peer::open(broker, hello).await.unwrap();
    slow.ask(wants(group)).await.unwrap();
    slow
}

/// Publishes events of some sizes and says which of them were dropped.
async fn dropped(client: &mut Peer, sizes: &[usize]) -> Vec<usize> {
    let mut dropped = Vec::new();
    for &size in sizes {
        let accepted = client.publish(event(size)).await.unwrap();
        dropped.extend(accepted.filter(|accepted| accepted.dropped > 0).map(|_| size));
    }
    dropped
}

#[tokio::test]
async fn the_events_that_wait_for_a_session_have_no_more_bytes_than_one_inbox_may() {
    let broker = broker(|engine| engine.inbox_ephemeral_bytes = 100).await;
    let mut client = Peer::open(&broker, hello(1, None)).await.unwrap();
    let _slow = slow(&broker, 2, None).await;
    assert_eq!(dropped(&mut client, &[1, 60, 41, 40, 2]).await, [41, 2]);
}

#[tokio::test]
async fn a_group_passes_over_a_member_for_whom_as_many_bytes_wait_as_may() {
    let broker = broker(|engine| engine.inbox_ephemeral_bytes = 100).await;
    let mut client = Peer::open(&broker, hello(1, None)).await.unwrap();
    let _members = (slow(&broker, 2, Some("g")).await, slow(&broker, 3, Some("g")).await);
    // Each takes one. Then one of them has no room, and the other one takes what comes.
    assert!(dropped(&mut client, &[1, 1, 100, 2, 3, 4]).await.is_empty());
}

#[tokio::test]
async fn an_inbox_that_is_full_by_its_bytes_slows_its_senders_down() {
    let broker = broker(|engine| {
        (engine.inbox_ephemeral_bytes, engine.pressure_pace) = (100, Duration::from_secs(3));
        engine.warning = 100;
    });
    let broker = broker.await;
    let mut client = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut full = message(Kind::Event, "agent:nobody");
    full.envelope.payload = vec![0; 100].into();
    client.publish(full).await.unwrap();
    let told = client.find(|item| match item {
        SessionItem::Pressure(pressure) => Some((pressure.percent, pressure.pace)),
        _ => None,
    });
    assert_eq!(told.await, (100, Duration::from_secs(3)));
}
