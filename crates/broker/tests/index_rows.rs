//! Damage within an index costs the rows that it hits, and nothing is listed wrongly or left out
//! without being counted.

#![allow(clippy::print_stdout, reason = "what was found is to be read")]

use crate::common::scene::{Scene, aside, at, copy, file, indexing};
use crate::common::task;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use trunkline_broker::{Broker, Repair, verify};
use trunkline_types::session::Connector;
use trunkline_types::{
    Answer, DeadLetterFilter, MessageId, Outcome, Query, RefusalCode, TaskFilter, TaskSnapshot,
    TaskState,
};

const PATIENCE: Duration = Duration::from_mins(1);

/// How many tasks there are, and dead letters among them.
const TASKS: usize = 160;
const LETTERS: usize = 20;

/// How many places are flipped that are drawn.
const DRAWN: usize = 40;

/// All that a broker tells of what is over.
#[derive(Clone, PartialEq, Debug, Default)]
struct Told {
    /// By their ids, with all that was said in them.
    tasks: BTreeMap<MessageId, TaskSnapshot>,
    /// What each list has.
    lists: Vec<Vec<MessageId>>,
    letters: Vec<MessageId>,
}

fn filters() -> Vec<TaskFilter> {
    let all = TaskFilter { limit: 1000, ..TaskFilter::default() };
    vec![
        all.clone(),
        TaskFilter { agent: Some("a".parse().unwrap()), ..all.clone() },
        TaskFilter { skill: Some("s".parse().unwrap()), ..all.clone() },
        TaskFilter { context_id: Some("c-1".parse().unwrap()), ..all.clone() },
        TaskFilter { states: vec![TaskState::Failed], ..all },
    ]
}

/// A stopped broker whose log has given up most of what its index has, and what it told.
async fn past(data: &Path) -> Told {
    let mut scene = Scene::open(at(data), 1).await;
    for number in 0..TASKS {
        let mut work = task("s", &format!("{number} {}", "x".repeat(400)));
        work.envelope.context_id = Some(format!("c-{}", number % 3).parse().unwrap());
        let outcome = match number {
            _ if number % 8 == 3 => Outcome::DeadLetter { reason: "no".into() },
            _ if number % 7 == 0 => Outcome::Fail { reason: "no".into() },
            _ => Outcome::Complete { reply: Some("done".into()) },
        };
        scene.end(work, outcome).await;
    }
    scene
        .until(|stats| stats.tasks_indexed == TASKS as u64 && stats.dead_letters_indexed > 0)
        .await;
    let told = ask(&scene.broker).await.unwrap();
    assert_eq!((told.tasks.len(), told.letters.len()), (TASKS, LETTERS));
    assert!(told.lists.iter().all(|list| !list.is_empty()), "{:?}", told.lists);
    scene.close().await;
    told
}

/// What a broker tells; why it does not.
async fn ask(broker: &Broker) -> Result<Told, String> {
    let mut told = Told::default();
    for mut filter in filters() {
        let mut list = Vec::new();
        loop {
            let page = match broker.query(Query::Tasks(filter.clone())).await {
                Ok(Answer::Tasks(page)) => page,
                other => return Err(format!("{other:?}")),
            };
            list.extend(page.tasks.iter().map(|task| task.id));
            let Some(next) = page.next else { break };
            filter.before = Some(next);
        }
        told.lists.push(list);
    }
    for id in told.lists[0].clone() {
        match broker.query(Query::Task { id, history_length: None }).await {
            Ok(Answer::Task(task)) => _ = told.tasks.insert(id, *task),
            Err(refusal) if refusal.code == RefusalCode::NotFound => {}
            other => return Err(format!("{other:?}")),
        }
    }
    let filter = DeadLetterFilter { limit: 1000, ..DeadLetterFilter::default() };
    match broker.query(Query::DeadLetters(filter)).await {
        Ok(Answer::DeadLetters(page)) => {
            told.letters = page.letters.iter().map(|dead| dead.publish.envelope.id).collect();
        }
        other => return Err(format!("{other:?}")),
    }
    Ok(told)
}

/// What is wrong with what a broker tells: everything that it told before is there and as it was, or
/// missing everywhere and counted.
async fn wrong(broker: &Broker, before: &Told) -> Option<String> {
    let told = match ask(broker).await {
        Ok(told) => told,
        Err(error) => return Some(error),
    };
    let stats = crate::common::stats(broker).await;
    let missing = before.tasks.keys().filter(|id| !told.tasks.contains_key(id)).count() as u64;
    if missing != stats.tasks_forgotten {
        return Some(format!("{missing} missing, {} forgotten", stats.tasks_forgotten));
    }
    for (id, task) in &told.tasks {
        if before.tasks.get(id) != Some(task) {
            return Some(format!("another task: {task:?}"));
        }
    }
    for (list, was) in told.lists.iter().zip(&before.lists) {
        let left: Vec<_> = was.iter().filter(|id| told.tasks.contains_key(id)).copied().collect();
        if *list != left {
            return Some(format!("a list has {} of {}", list.len(), left.len()));
        }
    }
    let gone = (before.letters.len() - told.letters.len()) as u64;
    if gone != stats.dead_letters_forgotten {
        return Some(format!("{gone} letters gone, {} told", stats.dead_letters_forgotten));
    }
    let left = before.letters.iter().filter(|id| told.letters.contains(id));
    (!left.eq(&told.letters)).then(|| "another letter".to_owned())
}

/// How a broker came out of damage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum End {
    /// It told the same as before.
    Same,
    /// Something was missing for a moment or refused, and then it told the same.
    Healed,
    /// Rows are gone, and counted.
    RowsGone,
    /// The index was put aside; what is gone is counted.
    PutAside,
    /// It did not start, and named the index.
    NotStarted,
}

/// Starts a broker over an index, until it tells what it told before or counts what is missing.
async fn judged(data: &Path, before: &Told, which: &str) -> End {
    let mut healed = false;
    for start in 1..=3 {
        let broker = match Broker::open(at(data)).await {
            Ok(broker) => broker,
            Err(error) => {
                assert!(error.to_string().contains("index"), "{which}: {error}");
                return End::NotStarted;
            }
        };
        let end = Instant::now() + if start < 3 { Duration::from_secs(2) } else { PATIENCE };
        let mut found = wrong(&broker, before).await;
        while found.is_some() && Instant::now() < end {
            healed = true;
            tokio::time::sleep(Duration::from_millis(5)).await;
            found = wrong(&broker, before).await;
        }
        let lost = crate::common::stats(&broker).await.tasks_forgotten;
        broker.drain(Duration::from_secs(10)).await;
        match found {
            None if !aside(data).is_empty() => return End::PutAside,
            None if lost > 0 => return End::RowsGone,
            None if healed => return End::Healed,
            None => return End::Same,
            // What is damaged in the middle is put aside by the next start.
            Some(_) if start < 3 => {}
            Some(found) => panic!("{which}: {found}"),
        }
    }
    unreachable!("the last start is judged")
}

fn find_all(bytes: &[u8], what: &[u8]) -> Vec<usize> {
    (0..bytes.len() - what.len()).filter(|&at| bytes[at..].starts_with(what)).collect()
}

#[tokio::test]
async fn wherever_a_bit_of_an_index_flips_nothing_is_told_wrongly_or_missing_uncounted() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    let before = past(&whole).await;
    let bytes = fs::read(file(&whole)).unwrap();
    let mut drawn = fastrand::Rng::with_seed(20_261_122);
    let mut places: Vec<_> = std::iter::repeat_with(|| drawn.usize(..bytes.len()))
        .filter(|&at| bytes[at] != 0)
        .take(DRAWN)
        .collect();
    // Wherever the id of a task and that of a letter are said: in the row, in what it holds, and in
    // every index.
    let ids = [before.lists[0][TASKS / 2], before.letters[LETTERS / 2]];
    for id in ids {
        let said = find_all(&bytes, &id.to_bytes());
        assert!(said.len() > 4, "{said:?}");
        places.extend(said.iter().map(|at| at + 15));
    }
    let mut tally = BTreeMap::<_, usize>::new();
    for at in places {
        let bit = drawn.u32(..8);
        let data = home.path().join("flipped");
        copy(&whole, &data);
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        fs::write(file(&data), flipped).unwrap();
        let end = judged(&data, &before, &format!("byte {at}, bit {bit}")).await;
        *tally.entry(end).or_default() += 1;
        if end != End::NotStarted {
            // That was not by chance, nor for as long as nobody looked.
            judged(&data, &before, &format!("byte {at}, bit {bit}, later")).await;
        }
        fs::remove_dir_all(&data).unwrap();
    }
    println!("flips of {} bytes: {tally:?}", bytes.len());
    assert!(tally.contains_key(&End::RowsGone) && tally.contains_key(&End::Healed), "{tally:?}");
}

#[tokio::test]
async fn a_damaged_row_is_copied_and_taken_out_and_made_again_if_the_log_tells_of_it() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut config = indexing(&data);
    config.engine.clean_min_bytes = 1 << 30;
    let mut scene = Scene::open(config.clone(), 1).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(scene.complete_under(&format!("k-{number}")).await);
    }
    scene.until(|stats| stats.tasks_indexed == 12).await;
    scene.close().await;
    let connection = Connection::open(file(&data)).unwrap();
    let damage = "UPDATE tasks SET rest = CAST(rest || x'00' AS BLOB)
        WHERE place = (SELECT max(place) FROM tasks)";
    assert_eq!(connection.execute(damage, []), Ok(1));
    drop(connection);

    let scene = Scene::open(config.clone(), 3).await;
    let stats = scene.until(|stats| stats.tasks_forgotten == 1).await;
    assert_eq!((stats.tasks_indexed, stats.log.unwrap().index_rows_damaged), (11, 1));
    assert_eq!(scene.listed().await, 11, "the others are listed");
    let refused = crate::common::get(&scene.broker, ids[11]).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::NotFound);
    scene.close().await;
    let rows = fs::read_to_string(data.join("quarantine").join("index-rows.sql")).unwrap();
    assert!(rows.contains("INSERT INTO tasks") && rows.contains("its checksum"), "{rows}");
    assert!(file(&data).exists() && aside(&data).is_empty(), "the file stays");

    let scene = Scene::open(config, 5).await;
    let stats = scene.until(|stats| stats.tasks_indexed == 12).await;
    assert_eq!((stats.tasks_forgotten, scene.listed().await), (0, 12));
    crate::common::get(&scene.broker, ids[11]).await.unwrap();
    scene.close().await;
    assert!(verify(&data, Repair::No, |_, _| {}).unwrap().is_sound());
}

#[tokio::test]
async fn a_sum_that_is_damaged_deletes_nothing_and_is_counted_again() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut config = indexing(&data);
    let mut scene = Scene::open(config.clone(), 1).await;
    for number in 0..12 {
        scene.complete_under(&format!("k-{number}")).await;
    }
    scene.until(|stats| stats.tasks_indexed == 12).await;
    scene.close().await;
    let sums = || {
        let connection = Connection::open(file(&data)).unwrap();
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        (number("SELECT tasks FROM task_sums"), number("SELECT bytes FROM task_sums"))
    };
    let before = sums();
    for damage in ["bytes = bytes | (1 << 50)", "tasks = tasks | (1 << 40)"] {
        let connection = Connection::open(file(&data)).unwrap();
        connection.execute(&format!("UPDATE task_sums SET {damage}"), []).unwrap();
        drop(connection);
        let told = verify(&data, Repair::No, |_, _| {}).unwrap().faults;
        assert!(told[0].what.contains("as many tasks as it counts"), "{told:?}");
        config.engine.ended_task_disk_bytes = 1 << 30;
        let scene = Scene::open(config.clone(), 3).await;
        let stats = scene.until(|stats| stats.tasks_indexed == 12).await;
        assert_eq!((stats.tasks_forgotten, scene.listed().await), (0, 12), "{damage}");
        scene.close().await;
        assert_eq!(sums(), before, "{damage}");
    }
}

/// The tables of format 4, as the version before made them.
const FORMAT_4: &str = "
    CREATE TABLE keys (
        place INTEGER PRIMARY KEY, hash INTEGER NOT NULL, tenant TEXT NOT NULL, key TEXT NOT NULL,
        id BLOB NOT NULL, fingerprint INTEGER NOT NULL, expires INTEGER NOT NULL
    );
    CREATE INDEX keys_by_hash ON keys (hash);
    CREATE TABLE state (
        one INTEGER PRIMARY KEY, through INTEGER NOT NULL, log BLOB NOT NULL,
        seed INTEGER NOT NULL, sample INTEGER NOT NULL
    );
    ALTER TABLE state ADD COLUMN complete INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE tasks (
        place INTEGER PRIMARY KEY, id BLOB NOT NULL, tenant INTEGER NOT NULL,
        state INTEGER NOT NULL, skill INTEGER, agent INTEGER, sent_to INTEGER, context INTEGER,
        root INTEGER, ended INTEGER NOT NULL, head BLOB NOT NULL, rest BLOB NOT NULL
    );
    CREATE UNIQUE INDEX tasks_by_id ON tasks (tenant, id);
    CREATE INDEX tasks_by_agent ON tasks (agent, id, state, skill) WHERE agent IS NOT NULL;
    CREATE INDEX tasks_by_sent_to ON tasks (sent_to, id, state, skill) WHERE sent_to IS NOT NULL;
    CREATE INDEX tasks_by_skill ON tasks (skill, id, state) WHERE skill IS NOT NULL;
    CREATE INDEX tasks_by_context ON tasks (context, id, state, skill) WHERE context IS NOT NULL;
    CREATE INDEX tasks_by_root ON tasks (root, id, state, skill) WHERE root IS NOT NULL;
    CREATE INDEX tasks_not_completed ON tasks (tenant, id, state, skill) WHERE state <> 5;
    CREATE TABLE task_sums (tenant INTEGER PRIMARY KEY, tasks INTEGER NOT NULL, bytes INTEGER NOT NULL);
    CREATE TABLE task_times (one INTEGER PRIMARY KEY, ahead INTEGER NOT NULL, behind INTEGER NOT NULL);
    CREATE TABLE letters (
        place INTEGER PRIMARY KEY, id BLOB NOT NULL, tenant INTEGER NOT NULL,
        inbox INTEGER NOT NULL, ended INTEGER NOT NULL, head BLOB NOT NULL, rest BLOB NOT NULL
    );
    CREATE INDEX letters_by_id ON letters (tenant, id, inbox, place);
    CREATE INDEX letters_by_tenant ON letters (tenant, place, ended);
    CREATE INDEX letters_by_inbox ON letters (inbox, place, ended);
    CREATE TABLE letter_sums (tenant INTEGER PRIMARY KEY, tasks INTEGER NOT NULL, bytes INTEGER NOT NULL);";

/// What format 4 had more than format 3.
const GONE: &str = "ALTER TABLE state ADD COLUMN tasks_gone INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE state ADD COLUMN letters_gone INTEGER NOT NULL DEFAULT 0;";

/// Makes an index of an earlier format of the one that is there.
fn put_back(data: &Path, format: u32) {
    let new = file(data).with_extension("new");
    let connection = Connection::open(&new).unwrap();
    let (gone, columns) = match format {
        3 => ("", ""),
        _ => (GONE, ", tasks_gone, letters_gone"),
    };
    let plain = |blob: &str| {
        format!("CASE hex(substr({blob}, 1, 1)) WHEN 'A7' THEN substr({blob}, 6) ELSE {blob} END")
    };
    let (head, rest) = (plain("head"), plain("rest"));
    connection
        .execute_batch(&format!(
            "PRAGMA auto_vacuum = INCREMENTAL; BEGIN; {FORMAT_4} {gone} COMMIT;
             ATTACH '{}' AS now;
             BEGIN;
             INSERT INTO keys SELECT place, hash, tenant, key, substr(id, 1, 16), fingerprint,
                expires FROM now.keys;
             INSERT INTO state (one, through, log, seed, sample, complete {columns})
                SELECT one, through, log, seed, sample, complete {columns} FROM now.state;
             INSERT INTO tasks SELECT place, id, tenant, state, skill, agent, sent_to, context, root,
                ended, {head}, {rest} FROM now.tasks;
             INSERT INTO letters SELECT place, id, tenant, inbox, ended, {head}, {rest}
                FROM now.letters;
             INSERT INTO task_sums SELECT tenant, count(*),
                sum(length(head) + length(rest) + 200) FROM tasks GROUP BY tenant;
             INSERT INTO letter_sums SELECT tenant, count(*),
                sum(length(head) + length(rest) + 150) FROM letters GROUP BY tenant;
             INSERT INTO task_times SELECT one, ahead, behind FROM now.task_times WHERE one = 1;
             COMMIT;
             PRAGMA user_version = {format};",
            file(data).display()
        ))
        .unwrap();
    drop(connection);
    fs::rename(new, file(data)).unwrap();
}

#[tokio::test]
async fn an_index_of_an_earlier_format_tells_the_same_and_gets_checksums_with_what_it_takes_in() {
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    let before = past(&whole).await;
    for format in [3, 4] {
        let data = home.path().join(format.to_string());
        copy(&whole, &data);
        put_back(&data, format);
        let number = |sql: &str| {
            let connection = Connection::open(file(&data)).unwrap();
            connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!(number("PRAGMA user_version"), i64::from(format));
        let found = verify(&data, Repair::No, |_, _| {}).unwrap();
        assert!(found.is_sound(), "{format}: {found:?}");
        assert_eq!(number("PRAGMA user_version"), i64::from(format), "it is only looked at");
        let mut scene = Scene::open(at(&data), 3).await;
        assert_eq!(wrong(&scene.broker, &before).await, None, "{format}");
        scene.complete(task("s", "later")).await;
        scene.until(|stats| stats.tasks_indexed == TASKS as u64 + 1).await;
        scene.close().await;
        assert_eq!(number("PRAGMA user_version"), 6, "{format}");
        let sealed = "SELECT count(*) FROM tasks WHERE hex(substr(head, 1, 1)) = 'A7'
            AND hex(substr(rest, 1, 1)) = 'A7'";
        assert_eq!(number(sealed), 1, "{format}: the others are as they were");
        let found = verify(&data, Repair::No, |_, _| {}).unwrap();
        assert!(found.is_sound(), "{format}: {found:?}");
        // A row without a checksum that nobody could have written is damage all the same.
        let connection = Connection::open(file(&data)).unwrap();
        let first = "UPDATE tasks SET head = x'0164' WHERE place = (SELECT min(place) FROM tasks)";
        connection.execute(first, []).unwrap();
        drop(connection);
        let scene = Scene::open(at(&data), 5).await;
        let stats = scene.until(|stats| stats.tasks_forgotten == 1).await;
        assert_eq!(stats.tasks_indexed, TASKS as u64);
        scene.close().await;
    }
}

/// A small file system in memory, as long as it is there.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// `None` where it is not permitted to make one.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=40m", "tmpfs"])
            .arg(at)
            .output();
        let is_done = mount.is_ok_and(|done| done.status.success());
        is_done.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(done.is_ok_and(|done| done.success()), "{} stays mounted", self.0.display());
    }
}

/// The files of a data directory and their bytes.
fn sizes(data: &Path) -> Vec<(String, u64)> {
    let folders = [data.to_owned(), data.join("index")];
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().flatten());
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    entries.map(|entry| (name(&entry), entry.metadata().map_or(0, |it| it.len()))).collect()
}

#[tokio::test]
async fn history_that_fills_a_real_disk_gives_way_to_work() {
    /// So many tasks do not fit.
    const MANY: u64 = 9000;
    let home = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&home.path().join("disk")) else {
        println!("SKIPPED: no file system may be mounted here");
        return;
    };
    let data = disk.0.join("data");
    let mut config = at(&data);
    config.log.retry_space_after = Duration::from_millis(10);
    let mut scene = Scene::open(config, 1).await;
    let (mut refused, mut done) = (0, 0);
    while done < MANY {
        let work = task("s", &"x".repeat(4000));
        let end = Instant::now() + PATIENCE;
        while let Err(refusal) = scene.client.publish(work.clone()).await {
            assert_eq!(refusal.code, RefusalCode::DiskFull, "{refusal}");
            if Instant::now() >= end {
                let stats = scene.stats().await;
                panic!("after {done} nothing more is taken: {stats:?}, {:?}", sizes(&data));
            }
            refused += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let delivery = scene.agent.delivery().await;
        let number = scene.agent.settle(delivery.token, Outcome::Complete { reply: None });
        scene.agent.answer(number).await.unwrap();
        done += 1;
    }
    let stats =
        scene.until(|stats| stats.tasks_forgotten > 0 && stats.records_unindexed == 0).await;
    assert_eq!(stats.tasks_completed, MANY);
    println!("{} of {MANY} tasks gave way, {refused} refusals", stats.tasks_forgotten);
    scene.list(TaskFilter::default()).await;
    scene.close().await;
}
