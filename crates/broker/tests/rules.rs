//! Filters and schedules, read by the real rules.

use crate::common::{Peer, hello, new_id, on};
use std::sync::Arc;
use std::time::Duration;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_log::MemoryDisk;
use trunkline_types::session::{Operation, Subscription};
use trunkline_types::{
    Destination, Envelope, Filter, Kind, Payload, Publish, RefusalCode, Schedule,
};

fn event(topic: &str, payload: &str) -> Publish {
    let to = Destination::Topic(topic.parse().unwrap());
    let payload = Payload::new("application/json", payload.to_owned());
    Publish::new(Envelope::new(new_id(), Kind::Event, to, payload))
}

fn wants(pattern: &str, filter: &str) -> Subscription {
    let mut subscription = Subscription::new(pattern.parse().unwrap());
    subscription.filter = Some(Filter::new(filter).unwrap());
    subscription
}

#[tokio::test]
async fn only_events_that_the_filter_wants_arrive() {
    let broker = Broker::open(BrokerConfig::ephemeral()).await.unwrap();
    let mut greeting = hello(1, None);
    greeting.subscriptions = vec![wants("orders.*", "payload.total > 10")];
    let mut subscriber = Peer::open(&broker, greeting).await.unwrap();
    let number = subscriber.send(Operation::Subscribe(wants("late", "payload == 'x'")));
    subscriber.answer(number).await.unwrap();
    let mut sender = Peer::open(&broker, hello(2, None)).await.unwrap();
    for (topic, payload) in [
        ("orders.eu", r#"{"total": 9}"#),
        ("orders.eu", r#"{"total": 11}"#),
        ("orders.us", "no JSON"),
        ("late", r#""y""#),
        ("late", r#""x""#),
        ("orders.us", r#"{"total": 12.5}"#),
    ] {
        sender.publish(event(topic, payload)).await.unwrap();
    }
    let mut came = Vec::new();
    for _ in 0..3 {
        came.push(subscriber.event().await.publish.envelope.payload.to_text().into_owned());
    }
    assert_eq!(came, [r#"{"total": 11}"#, r#""x""#, r#"{"total": 12.5}"#]);
}

#[tokio::test]
async fn events_of_one_frame_are_judged_each_by_itself() {
    let broker = Broker::open(BrokerConfig::ephemeral()).await.unwrap();
    let mut greeting = hello(1, None);
    greeting.subscriptions = vec![wants("n", "payload % 2 == 1")];
    let mut subscriber = Peer::open(&broker, greeting).await.unwrap();
    let sender = Peer::open(&broker, hello(2, None)).await.unwrap();
    let publish = |n: u32| Operation::Publish(Arc::new(event("n", &n.to_string())));
    let operations = (0..6).map(publish).collect();
    let frame = trunkline_types::session::ClientFrame::Operations { first: 1, operations };
    sender.connection.send(frame);
    for wanted in ["1", "3", "5"] {
        assert_eq!(subscriber.event().await.publish.envelope.payload.to_text(), wanted);
    }
}

#[tokio::test]
async fn a_filter_that_does_not_compile_is_refused_and_says_what_would_be_right() {
    let broker = Broker::open(BrokerConfig::ephemeral()).await.unwrap();
    let mut peer = Peer::open(&broker, hello(1, None)).await.unwrap();
    let number = peer.send(Operation::Subscribe(wants("a", "paylod.x == 1")));
    let refusal = peer.answer(number).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Invalid);
    assert!(refusal.message.contains("did you mean 'payload'?"), "{refusal}");
    let mut greeting = hello(2, None);
    greeting.subscriptions = vec![wants("a", "topic")];
    let refusal = Peer::open(&broker, greeting).await.err().unwrap();
    assert!(refusal.message.contains("true or false is wanted"), "{refusal}");
}

#[tokio::test]
async fn a_durable_filter_acts_after_a_restart() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut subscription = wants("n", "payload == 2");
    subscription.durable = true;
    let mut greeting = hello(1, Some(crate::common::card("a", "s")));
    greeting.subscriptions = vec![subscription];
    let peer = Peer::open(&broker, greeting).await.unwrap();
    drop(peer);
    broker.drain(Duration::from_secs(10)).await;
    drop(broker);

    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(2, None)).await.unwrap();
    for payload in ["1", "2"] {
        sender.publish(event("n", payload)).await.unwrap();
    }
    let mut agent =
        Peer::open(&broker, hello(3, Some(crate::common::card("a", "s")))).await.unwrap();
    let delivery = agent.delivery().await;
    assert_eq!((&*delivery.publish.envelope.payload.to_text(), delivery.backlog), ("2", 0));
}

#[tokio::test]
async fn a_schedule_fires_and_a_wrong_one_is_refused_by_its_field() {
    let broker = Broker::open(BrokerConfig::ephemeral()).await.unwrap();
    let mut greeting = hello(1, None);
    greeting.subscriptions = vec![Subscription::new("tick".parse().unwrap())];
    let mut peer = Peer::open(&broker, greeting).await.unwrap();
    let schedule = |cron: &str, zone: &str| {
        let publish = Arc::new(event("tick", "1"));
        let name = "every-second".parse().unwrap();
        let (cron, zone) = (cron.into(), zone.into());
        Operation::SetSchedule(Box::new(Schedule { name, cron, zone, publish }))
    };
    for (cron, zone, message) in [
        ("* 25 * * *", "", "the hour '25'"),
        ("* * * * *", "Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("0 0 30 2 *", "", "never"),
    ] {
        let number = peer.send(schedule(cron, zone));
        let refusal = peer.answer(number).await.unwrap_err();
        assert!(refusal.message.contains(message), "{refusal}");
    }
    let number = peer.send(schedule("* * * * * *", "Europe/Berlin"));
    peer.answer(number).await.unwrap();
    let came = peer.event().await;
    assert_eq!(came.publish.envelope.payload.to_text(), "1");
}
