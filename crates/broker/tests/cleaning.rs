//! The log of a broker that works does not grow for ever, and what is live outlives its records.

use crate::common::{Peer, card, get, hello, log, new_id, on, task};
use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};
use trunkline_broker::{Broker, BrokerConfig, LogConfig, Repair, Store, verify};
use trunkline_log::MemoryDisk;
use trunkline_types::session::Operation;
use trunkline_types::{LogStats, MessageId, Outcome, TaskState};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

fn config(store: Store) -> BrokerConfig {
    let mut config = BrokerConfig { store, ..BrokerConfig::ephemeral() };
    config.log = LogConfig { segment_bytes: 1 << 20, max_body_bytes: 1 << 17, ..config.log };
    let limits = &mut config.engine.limits;
    limits.payload_bytes = 1 << 16;
    (limits.headers, limits.destinations, limits.card_entries) = (4, 16, 4);
    (limits.reason_bytes, limits.card_schema_bytes) = (1 << 10, 1 << 10);
    config.engine.logged_copies = 16;
    config.engine.clean_min_bytes = 4 << 20;
    config.engine.ended_tasks = 50;
    config
}

/// Waits until the figures of the log are as wanted.
async fn until(broker: &Broker, wanted: impl Fn(&LogStats) -> bool) -> LogStats {
    let end = Instant::now() + PATIENCE;
    loop {
        let figures = log(broker).await;
        if wanted(&figures) {
            return figures;
        }
        assert!(Instant::now() < end, "{figures:?}");
        tokio::task::yield_now().await;
    }
}

/// Sends and settles tasks of 16 KiB until so many bytes went through the log.
async fn work(sender: &mut Peer, agent: &mut Peer, bytes: usize) {
    for _ in 0..bytes / (16 << 10) {
        sender.publish(task("count", &"x".repeat(16 << 10))).await.unwrap();
        let delivery = agent.delivery().await;
        let number = agent.settle(delivery.token, Outcome::Complete { reply: None });
        agent.answer(number).await.unwrap();
    }
}

fn segments(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let is_segment = |name: &String| name.contains(".log") && !name.starts_with("free");
    let mut names: Vec<_> = names.filter(is_segment).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn segments_go_as_work_ends_and_what_is_live_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = || Store::Directory(folder.path().to_owned());
    let broker = Broker::open(config(store())).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    let mut waiting = Vec::new();
    for number in 0..20 {
        let work = task("nobody", &format!("live {number}"));
        waiting.push(work.envelope.id);
        sender.publish(work).await.unwrap();
    }
    let mut keyed = task("nobody", "keyed");
    keyed.envelope.idempotency_key = Some("once".parse().unwrap());
    sender.publish(keyed.clone()).await.unwrap();
    let first = segments(folder.path())[0].clone();
    work(&mut sender, &mut agent, 50 << 20).await;
    let figures = until(&broker, |log| log.removed_segments > 20 && log.segments < 12).await;
    assert!(figures.carried_bytes > 0, "{figures:?}");
    assert!(figures.amplification_percent() < 200, "{figures:?}");
    assert!(figures.disk_bytes < 20 << 20, "{figures:?}");
    assert!(!segments(folder.path()).contains(&first));
    drop((sender, agent));
    broker.drain(Duration::ZERO).await;
    drop(broker);
    let verified = verify(folder.path(), Repair::No, |_, _| {}).unwrap();
    assert!(verified.is_sound(), "{verified:?}");

    let broker = Broker::open(config(store())).await.unwrap();
    for id in waiting {
        assert_eq!(get(&broker, id).await.unwrap().state, TaskState::Submitted);
    }
    let mut sender = Peer::open(&broker, hello(3, None)).await.unwrap();
    keyed.envelope.id = new_id();
    let again = sender.publish(keyed).await.unwrap();
    assert!(again.is_some_and(|accepted| accepted.duplicate), "its key is in the index");
}

#[tokio::test]
async fn a_log_is_left_alone_below_the_bound_that_is_set_and_cleaned_once_that_is_lowered() {
    let disk = MemoryDisk::new();
    let mut config = on(&disk);
    config.engine.clean_min_bytes = u64::MAX;
    config.engine.ended_tasks = 5;
    let broker = Broker::open(config.clone()).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    let mut send = async |count: usize| {
        for _ in 0..count {
            sender.publish(task("count", &"x".repeat(4000))).await.unwrap();
            let delivery = agent.delivery().await;
            let number = agent.settle(delivery.token, Outcome::Complete { reply: None });
            agent.answer(number).await.unwrap();
        }
    };
    send(200).await;
    let figures = log(&broker).await;
    assert!(figures.segments > 10 && figures.removed_segments == 0, "{figures:?}");
    config.engine.clean_min_bytes = 1 << 18;
    broker.reconfigure(config.engine).unwrap();
    send(5).await;
    until(&broker, |log| log.removed_segments > 5).await;
}

#[tokio::test]
async fn a_full_disk_is_cleaned_at_once_and_takes_new_work_again() {
    let disk = MemoryDisk::new();
    let mut config = on(&disk);
    config.engine.clean_min_bytes = u64::MAX;
    config.engine.ended_tasks = 1;
    let broker = Broker::open(config).await.unwrap();
    let mut sender = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut agent = Peer::open(&broker, hello(2, Some(card("a", "count")))).await.unwrap();
    disk.set_capacity(Some(disk.used_bytes() + (6 << 16)));
    // Far more than the disk can hold at a time.
    for _ in 0..400 {
        let end = Instant::now() + PATIENCE;
        while let Err(refusal) = sender.publish(task("count", &"x".repeat(4000))).await {
            assert!(Instant::now() < end, "{refusal}");
            tokio::task::yield_now().await;
        }
        let delivery = agent.delivery().await;
        let number = agent.settle(delivery.token, Outcome::Complete { reply: None });
        agent.answer(number).await.unwrap();
    }
    let figures = log(&broker).await;
    assert!(figures.removed_segments > 10, "{figures:?}");
}

/// Work of which a constant part is live: as much comes as is called off, and as much again is done
/// at once.
struct Mixed {
    sender: Peer,
    agent: Peer,
    live: VecDeque<MessageId>,
}

impl Mixed {
    /// How many tasks are live, each of so many bytes.
    const LIVE: usize = 512;
    const BYTES: usize = 4000;

    async fn open(broker: &Broker) -> Self {
        let sender = Peer::open(broker, hello(1, None)).await.unwrap();
        let agent = Peer::open(broker, hello(2, Some(card("a", "count")))).await.unwrap();
        Self { sender, agent, live: VecDeque::new() }
    }

    async fn step(&mut self) {
        let waits = task("nobody", &"x".repeat(Self::BYTES));
        self.live.push_back(waits.envelope.id);
        self.sender.publish(waits).await.unwrap();
        self.sender.publish(task("count", &"x".repeat(Self::BYTES))).await.unwrap();
        let delivery = self.agent.delivery().await;
        let number = self.agent.settle(delivery.token, Outcome::Complete { reply: None });
        self.agent.answer(number).await.unwrap();
        if self.live.len() > Self::LIVE {
            let id = self.live.pop_front().unwrap();
            let reason = "it is old".to_owned();
            let cancel = Operation::Cancel { id, reason, descendants: false };
            let number = self.sender.send(cancel);
            self.sender.answer(number).await.unwrap();
        }
    }
}

#[tokio::test]
async fn with_half_of_the_log_live_everything_is_written_less_than_twice() {
    let disk = MemoryDisk::new();
    let mut config = on(&disk);
    // Only what is live decides when the log is cleaned; the share of it is that of the defaults.
    (config.engine.clean_min_bytes, config.engine.ended_tasks) = (0, 5);
    let segment_bytes = config.log.segment_bytes;
    let broker = Broker::open(config).await.unwrap();
    let mut mixed = Mixed::open(&broker).await;
    for _ in 0..Mixed::LIVE {
        mixed.step().await;
    }
    // All that is live has come and gone several times.
    for _ in 0..Mixed::LIVE * 6 {
        mixed.step().await;
    }
    // However far cleaning is behind, it goes on with the next records.
    let end = Instant::now() + PATIENCE;
    let figures = loop {
        mixed.step().await;
        let figures = log(&broker).await;
        if figures.segments * segment_bytes <= figures.live_bytes * 5 / 2 {
            break figures;
        }
        assert!(Instant::now() < end, "{figures:?}");
    };
    let live = (Mixed::LIVE * Mixed::BYTES) as u64;
    assert!(figures.live_bytes >= live, "{figures:?}");
    assert!(figures.carried_bytes > live, "what is live was said again: {figures:?}");
    assert!(figures.amplification_percent() < 200, "{figures:?}");
}
