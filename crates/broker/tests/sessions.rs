//! What sessions may and may not do.

use crate::common::{Peer, card, get, hello, new_id, task};
use std::sync::Arc;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::session::{ClientFrame, Operation, Subscription};
use trunkline_types::{
    Absent, Destination, Envelope, Kind, Outcome, Partition, Principal, Publish, RefusalCode,
    TenantId, Token,
};

async fn broker() -> Broker {
    Broker::open(BrokerConfig::ephemeral()).await.unwrap()
}

#[tokio::test]
async fn an_agent_id_belongs_to_the_principal_that_registered_it() {
    let broker = broker().await;
    let _mine = Peer::open(&broker, hello(1, Some(card("a", "s")))).await.unwrap();
    let other = broker.as_principal(Principal::named("mallory"));
    let refusal = Peer::open(&other, hello(2, Some(card("a", "s")))).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::AlreadyTaken);
    assert!(refusal.message.contains("'a' belongs to 'local', you are 'mallory'"), "{refusal}");
}

#[tokio::test]
async fn what_a_session_sends_is_of_its_tenant() {
    let broker = broker().await;
    let acme: TenantId = "acme".parse().unwrap();
    let own = broker.as_principal(Principal { tenant: acme.clone(), ..Principal::default() });
    let mut peer = Peer::open(&own, hello(1, Some(card("a", "s")))).await.unwrap();
    let mut other = Peer::open(&broker, hello(2, Some(card("a", "s")))).await.unwrap();
    peer.publish(task("s", "unsaid")).await.unwrap();
    assert_eq!(peer.delivery().await.publish.envelope.tenant, acme);
    other.publish(task("s", "unsaid")).await.unwrap();
    assert_eq!(other.delivery().await.publish.envelope.tenant, TenantId::default());
    let mut foreign = task("s", "said");
    foreign.envelope.tenant = acme;
    let refusal = other.publish(foreign).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Forbidden);
}

#[tokio::test]
async fn operations_with_a_gap_are_refused_and_the_session_lives_on() {
    let broker = broker().await;
    let mut peer = Peer::open(&broker, hello(1, None)).await.unwrap();
    let late = Operation::Publish(Arc::new(task("s", "x")));
    peer.connection.send(ClientFrame::Operations { first: 5, operations: vec![late] });
    let refusal = peer.answer(5).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::OutOfOrder);
    assert!(refusal.message.contains("operation 5 came when 1 was expected"), "{refusal}");
    peer.publish(task("s", "y")).await.unwrap();
}

#[tokio::test]
async fn refusals_name_the_thing_its_value_and_the_limit() {
    let broker = broker().await;
    let mut peer = Peer::open(&broker, hello(1, None)).await.unwrap();

    let stale = Token { epoch: trunkline_types::Epoch(9), counter: 9 };
    let number = peer.settle(stale, Outcome::Release);
    let refusal = peer.answer(number).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::StaleToken);
    assert!(refusal.message.contains("token 9.9"), "{refusal}");

    let unknown = new_id();
    let refusal = get(&broker, unknown).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NotFound);
    assert!(refusal.message.contains(&unknown.to_string()), "{refusal}");

    let mut nobody = task("nobody-has-it", "x");
    nobody.options.absent = Some(Absent::Fail);
    let refusal = peer.publish(nobody).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NobodyThere);

    let mut forged = task("s", "x");
    forged.envelope.source = Some("somebody".parse().unwrap());
    assert_eq!(peer.publish(forged).await.unwrap_err().code, RefusalCode::Forbidden);

    let elsewhere = trunkline_types::MessageId::from_parts(1, Partition(7), 1);
    let mut foreign = task("s", "x");
    foreign.envelope.id = elsewhere;
    assert!(peer.publish(foreign).await.unwrap_err().message.contains("partition 7"));
}

#[tokio::test]
async fn a_full_inbox_refuses_with_a_hint_when_to_come_back() {
    let mut config = BrokerConfig::ephemeral();
    config.engine.inbox_ephemeral = 3;
    let broker = Broker::open(config).await.unwrap();
    let mut peer = Peer::open(&broker, hello(1, None)).await.unwrap();
    for _ in 0..3 {
        peer.publish(task("s", "x")).await.unwrap();
    }
    let refusal = peer.publish(task("s", "x")).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
    assert!(refusal.retry_after.is_some());
    assert!(refusal.message.contains("'skill:s' is full: it may hold 3"), "{refusal}");
}

#[tokio::test]
async fn an_idempotency_key_is_accepted_once_and_only_for_the_same_envelope() {
    let broker = broker().await;
    let mut peer = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut first = task("s", "x");
    first.envelope.idempotency_key = Some("k".parse().unwrap());
    peer.publish(first.clone()).await.unwrap();
    let mut second = task("s", "x");
    second.envelope.idempotency_key = Some("k".parse().unwrap());
    let accepted = peer.publish(second).await.unwrap().unwrap();
    assert!(accepted.duplicate);
    assert_eq!(accepted.id, first.envelope.id);
    let mut other = task("s", "y");
    other.envelope.idempotency_key = Some("k".parse().unwrap());
    assert_eq!(peer.publish(other).await.unwrap_err().code, RefusalCode::KeyReused);
}

#[tokio::test]
async fn events_reach_subscribers_and_their_publisher_is_told_how_many() {
    let broker = broker().await;
    let mut wanting = hello(1, None);
    wanting.subscriptions = vec![Subscription::new("build.*.done".parse().unwrap())];
    let mut subscriber = Peer::open(&broker, wanting).await.unwrap();
    let mut publisher = Peer::open(&broker, hello(2, None)).await.unwrap();
    let event = |topic: &str| {
        let to = Destination::topic(topic).unwrap();
        Publish::new(Envelope::new(new_id(), Kind::Event, to, "done".into()))
    };
    let accepted = publisher.publish(event("build.linux.done")).await.unwrap().unwrap();
    assert_eq!((accepted.targets, accepted.dropped), (1, 0));
    let accepted = publisher.publish(event("build.linux.begun")).await.unwrap().unwrap();
    assert_eq!(accepted.targets, 0);
    let event = subscriber.event().await;
    assert_eq!((event.number, event.missed), (1, 0));
}
