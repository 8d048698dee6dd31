//! What a broker keeps through crashes, full disks and failing ones.

use crate::common::{Peer, card, get, hello, on, task};
use std::sync::Arc;
use std::time::Duration;
use trunkline_broker::{Broker, BrokerState};
use trunkline_log::{Loss, MemoryDisk, Operation as DiskOperation};
use trunkline_types::session::{Connector, Operation, SessionItem};
use trunkline_types::{Durability, Outcome, RefusalCode, TaskState};

fn done() -> Outcome {
    Outcome::Complete { reply: Some("42".into()) }
}

#[tokio::test]
async fn accepted_work_survives_a_crash_that_loses_whatever_was_not_flushed() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let work = task("count", "to be or not to be");
    let id = work.envelope.id;
    sender.publish(work).await.unwrap();
    disk.crash(Loss::Unsynced);
    drop((sender, broker));

    let broker = Broker::open(on(&disk)).await.unwrap();
    assert_eq!(get(&broker, id).await.unwrap().state, TaskState::Submitted);
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    assert_eq!(agent.welcome.epoch.0, 2);
    let delivery = agent.delivery().await;
    assert_eq!(delivery.publish.envelope.id, id);
    let number = agent.settle(delivery.token, done());
    agent.answer(number).await.unwrap();
    disk.crash(Loss::Unsynced);
    drop((agent, broker));

    let broker = Broker::open(on(&disk)).await.unwrap();
    let task = get(&broker, id).await.unwrap();
    assert_eq!(task.state, TaskState::Completed);
    assert_eq!(task.result.unwrap().to_text(), "42");
}

#[tokio::test]
async fn what_is_sent_again_after_a_restart_is_accepted_once() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let work = task("count", "x");
    sender.publish(work.clone()).await.unwrap();
    disk.crash(Loss::Unsynced);
    drop((sender, broker));

    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    sender.publish(work).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    let delivery = agent.delivery().await;
    assert_eq!(delivery.backlog, 0, "there is only one");
}

#[tokio::test]
async fn a_key_is_found_again_after_the_power_failed() {
    let disk = MemoryDisk::new();
    let keyed = || {
        let mut work = task("count", "x");
        work.envelope.idempotency_key = Some("order-7".parse().unwrap());
        work
    };
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    sender.publish(keyed()).await.unwrap();
    disk.crash(Loss::Unsynced);
    drop((sender, broker));

    // Somebody else sends another message under the key.
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(3, None)).await.unwrap();
    sender.publish(keyed()).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    assert_eq!(agent.delivery().await.backlog, 0, "there is only one");
}

#[tokio::test]
async fn a_session_that_comes_back_after_a_restart_keeps_what_it_holds() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let work = task("count", "x");
    let id = work.envelope.id;
    sender.publish(work).await.unwrap();
    let delivery = agent.delivery().await;
    // Shows the lease, which it can only once that is on disk.
    assert_eq!(get(&broker, id).await.unwrap().state, TaskState::Working);
    disk.crash(Loss::Unsynced);
    drop((agent, sender, broker));

    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut back = hello(2, Some(card("a", "count")));
    back.held = vec![delivery.token];
    let mut agent = Peer::open(&broker, back).await.unwrap();
    assert_eq!(agent.welcome.revoked, []);
    let number = agent.settle(delivery.token, done());
    agent.answer(number).await.unwrap();
    let task = get(&broker, id).await.unwrap();
    assert_eq!((task.state, task.attempts), (TaskState::Completed, 1));
}

#[tokio::test]
async fn a_full_disk_refuses_new_work_goes_on_delivering_and_recovers() {
    let disk = MemoryDisk::new();
    let mut config = on(&disk);
    // A segment has room for thousands of these while another thread finds out that there is none
    // for the next segment: what is accepted after its end waits instead of being refused.
    config.log.segment_bytes = 1 << 20;
    let broker = Broker::open(config).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    let mut accepted = 0;
    let refusal = loop {
        match sender.publish(task("count", "x")).await {
            Ok(_) => accepted += 1,
            Err(refusal) => break refusal,
        }
        assert!(accepted < 20_000, "a full disk was never noticed");
    };
    assert_eq!(refusal.code, RefusalCode::DiskFull);
    assert!(refusal.retry_after.is_some());

    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    for _ in 0..accepted.min(5) {
        let delivery = agent.delivery().await;
        let id = delivery.publish.envelope.id;
        let number = agent.settle(delivery.token, done());
        agent.answer(number).await.unwrap();
        assert_eq!(get(&broker, id).await.unwrap().state, TaskState::Completed);
    }

    disk.set_capacity(None);
    let mut refused = 0;
    while sender.publish(task("count", "x")).await.is_err() {
        refused += 1;
        assert!(refused < 10_000, "room was never noticed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_failed_flush_ends_the_broker_until_it_is_opened_again() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    disk.fail_always(DiskOperation::Sync);
    let work = task("count", "x");
    let id = work.envelope.id;
    sender.send(Operation::Publish(Arc::new(work)));
    assert!(sender.go_away().await.contains("the log failed"));
    let mut state = broker.watch_state();
    state.wait_for(|state| matches!(state, BrokerState::Failed(_))).await.unwrap();
    let refusal = Peer::open(&broker, hello(3, None)).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::StoreFailed);
    assert_eq!(get(&broker, id).await.unwrap_err().code, RefusalCode::StoreFailed);
    drop((sender, broker));

    disk.crash(Loss::Unsynced);
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    sender.publish(task("count", "y")).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_takes_no_write_and_no_flush_does_not_touch_what_is_in_memory_only() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    disk.fail_always(DiskOperation::Write);
    disk.fail_always(DiskOperation::Sync);
    for _ in 0..10 {
        let mut work = task("count", "x");
        work.options.durability = Some(Durability::Ephemeral);
        let id = work.envelope.id;
        sender.publish(work).await.unwrap();
        let delivery = agent.delivery().await;
        let number = agent.settle(delivery.token, done());
        agent.answer(number).await.unwrap();
        assert_eq!(get(&broker, id).await.unwrap().state, TaskState::Completed);
    }
    assert_eq!(broker.state(), BrokerState::Ready);
    // What would be logged is not accepted: the broker ends, or had found no room before that.
    let number = sender.send(Operation::Publish(Arc::new(task("count", "x"))));
    let accepted = sender.find(|item| match item {
        SessionItem::Refused { operation, .. } if *operation == number => Some(false),
        SessionItem::GoAway { .. } => Some(false),
        SessionItem::Accepted(accepted) if accepted.operation == number => Some(true),
        SessionItem::Done { first, .. } if *first == number => Some(true),
        _ => None,
    });
    assert!(!accepted.await);
}

#[tokio::test]
async fn draining_tells_sessions_and_closes_the_log_in_order() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(on(&disk)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut lost = task("count", "x");
    lost.options.task = false;
    sender.publish(lost).await.unwrap();
    let draining = tokio::spawn({
        let broker = broker.clone();
        async move { broker.drain(Duration::from_secs(10)).await }
    });
    assert!(sender.go_away().await.contains("shutting down"));
    sender.connection.close();
    draining.await.unwrap();
    assert_eq!(broker.state(), BrokerState::Closed);

    let broker = Broker::open(on(&disk)).await.unwrap();
    let trunkline_types::Answer::Stats(stats) =
        Connector::query(&broker, trunkline_types::Query::Stats).await.unwrap()
    else {
        panic!("stats were asked for")
    };
    assert_eq!(stats.counters.lost, 1, "the plain request was in memory only, and is counted");
}

#[tokio::test]
async fn a_log_that_is_far_behind_refuses_new_work_and_takes_it_again() {
    let disk = MemoryDisk::new();
    let mut config = on(&disk);
    config.log.pending_bytes = 1;
    let broker = Broker::open(config).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    // Later ones meet what earlier ones have left to be written, if the log is not faster.
    let mut refused = 0;
    for _ in 0..100 {
        let send = |_| sender.send(Operation::Publish(Arc::new(task("count", "x"))));
        let numbers: Vec<_> = (0..200).map(send).collect();
        for number in numbers {
            if let Err(refusal) = sender.answer(number).await {
                assert_eq!(refusal.code, RefusalCode::Unavailable);
                assert!(refusal.retry_after.is_some());
                refused += 1;
            }
        }
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "the log was never behind");
    while sender.publish(task("count", "x")).await.is_err() {}
}
