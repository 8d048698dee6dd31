//! A broker that shuts down while its sessions hold work.

use crate::common::{Peer, card, get, hello, new_id, on, task};
use std::time::Duration;
use tokio::task::JoinHandle;
use trunkline_broker::{Broker, BrokerConfig, BrokerState};
use trunkline_log::MemoryDisk;
use trunkline_types::session::{Hello, Operation, Redrive, SessionItem};
use trunkline_types::{Outcome, RefusalCode, TaskState};

fn done() -> Outcome {
    Outcome::Complete { reply: Some("42".into()) }
}

/// What a broker needs on a disk whose records are as small as those of the other tests.
fn config(disk: &MemoryDisk) -> BrokerConfig {
    let mut config = on(disk);
    config.engine.logged_copies = 16;
    config
}

fn drain(broker: &Broker, grace: Duration) -> JoinHandle<()> {
    let broker = broker.clone();
    tokio::spawn(async move { broker.drain(grace).await })
}

/// So long that a drain which ends did not end by it.
fn long() -> Duration {
    Duration::from_hours(1)
}

/// An agent that holds no more than one delivery at a time.
fn one_by_one() -> Hello {
    let mut hello = hello(2, Some(card("a", "count")));
    hello.credit.deliveries = 1;
    hello
}

/// Which of the two comes first: something that is wanted, or the end of the session.
async fn comes_before_go_away(peer: &mut Peer, wanted: impl Fn(&SessionItem) -> bool) -> bool {
    peer.find(|item| match item {
        SessionItem::GoAway { .. } => Some(false),
        item => wanted(item).then_some(true),
    })
    .await
}

#[tokio::test]
async fn held_work_is_recorded_and_replied_to_while_the_broker_drains() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(config(&disk)).await.unwrap();
    let mut agent = Peer::open(&broker, one_by_one()).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut bystander = Peer::open(&broker, hello(3, None)).await.unwrap();
    let mut work = task("count", "x");
    work.options.reply = true;
    let id = work.envelope.id;
    sender.publish(work).await.unwrap();
    let delivery = agent.delivery().await;

    let draining = drain(&broker, long());
    assert!(bystander.go_away().await.contains("shutting down"), "it holds nothing");
    bystander.connection.close();
    assert_eq!(broker.state(), BrokerState::Draining);
    assert_eq!(get(&broker, id).await.unwrap().state, TaskState::Working);

    agent.settle(delivery.token, done());
    assert!(
        comes_before_go_away(&mut agent, |item| matches!(item, SessionItem::Done { .. })).await
    );
    agent.go_away().await;
    agent.connection.close();
    let is_reply = |item: &SessionItem| matches!(item, SessionItem::Reply(r) if r.result.is_ok());
    assert!(comes_before_go_away(&mut sender, is_reply).await);
    sender.go_away().await;
    sender.connection.close();
    draining.await.unwrap();
    drop((agent, sender, bystander, broker));

    let broker = Broker::open(config(&disk)).await.unwrap();
    let after = get(&broker, id).await.unwrap();
    assert_eq!((after.state, after.attempts), (TaskState::Completed, 1));
}

#[tokio::test]
async fn a_draining_broker_takes_and_delivers_nothing_new() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(config(&disk)).await.unwrap();
    let mut agent = Peer::open(&broker, one_by_one()).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut bystander = Peer::open(&broker, hello(3, None)).await.unwrap();
    let (held, waiting) = (task("count", "x"), task("count", "y"));
    let second = waiting.envelope.id;
    sender.publish(held).await.unwrap();
    sender.publish(waiting).await.unwrap();
    let delivery = agent.delivery().await;

    let draining = drain(&broker, long());
    bystander.go_away().await;
    let refusal = sender.publish(task("count", "z")).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Draining);
    assert!(refusal.retry_after.is_some(), "{refusal}");
    let letter = second.into();
    let again = Redrive { letter, id: new_id(), payload: None, destination: None, priority: None };
    let number = sender.send(Operation::Redrive(Box::new(again)));
    assert_eq!(sender.answer(number).await.unwrap_err().code, RefusalCode::Draining);
    let refusal = Peer::open(&broker, hello(4, None)).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::Draining);
    assert!(refusal.retry_after.is_some(), "{refusal}");

    agent.settle(delivery.token, done());
    let is_delivery = |item: &SessionItem| matches!(item, SessionItem::Delivery(_));
    assert!(!comes_before_go_away(&mut agent, is_delivery).await, "the second was delivered");
    for peer in [&agent, &sender, &bystander] {
        peer.connection.close();
    }
    draining.await.unwrap();
    drop((agent, sender, bystander, broker));

    let broker = Broker::open(config(&disk)).await.unwrap();
    assert_eq!(get(&broker, second).await.unwrap().state, TaskState::Submitted);
    let mut agent = Peer::open(&broker, one_by_one()).await.unwrap();
    assert_eq!(agent.delivery().await.publish.envelope.id, second);
}

#[tokio::test]
async fn who_does_not_finish_in_time_is_sent_away_and_finishes_with_the_next_broker() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(config(&disk)).await.unwrap();
    let mut agent = Peer::open(&broker, one_by_one()).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let work = task("count", "x");
    let id = work.envelope.id;
    sender.publish(work).await.unwrap();
    let delivery = agent.delivery().await;

    drain(&broker, Duration::ZERO).await.unwrap();
    assert!(agent.go_away().await.contains("shutting down"));
    assert!(sender.go_away().await.contains("shutting down"));
    drop((agent, sender, broker));

    let broker = Broker::open(config(&disk)).await.unwrap();
    let back = Hello { held: vec![delivery.token], ..one_by_one() };
    let mut agent = Peer::open(&broker, back).await.unwrap();
    assert!(agent.welcome.revoked.is_empty());
    let number = agent.settle(delivery.token, done());
    agent.answer(number).await.unwrap();
    let after = get(&broker, id).await.unwrap();
    assert_eq!((after.state, after.attempts), (TaskState::Completed, 1));
}
