//! Dead letters on disk: listed, sent again and deleted after they left memory, made again from the
//! log when the index is missing, damaged or behind, and deleted when they are past their time or
//! too much.

use crate::common::scene::{Scene, copy, file, indexing};
use crate::common::{get, new_id, task};
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};
use trunkline_broker::{BrokerConfig, Repair, verify};
use trunkline_types::session::{Connector, LetterAddress, Operation, Redrive};
use trunkline_types::{
    Answer, DeadLetter, DeadLetterFilter, Durability, MessageId, Outcome, Publish, Query,
    RefusalCode, Stats, TaskState, WallTime,
};

/// Nothing stays in memory that the index has, and an agent goes on however much fails.
fn at(data: &Path) -> BrokerConfig {
    let mut config = indexing(data);
    config.engine.breaker_failures = 0;
    config
}

/// Work that is given up.
impl Scene {
    async fn die(&mut self, work: Publish, reason: &str) -> MessageId {
        self.end(work, Outcome::DeadLetter { reason: reason.into() }).await
    }

    /// So many dead letters, the oldest first.
    async fn dead(&mut self, count: usize) -> Vec<MessageId> {
        let mut ids = Vec::new();
        for number in 0..count {
            ids.push(self.die(task("s", &number.to_string()), "poison").await);
        }
        ids
    }

    /// Waits until so many letters are on disk only, and nothing is on its way there.
    async fn letters_indexed(&self, count: u64) -> Stats {
        self.until(|stats| stats.dead_letters_indexed == count && stats.records_unindexed == 0)
            .await
    }

    async fn letters(&self, filter: DeadLetterFilter) -> Vec<DeadLetter> {
        let (mut filter, mut found) = (filter, Vec::new());
        loop {
            let question = Query::DeadLetters(filter.clone());
            let Ok(Answer::DeadLetters(page)) = self.broker.query(question).await else { panic!() };
            assert!(
                page.letters.len() <= if filter.limit == 0 { 100 } else { filter.limit as usize }
            );
            found.extend(page.letters);
            let Some(next) = page.next else { return found };
            filter.before = Some(next);
        }
    }

    /// All that a filter wants, newest first.
    async fn list_letters(&self, filter: DeadLetterFilter) -> Vec<MessageId> {
        let letters = self.letters(filter).await.into_iter();
        letters.map(|letter| letter.publish.envelope.id).collect()
    }

    async fn all(&self) -> Vec<MessageId> {
        self.list_letters(DeadLetterFilter::default()).await
    }

    /// Sends a letter again to somebody who is not there; the id of the new task.
    async fn redrive(&mut self, letter: MessageId) -> Result<MessageId, RefusalCode> {
        let id = new_id();
        let redrive = Redrive {
            letter: LetterAddress::from(letter),
            id,
            payload: None,
            destination: Some("skill:nobody".parse().unwrap()),
            priority: None,
        };
        let number = self.client.send(Operation::Redrive(Box::new(redrive)));
        self.client.answer(number).await.map(|_| id).map_err(|refusal| refusal.code)
    }

    async fn purge(&mut self, letter: MessageId) -> Result<(), RefusalCode> {
        let number = self.client.send(Operation::Purge(LetterAddress::from(letter)));
        self.client.answer(number).await.map(drop).map_err(|refusal| refusal.code)
    }
}

#[tokio::test]
async fn a_letter_that_is_only_on_disk_is_what_it_was_and_can_be_sent_again_or_deleted() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let ids = scene.dead(3).await;
    let before = scene.letters(DeadLetterFilter::default()).await;
    let stats = scene.letters_indexed(3).await;
    assert_eq!((stats.dead_letters, stats.dead_letters_forgotten), (3, 0));
    assert_eq!(scene.letters(DeadLetterFilter::default()).await, before);
    scene.close().await;
    let mut scene = Scene::open(at(data.path()), 3).await;
    assert_eq!(scene.stats().await.dead_letters_indexed, 3);
    assert_eq!(scene.letters(DeadLetterFilter::default()).await, before);
    let again = scene.redrive(ids[0]).await.unwrap();
    assert_eq!(scene.redrive(ids[0]).await, Err(RefusalCode::NotFound));
    scene.purge(ids[1]).await.unwrap();
    assert_eq!(scene.purge(ids[1]).await, Err(RefusalCode::NotFound));
    assert_eq!(scene.all().await, [ids[2]]);
    let stats = scene.letters_indexed(1).await;
    assert_eq!((stats.dead_letters, stats.redriven, stats.purged), (1, 1, 1));
    assert_eq!(scene.redrive(ids[0]).await, Err(RefusalCode::NotFound));
    let connection = Connection::open(file(data.path())).unwrap();
    let left = "SELECT count(*) FROM letters";
    // The rows go with the records of their ends, which may not have come to the index yet.
    scene.until(|_| connection.query_row(left, [], |row| row.get::<_, i64>(0)) == Ok(1)).await;
    drop(connection);
    scene.close().await;
    let scene = Scene::open(at(data.path()), 5).await;
    assert_eq!(scene.all().await, [ids[2]]);
    assert_eq!(get(&scene.broker, again).await.unwrap().state, TaskState::Submitted);
    // What the index does not have, nobody has.
    let connection = Connection::open(file(data.path())).unwrap();
    connection.execute("DELETE FROM letters", []).unwrap();
    assert!(scene.all().await.is_empty());
}

#[tokio::test]
async fn lists_are_narrowed_by_every_field_and_go_on_from_page_to_page_over_memory_and_disk() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let (mut all, mut to_agent, mut odd, mut times) = (vec![], vec![], vec![], vec![]);
    for number in 0..30 {
        let mut work = task("s", "x");
        if number % 3 == 0 {
            work.envelope.destination = "agent:a".parse().unwrap();
            to_agent.push(work.envelope.id);
        }
        // What is not in the log stays in memory, and has its place among the others.
        if number % 4 == 0 {
            work.options.durability = Some(Durability::Ephemeral);
        }
        let reason = if number % 2 == 0 { "no such file" } else { "no such host" };
        if number % 2 == 1 {
            odd.push(work.envelope.id);
        }
        all.push(scene.die(work, reason).await);
        if number == 14 {
            scene.until(|stats| stats.dead_letters_indexed == 11).await;
            thread::sleep(Duration::from_millis(5));
        }
        times.push(scene.letters(DeadLetterFilter::default()).await[0].at);
    }
    let none = DeadLetterFilter::default;
    let middle = times[15];
    let cases = [
        (none(), all.clone()),
        (DeadLetterFilter { id: Some(all[5]), ..none() }, vec![all[5]]),
        (DeadLetterFilter { id: Some(new_id()), ..none() }, vec![]),
        (DeadLetterFilter { inbox: "agent:a".parse().ok(), ..none() }, to_agent),
        (DeadLetterFilter { inbox: "skill:other".parse().ok(), ..none() }, vec![]),
        (DeadLetterFilter { agent: "a".parse().ok(), ..none() }, all.clone()),
        (DeadLetterFilter { agent: "b".parse().ok(), ..none() }, vec![]),
        (DeadLetterFilter { reason: Some("host".into()), ..none() }, odd),
        (DeadLetterFilter { since: Some(middle), ..none() }, all[15..].to_vec()),
        (DeadLetterFilter { until: Some(middle), ..none() }, all[..15].to_vec()),
        (DeadLetterFilter { until: Some(WallTime(1)), ..none() }, vec![]),
    ];
    for (filter, mut wanted) in cases {
        wanted.reverse();
        for limit in [0, 1, 4, 1000] {
            let filter = DeadLetterFilter { limit, ..filter.clone() };
            assert_eq!(scene.list_letters(filter.clone()).await, wanted, "{filter:?}");
        }
    }
    let tenant = "other".parse().unwrap();
    let principal = trunkline_types::Principal { tenant, ..Default::default() };
    let other = scene.broker.as_principal(principal);
    let asked = other.query(Query::DeadLetters(none())).await;
    let Ok(Answer::DeadLetters(page)) = asked else { panic!() };
    assert_eq!(page.letters, []);
}

#[tokio::test]
async fn a_missing_or_damaged_index_gets_its_letters_from_the_log_again_but_none_that_was_cleared()
{
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let mut ids = scene.dead(20).await;
    scene.letters_indexed(20).await;
    scene.redrive(ids[3]).await.unwrap();
    scene.purge(ids[4]).await.unwrap();
    scene.letters_indexed(18).await;
    scene.close().await;
    let cleared: Vec<_> = ids.drain(3..5).collect();
    ids.reverse();
    for session in [3, 5, 7] {
        match session {
            3 => fs::remove_dir_all(data.path().join("index")).unwrap(),
            5 => fs::write(file(data.path()), "no database at all".repeat(1000)).unwrap(),
            _ => fs::write(file(data.path()), "").unwrap(),
        }
        let mut scene = Scene::open(at(data.path()), session).await;
        assert_eq!(scene.all().await, ids);
        for letter in &cleared {
            assert_eq!(scene.redrive(*letter).await, Err(RefusalCode::NotFound));
        }
        let stats = scene.letters_indexed(18).await;
        assert_eq!(scene.all().await, ids);
        assert_eq!((stats.redriven, stats.purged, stats.dead_letters_forgotten), (1, 1, 0));
        for letter in &cleared {
            assert_eq!(scene.redrive(*letter).await, Err(RefusalCode::NotFound));
        }
        scene.close().await;
    }
}

#[tokio::test]
async fn a_letter_sent_again_before_a_crash_is_gone_though_the_index_is_behind() {
    let data = tempfile::tempdir().unwrap();
    let index = data.path().join("index");
    let aside = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let ids = scene.dead(3).await;
    scene.letters_indexed(3).await;
    scene.close().await;
    copy(&index, aside.path());
    let mut scene = Scene::open(at(data.path()), 3).await;
    let again = scene.redrive(ids[0]).await.unwrap();
    scene.purge(ids[1]).await.unwrap();
    scene.letters_indexed(1).await;
    scene.close().await;
    fs::remove_dir_all(&index).unwrap();
    copy(aside.path(), &index);
    let mut scene = Scene::open(at(data.path()), 5).await;
    for letter in &ids[..2] {
        assert_eq!(scene.redrive(*letter).await, Err(RefusalCode::NotFound));
    }
    assert_eq!(scene.all().await, [ids[2]]);
    let stats = scene.letters_indexed(1).await;
    assert_eq!((stats.dead_letters, stats.redriven, stats.purged), (1, 1, 1));
    assert_eq!(scene.redrive(ids[0]).await, Err(RefusalCode::NotFound));
    assert_eq!(get(&scene.broker, again).await.unwrap().state, TaskState::Submitted);
}

#[tokio::test]
async fn a_check_tells_what_letters_an_index_lacks_but_those_that_were_cleared_or_are_past_their_time()
 {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut scene = Scene::open(at(&data), 1).await;
    let ids = scene.dead(4).await;
    scene.letters_indexed(4).await;
    scene.purge(ids[1]).await.unwrap();
    scene.redrive(ids[2]).await.unwrap();
    scene.letters_indexed(2).await;
    scene.close().await;
    let check = |repair| verify(&data, repair, |_, _| {}).unwrap();
    let found = check(Repair::No);
    assert!(found.is_sound(), "{found:?}");
    let run = |sql: &str| Connection::open(file(&data)).unwrap().execute_batch(sql).unwrap();
    run("DELETE FROM letters; DELETE FROM letter_sums");
    let found = check(Repair::No);
    assert!(
        found.faults[0].what.contains(&format!("it lacks dead letter {}", ids[0])),
        "{found:?}"
    );
    assert!(check(Repair::Yes).index_mended.is_some());
    let scene = Scene::open(at(&data), 3).await;
    assert_eq!(scene.all().await, [ids[3], ids[0]]);
    scene.letters_indexed(2).await;
    scene.close().await;
    assert!(check(Repair::No).is_sound());

    let mut config = at(&data);
    config.engine.dead_letter_disk_bytes = 1;
    let scene = Scene::open(config, 5).await;
    scene.letters_indexed(0).await;
    scene.close().await;
    let found = check(Repair::No);
    assert!(found.is_sound(), "what went because of a bound is not missing: {found:?}");
}

#[tokio::test]
async fn an_index_without_letters_gets_them_and_keeps_its_tasks() {
    let data = tempfile::tempdir().unwrap();
    let mut scene = Scene::open(at(data.path()), 1).await;
    let ids = scene.dead(2).await;
    scene.letters_indexed(2).await;
    scene.close().await;
    let connection = Connection::open(file(data.path())).unwrap();
    connection
        .execute_batch(
            "DROP TABLE letters; DROP TABLE letter_sums; ALTER TABLE state DROP COLUMN complete;
             ALTER TABLE state DROP COLUMN tasks_gone; ALTER TABLE state DROP COLUMN letters_gone;
             ALTER TABLE state DROP COLUMN again; ALTER TABLE task_sums DROP COLUMN sum;
             DELETE FROM task_times WHERE one = 2; PRAGMA user_version = 2;",
        )
        .unwrap();
    drop(connection);
    let scene = Scene::open(at(data.path()), 3).await;
    assert_eq!(scene.all().await, [ids[1], ids[0]]);
    let stats = scene.letters_indexed(2).await;
    assert_eq!((stats.dead_letters, stats.tasks_indexed, stats.tasks_forgotten), (2, 2, 0));
}

#[tokio::test]
async fn letters_of_records_that_were_cleaned_away_are_in_the_index() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    config.engine.clean_min_bytes = 1 << 18;
    let mut scene = Scene::open(config.clone(), 1).await;
    let mut ids = Vec::new();
    for _ in 0..300 {
        ids.push(scene.die(task("s", &"x".repeat(4000)), "poison").await);
    }
    // When the log is cleaned is its own affair, but it is while more comes.
    let log = loop {
        let log = scene.stats().await.log.unwrap();
        if log.removed_segments > 10 {
            break log;
        }
        assert!(ids.len() < 3000, "{log:?}");
        ids.push(scene.die(task("s", &"x".repeat(4000)), "poison").await);
    };
    assert!(log.amplification_percent() < 150, "what the index has is not said again: {log:?}");
    let first = ids.remove(0);
    scene.redrive(first).await.unwrap();
    scene.close().await;
    let mut scene = Scene::open(config, 3).await;
    ids.reverse();
    assert_eq!(scene.all().await, ids);
    assert_eq!(scene.redrive(first).await, Err(RefusalCode::NotFound));
    assert_eq!(scene.stats().await.dead_letters_forgotten, 0);
}

#[tokio::test]
async fn letters_that_only_cleaned_segments_told_of_are_gone_with_the_index_and_counted() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    config.engine.clean_min_bytes = 1 << 18;
    let mut scene = Scene::open(config.clone(), 1).await;
    let mut died = 0;
    // When the log is cleaned is its own affair, but it is while more comes.
    while scene.stats().await.log.unwrap().removed_segments <= 10 {
        assert!(died < 3000, "{:?}", scene.stats().await.log);
        scene.die(task("s", &"x".repeat(4000)), "poison").await;
        died += 1;
    }
    scene.close().await;
    fs::remove_dir_all(data.path().join("index")).unwrap();
    let scene = Scene::open(config, 3).await;
    let known = scene.all().await.len() as u64;
    assert!(known < died, "the log still tells of all");
    assert_eq!(scene.stats().await.dead_letters_forgotten, died - known);
    scene.close().await;
}

#[tokio::test]
async fn letters_on_disk_go_when_their_time_is_over_and_are_counted() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    let mut scene = Scene::open(config.clone(), 1).await;
    let ids = scene.dead(3).await;
    scene.letters_indexed(3).await;
    thread::sleep(Duration::from_millis(5));
    config.engine.dead_letter_keep = Duration::from_millis(1);
    scene.broker.reconfigure(config.engine.clone()).unwrap();
    scene.until(|stats| stats.dead_letters_forgotten == 3 && stats.dead_letters == 0).await;
    assert!(scene.all().await.is_empty());
    assert_eq!(scene.redrive(ids[0]).await, Err(RefusalCode::NotFound));
    scene.close().await;
    let scene = Scene::open(config, 3).await;
    assert_eq!(scene.stats().await.dead_letters_forgotten, 3);
}

#[tokio::test]
async fn the_oldest_letters_on_disk_go_when_there_are_too_many_bytes_and_are_counted() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    config.engine.dead_letter_disk_bytes = 20 << 10;
    let mut scene = Scene::open(config, 1).await;
    let mut ids = Vec::new();
    for _ in 0..10 {
        ids.push(scene.die(task("s", &"x".repeat(4000)), "poison").await);
    }
    let stats = scene.until(|stats| stats.dead_letters_indexed == 4).await;
    let stats = if stats.dead_letters_forgotten == 6 {
        stats
    } else {
        scene.until(|stats| stats.dead_letters_forgotten == 6).await
    };
    assert_eq!(stats.dead_letters, 4);
    ids.drain(..6);
    ids.reverse();
    assert_eq!(scene.all().await, ids);
}

#[tokio::test]
async fn with_an_index_the_bounds_on_letters_in_memory_forget_none() {
    let data = tempfile::tempdir().unwrap();
    let mut config = at(data.path());
    (config.engine.dead_letters, config.engine.dead_letter_bytes) = (2, 100);
    let mut scene = Scene::open(config.clone(), 1).await;
    let mut ids = scene.dead(20).await;
    ids.reverse();
    assert_eq!(scene.all().await, ids);
    scene.letters_indexed(20).await;
    assert_eq!(scene.all().await, ids);
    scene.close().await;
    let scene = Scene::open(config, 3).await;
    assert_eq!(scene.all().await, ids);
}

#[tokio::test]
async fn without_a_place_for_an_index_letters_stay_in_memory() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("index"), "in the way").unwrap();
    let mut config = at(data.path());
    config.engine.dead_letters = 2;
    let mut scene = Scene::open(config.clone(), 1).await;
    let ids = scene.dead(3).await;
    let stats = scene.stats().await;
    assert_eq!((stats.dead_letters_indexed, stats.dead_letters_forgotten), (0, 1));
    assert_eq!(scene.all().await, [ids[2], ids[1]]);
    scene.close().await;
    let scene = Scene::open(config, 3).await;
    assert_eq!(scene.all().await, [ids[2], ids[1]]);
}
