//! Settings that change while a broker runs.

use crate::common::{Peer, hello, task};
use std::time::Duration;
use trunkline_broker::{Broker, BrokerConfig, EngineConfig, OpenError};
use trunkline_types::RefusalCode;

#[tokio::test]
async fn what_is_set_anew_is_in_force_at_once() {
    let broker = Broker::open(BrokerConfig::ephemeral()).await.unwrap();
    let mut peer = Peer::open(&broker, hello(1, None)).await.unwrap();
    peer.publish(task("s", "x")).await.unwrap();
    let wanted = EngineConfig {
        inbox_ephemeral: 1,
        lease: Duration::from_secs(7),
        ..EngineConfig::default()
    };
    assert_eq!(broker.reconfigure(wanted).unwrap(), Vec::<&str>::new());
    let refusal = peer.publish(task("s", "x")).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::InboxFull);
    let later = Peer::open(&broker, hello(2, None)).await.unwrap();
    assert_eq!(later.welcome.lease, Duration::from_secs(7));
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_what_is_wrong_changes_nothing() {
    let broker = Broker::open(BrokerConfig::ephemeral()).await.unwrap();
    let window = Duration::from_secs(1);
    let wanted = EngineConfig { key_window: window, ..EngineConfig::default() };
    assert_eq!(broker.reconfigure(wanted).unwrap(), ["key_window"]);
    let wrong = EngineConfig { warning: 0, inbox_ephemeral: 1, ..EngineConfig::default() };
    let error = broker.reconfigure(wrong).unwrap_err();
    assert!(matches!(error, OpenError::Setting(_)), "{error}");
    let mut peer = Peer::open(&broker, hello(1, None)).await.unwrap();
    for _ in 0..2 {
        peer.publish(task("s", "x")).await.unwrap();
    }
}
