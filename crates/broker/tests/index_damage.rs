//! Damage while the log has given up what the index holds: nothing of the index is deleted, and
//! what is not damaged is found.

#![allow(clippy::unwrap_used, reason = "a test stops where something is not as it should be")]

mod common;

use common::{Peer, card, get, hello, stats, task};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use trunkline_broker::{Broker, BrokerConfig, OpenError, Repair, Verified, verify};
use trunkline_log::{Directory, Location, Storage};
use trunkline_types::session::{Accepted, Connector};
use trunkline_types::{Answer, MessageId, Outcome, Query, Refusal, RefusalCode, Stats, TaskFilter};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How many tasks there are whose records the log has given up.
const COUNT: usize = 120;

/// The marks that end what cleaning says again.
const MARKS: u8 = 76;

/// Nothing stays in memory or in the log that the index has.
fn at(data: &Path) -> BrokerConfig {
    let mut config = common::at(data);
    config.engine.recent_tasks = 0;
    (config.engine.clean_min_bytes, config.engine.clean_percent) = (0, 150);
    config
}

fn folder(data: &Path) -> PathBuf {
    data.join("index")
}

fn file(data: &Path) -> PathBuf {
    folder(data).join("keys.sqlite")
}

/// The indexes that were put aside.
fn aside(data: &Path) -> Vec<PathBuf> {
    let Ok(listed) = fs::read_dir(data.join("quarantine")) else { return Vec::new() };
    let paths = listed.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> =
        paths.filter(|path| path.to_str().unwrap().contains("keys.sqlite")).collect();
    found.sort();
    found
}

/// A broker with an agent and somebody who sends to it.
struct Scene {
    broker: Broker,
    agent: Peer,
    client: Peer,
}

impl Scene {
    async fn open(config: BrokerConfig, session: u128) -> Self {
        let broker = Broker::open(config).await.unwrap();
        let agent = Peer::open(&broker, hello(session, Some(card("a", "s")))).await.unwrap();
        let client = Peer::open(&broker, hello(session + 1, None)).await.unwrap();
        Self { broker, agent, client }
    }

    /// Publishes under a key.
    async fn publish(&mut self, key: &str) -> (MessageId, Result<Option<Accepted>, Refusal>) {
        let mut work = task("s", &"x".repeat(4000));
        work.envelope.idempotency_key = Some(key.parse().unwrap());
        (work.envelope.id, self.client.publish(work).await)
    }

    /// A task under a key that is done.
    async fn complete(&mut self, key: &str) -> MessageId {
        let (id, accepted) = self.publish(key).await;
        assert!(accepted.unwrap().is_none_or(|accepted| !accepted.duplicate));
        let delivery = self.agent.delivery().await;
        let number = self.agent.settle(delivery.token, Outcome::Complete { reply: None });
        self.agent.answer(number).await.unwrap();
        id
    }

    async fn is_repeat(&mut self, key: &str) -> bool {
        let (_, accepted) = self.publish(key).await;
        accepted.unwrap().is_some_and(|accepted| accepted.duplicate)
    }

    async fn until(&self, wanted: impl Fn(&Stats) -> bool) -> Stats {
        let end = Instant::now() + PATIENCE;
        loop {
            let stats = stats(&self.broker).await;
            if wanted(&stats) {
                return stats;
            }
            assert!(Instant::now() < end, "{stats:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many tasks are listed.
    async fn listed(&self) -> usize {
        let (mut filter, mut count) = (TaskFilter::default(), 0);
        loop {
            let question = Query::Tasks(filter.clone());
            let page = match self.broker.query(question).await {
                Ok(Answer::Tasks(page)) => page,
                other => panic!("{other:?}"),
            };
            count += page.tasks.len();
            let Some(next) = page.next else { return count };
            filter.before = Some(next);
        }
    }

    async fn close(self) {
        drop((self.agent, self.client));
        self.broker.drain(Duration::from_secs(10)).await;
    }
}

/// A stopped broker whose log has given up almost all of its tasks, `k-0` and so on.
async fn cleaned(data: &Path) -> Vec<MessageId> {
    let mut scene = Scene::open(at(data), 1).await;
    let mut ids = Vec::new();
    for number in 0..COUNT {
        ids.push(scene.complete(&format!("k-{number}")).await);
    }
    scene.until(|stats| stats.log.is_some_and(|log| log.segments <= 3)).await;
    scene.until(|stats| stats.tasks_indexed == COUNT as u64).await;
    assert_eq!(scene.listed().await, COUNT);
    scene.close().await;
    ids
}

/// Every record of a stopped broker: its tag, its place, and where it is.
fn records(data: &Path) -> Vec<(u8, u64, Location)> {
    let storage: Arc<dyn Storage> = Arc::new(Directory::inspect(data).unwrap());
    let mut found = Vec::new();
    trunkline_log::verify(&storage, |record| {
        found.push((record.tag, record.sequence, record.location));
        Ok(())
    })
    .unwrap();
    found
}

/// Damages a record.
fn flip(data: &Path, place: Location) {
    let path = data.join(format!("{:020}.log", place.segment));
    let mut bytes = fs::read(&path).unwrap();
    bytes[usize::try_from(place.offset).unwrap() + 25] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// Damages the table of tasks where it is read from the middle, without anything being seen when
/// the file is opened.
fn damage_tasks(data: &Path) {
    let connection = Connection::open(file(data)).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, u32>(0)).unwrap();
    let root = number("SELECT rootpage FROM sqlite_master WHERE name = 'tasks'");
    let size = number("PRAGMA page_size");
    drop(connection);
    let mut bytes = fs::read(file(data)).unwrap();
    let at = |page: u32| usize::try_from((page - 1) * size).unwrap();
    let root = at(root);
    assert_eq!(bytes[root], 5, "it has pages below");
    // The first of the pages below.
    let cell = usize::from(u16::from_be_bytes([bytes[root + 12], bytes[root + 13]]));
    let page: [u8; 4] = bytes[root + cell..root + cell + 4].try_into().unwrap();
    let page = at(u32::from_be_bytes(page));
    bytes[page..page + 200].fill(0x55);
    fs::write(file(data), bytes).unwrap();
}

#[tokio::test]
async fn after_damage_is_found_nothing_goes_in_and_the_log_keeps_what_comes() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let ids = cleaned(&data).await;
    damage_tasks(&data);
    let mut scene = Scene::open(at(&data), 3).await;
    let refused = get(&scene.broker, ids[0]).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::StoreFailed);
    let before = stats(&scene.broker).await.log.unwrap().removed_segments;
    let mut later = Vec::new();
    for number in 0..60 {
        later.push(scene.complete(&format!("n-{number}")).await);
    }
    let log = stats(&scene.broker).await.log.unwrap();
    assert_eq!(log.removed_segments, before, "nothing is given up on the index's word");
    assert!(file(&data).exists(), "and nothing is deleted");
    let kept = fs::read(file(&data)).unwrap();
    scene.close().await;

    let mut scene = Scene::open(at(&data), 5).await;
    for (number, id) in later.iter().enumerate() {
        get(&scene.broker, *id).await.unwrap();
        assert!(scene.is_repeat(&format!("n-{number}")).await, "{number}");
    }
    assert!(scene.listed().await >= later.len());
    let stats = stats(&scene.broker).await;
    assert_eq!(stats.tasks_completed, (COUNT + later.len()) as u64);
    let known = scene.listed().await as u64;
    assert_eq!(stats.tasks_forgotten, stats.tasks_completed - known, "what is missing is counted");
    let moved = aside(&data);
    assert_eq!(fs::read(&moved[0]).unwrap().len(), kept.len());
    scene.close().await;
    // That one is whole.
    Scene::open(at(&data), 7).await.close().await;
    assert_eq!(aside(&data), moved);
}

#[tokio::test]
async fn an_index_that_cannot_be_opened_is_refused_and_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    cleaned(&data).await;
    // SQLite cannot make what it needs beside the file, as on a disk that is full.
    let in_the_way = folder(&data).join("keys.sqlite-wal");
    assert!(!in_the_way.exists());
    fs::create_dir(&in_the_way).unwrap();
    let before = fs::read(file(&data)).unwrap();
    let error = Broker::open(at(&data)).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Index(_)), "{error}");
    assert!(error.to_string().contains("cannot open the index"), "{error}");
    assert!(fs::read(file(&data)).unwrap() == before);
    fs::remove_dir(&in_the_way).unwrap();
    let mut scene = Scene::open(at(&data), 3).await;
    assert_eq!(scene.listed().await, COUNT);
    assert!(scene.is_repeat("k-1").await);
    scene.close().await;
    assert_eq!(aside(&data), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn an_index_of_a_newer_version_is_refused_and_left_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    cleaned(&data).await;
    let version = |version: Option<u32>| {
        let connection = Connection::open(file(&data)).unwrap();
        if let Some(version) = version {
            connection.pragma_update(None, "user_version", version).unwrap();
        }
        connection.query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0)).unwrap()
    };
    let ours = version(None);
    version(Some(99));
    let error = Broker::open(at(&data)).await.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains(&format!("its version is 99, this version reads up to {ours}")),
        "{error}"
    );
    assert_eq!(version(Some(ours)), ours);
    let scene = Scene::open(at(&data), 3).await;
    assert_eq!(scene.listed().await, COUNT);
    scene.close().await;
}

#[tokio::test]
async fn a_log_that_lost_what_tells_it_from_others_still_has_its_index() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let ids = cleaned(&data).await;
    let marks: Vec<_> = records(&data).into_iter().filter(|(tag, ..)| *tag == MARKS).collect();
    assert!(!marks.is_empty());
    marks.iter().for_each(|(_, _, place)| flip(&data, *place));
    for session in [3, 5, 7] {
        let mut scene = Scene::open(at(&data), session).await;
        assert!(scene.listed().await >= COUNT, "{session}");
        get(&scene.broker, ids[0]).await.unwrap();
        assert!(scene.is_repeat("k-1").await, "{session}");
        let stats = stats(&scene.broker).await;
        assert!(stats.tasks_completed >= COUNT as u64, "{stats:?}");
        if session == 5 {
            // So much that the log is cleaned again, and tells again what it is.
            for number in 0..60 {
                scene.complete(&format!("m-{number}")).await;
            }
            scene.until(|stats| stats.log.is_some_and(|log| log.removed_segments > 0)).await;
        }
        scene.close().await;
    }
    assert_eq!(aside(&data), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn an_index_that_is_ahead_of_a_log_loses_only_what_the_log_has_lost() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let ids = cleaned(&data).await;
    let mut config = at(&data);
    // So that nothing is written behind what is looked at.
    config.engine.clean_min_bytes = 1 << 30;
    let mut scene = Scene::open(config, 3).await;
    let last = scene.complete("last").await;
    scene.until(|stats| stats.tasks_indexed == COUNT as u64 + 1).await;
    // The log as a broker leaves it that is killed, with a bit of its last flushed batch gone bad.
    let killed = home.path().join("killed");
    fs::create_dir_all(folder(&killed)).unwrap();
    for entry in fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            fs::copy(entry.path(), killed.join(entry.file_name())).unwrap();
        }
    }
    scene.close().await;
    for entry in fs::read_dir(folder(&data)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder(&killed).join(entry.file_name())).unwrap();
    }
    let (_, place, location) = *records(&killed).last().unwrap();
    flip(&killed, location);
    let read = || records(&killed).last().unwrap().1;
    assert!(read() < place, "it looks like the end");

    let mut scene = Scene::open(at(&killed), 5).await;
    get(&scene.broker, ids[COUNT - 1]).await.unwrap();
    assert!((COUNT..=COUNT + 1).contains(&scene.listed().await));
    for number in [0, 1, COUNT - 1] {
        assert!(scene.is_repeat(&format!("k-{number}")).await, "{number}");
    }
    // What the log has lost is done again.
    let found = get(&scene.broker, last).await.unwrap();
    assert!(!found.state.is_terminal(), "{found:?}");
    scene.close().await;
    assert_eq!(aside(&killed), [] as [PathBuf; 0]);
}

fn check(data: &Path, repair: Repair) -> Verified {
    verify(data, repair, |_, _| {}).unwrap()
}

/// All files of a folder and what is in them.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    all.sort();
    all
}

fn copy(from: &Path, to: &Path) {
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

/// A broker whose log still has everything that its index has, and that many tasks.
async fn uncleaned(data: &Path, session: u128) -> (Scene, Vec<MessageId>) {
    let mut config = at(data);
    config.engine.clean_min_bytes = 1 << 30;
    let mut scene = Scene::open(config, session).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(scene.complete(&format!("k-{number}")).await);
    }
    scene.until(|stats| stats.tasks_indexed == 12).await;
    (scene, ids)
}

#[tokio::test]
async fn a_check_tells_what_an_index_lacks_of_its_log_and_a_repair_has_it_made_up_for() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    let (scene, ids) = uncleaned(&whole, 1).await;
    scene.close().await;
    assert!(check(&whole, Repair::No).is_sound());
    let (lacks, damaged) = ("the index is not complete: ", "the index is damaged: ");
    let cases = [
        ("DELETE FROM keys", lacks, "it lacks the key of record"),
        ("DELETE FROM keys WHERE key = 'k-7'", lacks, "it lacks the key of record"),
        ("DELETE FROM tasks", lacks, "as many tasks as it counts"),
        (
            "DELETE FROM tasks WHERE place = (SELECT max(place) FROM tasks);
             UPDATE task_sums SET tasks = tasks - 1",
            lacks,
            "it lacks task",
        ),
        ("UPDATE task_sums SET bytes = bytes + 1", lacks, "as many tasks as it counts"),
        ("UPDATE tasks SET head = x'ff00'", damaged, "its task of record"),
        ("UPDATE tasks SET state = 6", damaged, "is two tasks in one"),
        ("UPDATE keys SET key = key || 'x'", damaged, "its key of record"),
        ("DROP TABLE keys", damaged, "no such table"),
    ];
    for (number, (sql, kind, what)) in cases.into_iter().enumerate() {
        let data = home.path().join(number.to_string());
        copy(&whole, &data);
        Connection::open(file(&data)).unwrap().execute_batch(sql).unwrap();
        let before = contents(&folder(&data));
        let found = check(&data, Repair::No);
        assert_eq!(found.faults_total, 1, "{sql}: {found:?}");
        let told = found.faults[0].to_string();
        assert!(told.starts_with(kind) && told.contains(what), "{sql}: {told}");
        assert!(contents(&folder(&data)) == before, "looking changes nothing");

        let repaired = check(&data, Repair::Yes);
        assert!(repaired.is_sound(), "{sql}: {repaired:?}");
        assert_eq!(repaired.index_moved.is_some(), kind == damaged, "{sql}");
        assert_eq!(repaired.index_mended.is_some(), kind == lacks, "{sql}");
        let mut scene = Scene::open(at(&data), 3).await;
        assert_eq!(scene.listed().await, ids.len(), "{sql}");
        for number in 0..ids.len() {
            assert!(scene.is_repeat(&format!("k-{number}")).await, "{sql}: {number}");
        }
        scene.until(|stats| stats.tasks_indexed == ids.len() as u64).await;
        scene.close().await;
        let found = check(&data, Repair::No);
        assert!(found.is_sound(), "{sql}: {found:?}");
    }
}

#[tokio::test]
async fn an_index_that_could_not_be_checked_is_not_taken_for_a_damaged_one() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let (scene, _) = uncleaned(&data, 1).await;
    scene.close().await;
    let aside = home.path().join("aside");
    fs::rename(file(&data), &aside).unwrap();
    fs::create_dir(file(&data)).unwrap();
    let found = check(&data, Repair::Yes);
    assert!(!found.is_sound() && found.index_moved.is_none(), "{found:?}");
    let told = found.faults[0].to_string();
    assert!(told.starts_with("the index could not be checked: "), "{told}");
    fs::remove_dir(file(&data)).unwrap();
    fs::rename(&aside, file(&data)).unwrap();
    let connection = Connection::open(file(&data)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let found = check(&data, Repair::Yes);
    assert!(!found.is_sound() && found.index_moved.is_none(), "{found:?}");
    assert!(found.faults[0].what.contains("its version is 99"), "{found:?}");
}

#[tokio::test]
async fn what_a_crash_left_beside_an_index_is_read_and_stays_as_it_is() {
    let home = tempfile::tempdir().unwrap();
    let (data, killed) = (home.path().join("data"), home.path().join("killed"));
    let (scene, _) = uncleaned(&data, 1).await;
    copy(&data, &killed);
    scene.close().await;
    let before = contents(&folder(&killed));
    let wal = folder(&killed).join("keys.sqlite-wal");
    assert!(fs::metadata(&wal).unwrap().len() > 0);
    let found = check(&killed, Repair::No);
    assert!(found.is_sound(), "{found:?}");
    let changed = contents(&folder(&killed)) != before;
    assert!(!changed, "looking changes nothing");
    // Without it there is nothing in the file.
    fs::remove_file(wal).unwrap();
    assert!(!check(&killed, Repair::No).is_sound());
}
