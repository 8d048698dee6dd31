//! A broker whose log gives up what its index has.

use super::{Peer, card, hello, stats, task};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::session::Connector;
use trunkline_types::{Answer, MessageId, Outcome, Publish, Query, Stats, TaskFilter};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many tasks there are whose records the log has given up.
pub(crate) const COUNT: usize = 120;

/// Nothing stays in memory that the index has.
pub(crate) fn indexing(data: &Path) -> BrokerConfig {
    let mut config = super::at(data);
    config.engine.recent_tasks = 0;
    config
}

/// Nothing stays in memory or in the log that the index has.
pub(crate) fn at(data: &Path) -> BrokerConfig {
    let mut config = indexing(data);
    (config.engine.clean_min_bytes, config.engine.clean_percent) = (0, 150);
    config
}

pub(crate) fn folder(data: &Path) -> PathBuf {
    data.join("index")
}

pub(crate) fn file(data: &Path) -> PathBuf {
    folder(data).join("keys.sqlite")
}

/// The indexes that were put aside.
pub(crate) fn aside(data: &Path) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(data.join("quarantine")) else { return Vec::new() };
    let paths = listed.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        paths.filter(|path| path.to_str().unwrap().contains("keys.sqlite")).collect();
    found.sort();
    found
}

/// A task under a key.
fn keyed(key: &str) -> Publish {
    let mut work = task("s", &"x".repeat(4000));
    work.envelope.idempotency_key = Some(key.parse().unwrap());
    work
}

/// A broker with an agent and somebody who sends to it.
pub(crate) struct Scene {
    pub(crate) broker: Broker,
    pub(crate) agent: Peer,
    pub(crate) client: Peer,
}

impl Scene {
    pub(crate) async fn open(config: BrokerConfig, session: u128) -> Self {
        let broker = Broker::open(config).await.unwrap();
        let agent = Peer::open(&broker, hello(session, Some(card("a", "s")))).await.unwrap();
        let client = Peer::open(&broker, hello(session + 1, None)).await.unwrap();
        Self { broker, agent, client }
    }

    /// A task that ends as said.
    pub(crate) async fn end(&mut self, work: Publish, outcome: Outcome) -> MessageId {
        let id = work.envelope.id;
        let accepted = self.client.publish(work).await.unwrap();
        assert!(accepted.is_none_or(|accepted| !accepted.duplicate));
        let delivery = self.agent.delivery().await;
        let number = self.agent.settle(delivery.token, outcome);
        self.agent.answer(number).await.unwrap();
        id
    }

    pub(crate) async fn complete(&mut self, work: Publish) -> MessageId {
        self.end(work, Outcome::Complete { reply: Some("done".into()) }).await
    }

    /// A task under a key that is done.
    pub(crate) async fn complete_under(&mut self, key: &str) -> MessageId {
        self.complete(keyed(key)).await
    }

    pub(crate) async fn is_repeat(&mut self, key: &str) -> bool {
        let accepted = self.client.publish(keyed(key)).await;
        accepted.unwrap().is_some_and(|accepted| accepted.duplicate)
    }

    pub(crate) async fn stats(&self) -> Stats {
        stats(&self.broker).await
    }

    pub(crate) async fn until(&self, wanted: impl Fn(&Stats) -> bool) -> Stats {
        let end = Instant::now() + PATIENCE;
        loop {
            let stats = self.stats().await;
            if wanted(&stats) {
                return stats;
            }
            assert!(Instant::now() < end, "{stats:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// All pages of a list.
    pub(crate) async fn list(&self, filter: TaskFilter) -> Vec<MessageId> {
        let (mut filter, mut found) = (filter, Vec::new());
        loop {
            let question = Query::Tasks(filter.clone());
            let page = match self.broker.query(question).await {
                Ok(Answer::Tasks(page)) => page,
                other => panic!("{other:?}"),
            };
            found.extend(page.tasks.iter().map(|task| task.id));
            let Some(next) = page.next else { return found };
            filter.before = Some(next);
        }
    }

    /// How many tasks are listed.
    pub(crate) async fn listed(&self) -> usize {
        self.list(TaskFilter::default()).await.len()
    }

    pub(crate) async fn close(self) {
        drop((self.agent, self.client));
        self.broker.drain(Duration::from_secs(10)).await;
    }
}

/// A stopped broker whose log has given up almost all of its tasks, `k-0` and so on.
pub(crate) async fn cleaned(data: &Path) -> Vec<MessageId> {
    let mut scene = Scene::open(at(data), 1).await;
    let mut ids = Vec::new();
    for number in 0..COUNT {
        ids.push(scene.complete_under(&format!("k-{number}")).await);
    }
    scene.until(|stats| stats.log.is_some_and(|log| log.segments <= 3)).await;
    scene.until(|stats| stats.tasks_indexed == COUNT as u64).await;
    assert_eq!(scene.listed().await, COUNT);
    scene.close().await;
    ids
}

/// All files of a folder and what is in them.
pub(crate) fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
