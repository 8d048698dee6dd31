//! Payloads of waiting work leave memory beyond the bound that is set, and come back from the log.

use crate::common::{Peer, card, hello, log, on, task};
use std::path::Path;
use std::time::Duration;
use trunkline_broker::{Broker, BrokerConfig, Store};
use trunkline_log::{MemoryDisk, Operation as DiskOperation};
use trunkline_types::session::{Connector, Operation};
use trunkline_types::{Answer, DeadLetterFilter, MessageId, Outcome, Query, TaskState};

const TASKS: usize = 300;

fn config(store: Store, bound: u64) -> BrokerConfig {
    let mut config = on(&MemoryDisk::new());
    config.store = store;
    config.engine.payload_memory = bound;
    config.engine.clean_min_bytes = 256 << 10;
    config.engine.ended_tasks = 20;
    config
}

async fn on_directory(directory: &Path, bound: u64) -> Broker {
    Broker::open(config(Store::Directory(directory.to_owned()), bound)).await.unwrap()
}

/// A payload of some 4 KiB that no other task has.
fn payload(number: usize) -> String {
    format!("{number:08}").repeat(500)
}

/// Sends tasks that nobody serves; returns their ids.
async fn send(sender: &mut Peer, numbers: std::ops::Range<usize>) -> Vec<MessageId> {
    let mut ids = Vec::new();
    for number in numbers {
        let task = task("count", &payload(number));
        ids.push(task.envelope.id);
        sender.publish(task).await.unwrap();
    }
    ids
}

/// Works on so many tasks and checks that each is delivered whole and in order.
async fn work(broker: &Broker, agent: &mut Peer, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let delivery = agent.delivery().await;
        let told = delivery.publish.envelope.payload.to_text().into_owned();
        if told != payload(number) {
            let begins = &told[..told.len().min(8)];
            let (attempt, letters) = (delivery.attempt, reasons(broker).await);
            panic!("not {number}, but {begins} in its attempt {attempt}; dead are {letters:?}");
        }
        let settled = agent.settle(delivery.token, Outcome::Complete { reply: None });
        agent.answer(settled).await.unwrap();
    }
}

/// Why dead letters are dead.
async fn reasons(broker: &Broker) -> Vec<String> {
    let letters = Query::DeadLetters(DeadLetterFilter::default());
    let Answer::DeadLetters(page) = broker.query(letters).await.unwrap() else { panic!("letters") };
    page.letters.into_iter().map(|letter| letter.reason).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_payload_bytes_wait_in_memory_than_are_set_and_all_come_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let broker = on_directory(directory.path(), 40_000).await;
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let ids = send(&mut sender, 0..TASKS).await;
    let figures = log(&broker).await;
    assert_eq!(figures.payload_memory_bytes + figures.payload_disk_bytes, 4000 * TASKS as u64);
    assert!(figures.payload_memory_bytes <= 44_000, "{figures:?}");
    assert_eq!(figures.payloads_on_disk, figures.payload_disk_bytes / 4000);
    // What is looked at meanwhile is whole.
    let question = Query::Task { id: ids[TASKS / 2], history_length: None };
    let Answer::Task(middle) = broker.query(question).await.unwrap() else { panic!("a task") };
    assert_eq!(middle.history.messages[0].payload.to_text(), payload(TASKS / 2));
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    work(&broker, &mut agent, 0..100).await;
    // What it holds goes back, and before the rest.
    agent.connection.close();
    drop((sender, agent));
    broker.drain(Duration::from_secs(10)).await;
    drop(broker);

    // A restart holds no more in memory, and goes on.
    let broker = on_directory(directory.path(), 40_000).await;
    let figures = log(&broker).await;
    assert!(figures.payload_memory_bytes <= 44_000, "{figures:?}");
    assert!(figures.payloads_on_disk > 150, "{figures:?}");
    let mut agent = Peer::open(&broker, hello(3, Some(card("a", "count")))).await.unwrap();
    work(&broker, &mut agent, 100..TASKS).await;
    let figures = log(&broker).await;
    assert_eq!((figures.payload_memory_bytes, figures.payload_disk_bytes), (0, 0));
    assert!(figures.payload_loads > 150 && figures.payload_load_batches > 0, "{figures:?}");
}

#[tokio::test]
async fn with_a_higher_bound_all_payloads_stay_in_memory_and_a_reload_changes_that() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(config(on(&disk).store, 64 << 20)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    send(&mut sender, 0..20).await;
    assert_eq!(log(&broker).await.payloads_on_disk, 0);
    let lower = config(on(&disk).store, 0).engine;
    assert!(broker.reconfigure(lower).unwrap().is_empty());
    assert_eq!(log(&broker).await.payloads_on_disk, 20);
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    work(&broker, &mut agent, 0..20).await;
}

#[tokio::test]
async fn cleaning_keeps_payloads_that_are_only_on_disk() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(config(on(&disk).store, 0)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    // Between each of those that stay, some that go.
    let mut kept = Vec::new();
    for number in 0..60 {
        kept.push(number);
        send(&mut sender, number..number + 1).await;
        for other in 0..6 {
            let gone = task("other", &payload(1000 + other));
            let id = gone.envelope.id;
            sender.publish(gone).await.unwrap();
            let reason = "no longer wanted".to_owned();
            let cancel = sender.send(Operation::Cancel { id, reason, descendants: false });
            sender.answer(cancel).await.unwrap();
        }
    }
    let figures = log(&broker).await;
    assert!(figures.removed_segments > 5 && figures.carried_bytes > 0, "{figures:?}");
    assert_eq!(figures.payloads_on_disk, 60, "{figures:?}");
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    work(&broker, &mut agent, 0..60).await;
}

#[tokio::test]
async fn a_payload_that_the_disk_does_not_give_back_makes_a_dead_letter() {
    let disk = MemoryDisk::new();
    let broker = Broker::open(config(on(&disk).store, 0)).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let ids = send(&mut sender, 0..1).await;
    disk.fail_always(DiskOperation::Read);
    let _agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    let task = loop {
        let question = Query::Task { id: ids[0], history_length: Some(0) };
        let Answer::Task(task) = broker.query(question).await.unwrap() else { panic!("a task") };
        if task.state != TaskState::Submitted {
            break task;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(task.state, TaskState::Failed);
    let reason = task.reason.unwrap();
    assert!(reason.contains("its payload cannot be read from the log"), "{reason}");
    assert_eq!(reasons(&broker).await[0], reason);
}
