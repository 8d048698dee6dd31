//! What a broker remembers of keys, sessions and breakers, and for how long.

use crate::options_peer::{Peer, broker, given_up, hello, message, millis, soon, task};
use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{AgentFilter, Kind, RefusalCode};

/// Sends something under a key, and says whether it was a repeat.
async fn is_repeat(broker: &Broker) -> bool {
    let to = Destination::skill("nobody").unwrap();
    broker.send(to, "x").key("k".parse().unwrap()).await.unwrap().duplicate
}

#[tokio::test]
async fn a_key_is_remembered_for_as_long_as_is_set() {
    let long = broker(|_| {}).await;
    let short = broker(|engine| engine.key_window = millis(50)).await;
    assert!(!is_repeat(&long).await && !is_repeat(&short).await);
    soon(async { while is_repeat(&short).await {} }).await;
    assert!(is_repeat(&long).await);
}

#[tokio::test]
async fn a_key_on_disk_is_remembered_for_as_long_as_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = BrokerConfig::durable(directory.path());
    config.engine.key_window = Duration::from_secs(2);
    let broker = Broker::open(config.clone()).await.unwrap();
    assert!(!is_repeat(&broker).await);
    broker.drain(Duration::ZERO).await;
    drop(broker);
    let broker = Broker::open(config).await.unwrap();
    soon(async { while is_repeat(&broker).await {} }).await;
}

#[tokio::test]
async fn no_more_keys_are_remembered_than_are_set() {
    let broker = broker(|engine| engine.keys = 1).await;
    assert!(!is_repeat(&broker).await);
    let to = Destination::skill("nobody").unwrap();
    let refusal = broker.send(to, "x").key("other".parse().unwrap()).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::KeyCap);
    assert!(is_repeat(&broker).await);
}

#[tokio::test]
async fn no_more_lost_sessions_are_remembered_than_are_set() {
    let broker = broker(|engine| {
        (engine.remembered_sessions, engine.resume_grace) = (1, millis(1));
    });
    let broker = broker.await;
    let session = broker.session().await.unwrap();
    // The first operation of a session, said by another one in its name or again.
    let said = async |number| {
        let mut peer = Peer::open(&broker, hello(number, None)).await.unwrap();
        let event = message(Kind::Status, "agent:nobody");
        let id = event.envelope.id;
        peer.publish(event).await.unwrap();
        drop(peer);
        given_up(&session).await;
        session.message(id).await.is_ok()
    };
    assert!(said(1).await);
    assert!(said(2).await);
    assert!(!said(2).await, "the last one is remembered");
    assert!(said(1).await, "the one before it is not");
}

#[tokio::test]
async fn an_open_breaker_closes_when_there_are_to_be_none() {
    let mut config = BrokerConfig::ephemeral().engine;
    (config.breaker_failures, config.breaker_open) = (1, millis(500));
    let broker = broker(|engine| engine.clone_from(&config)).await;
    let mut agent = Peer::open(&broker, hello(1, Some("a"))).await.unwrap();
    let mut client = Peer::open(&broker, hello(2, None)).await.unwrap();
    client.publish(task()).await.unwrap();
    let token = agent.delivery().await.token;
    let fail = trunkline_types::Outcome::Fail { reason: "no".into() };
    agent.settle(token, fail).await.unwrap();
    let session = broker.session().await.unwrap();
    let breakers = async || {
        session.agents(AgentFilter::default()).await.unwrap().agents.remove(0).breakers.len()
    };
    assert_eq!(breakers().await, 1);
    config.breaker_failures = 0;
    broker.reconfigure(config).unwrap();
    soon(async {
        while breakers().await > 0 {
            tokio::time::sleep(millis(10)).await;
        }
    })
    .await;
}
