//! Clocks that are put forward: what takes long comes at once.

use crate::common::{Peer, card, get, hello, stats, task};
use std::time::Duration;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::TaskState;

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test]
async fn what_is_due_within_a_skipped_time_comes_and_what_is_not_does_not() {
    let broker = Broker::open(BrokerConfig::ephemeral()).await.unwrap();
    let mut peer = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "s")))).await.unwrap();
    let mut delayed = task("s", "x");
    delayed.options.delay = Some(HOUR);
    let mut expiring = task("nobody", "x");
    expiring.envelope.ttl = Some(3 * HOUR);
    let (first, second) = (delayed.envelope.id, expiring.envelope.id);
    peer.publish(delayed).await.unwrap();
    peer.publish(expiring).await.unwrap();

    broker.skip(Duration::from_mins(59));
    assert_eq!(get(&broker, first).await.unwrap().state, TaskState::Submitted);
    assert!(broker.due_in().unwrap() <= Duration::from_mins(1));
    broker.skip(Duration::from_mins(1));
    assert_eq!(agent.delivery().await.publish.envelope.id, first);
    assert_eq!(get(&broker, second).await.unwrap().state, TaskState::Submitted);
    broker.skip(2 * HOUR);
    let expired = get(&broker, second).await.unwrap();
    assert_eq!((expired.state, expired.reason.as_deref()), (TaskState::Failed, Some("EXPIRED")));
}

#[tokio::test]
async fn a_lease_ends_when_its_end_is_met_and_lives_when_it_is_overshot() {
    let mut config = BrokerConfig::ephemeral();
    config.engine.lease = Duration::from_mins(1);
    let broker = Broker::open(config).await.unwrap();
    let mut agent = Peer::open(&broker, hello(1, Some(card("a", "s")))).await.unwrap();
    let mut peer = Peer::open(&broker, hello(2, None)).await.unwrap();
    peer.publish(task("s", "x")).await.unwrap();
    assert_eq!(agent.delivery().await.attempt, 1);

    // The broker takes such a leap for an absence of its own.
    broker.skip(HOUR);
    assert_eq!(stats(&broker).await.gauges.leased, 1);
    assert_eq!(stats(&broker).await.counters.redeliveries, 0);
    while stats(&broker).await.counters.redeliveries == 0 {
        broker.skip(broker.due_in().unwrap());
    }
    assert_eq!(agent.delivery().await.attempt, 2);
}
