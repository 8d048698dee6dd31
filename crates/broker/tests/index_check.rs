//! An index that is checked while its broker is stopped, and one that is backed up.

use crate::common::get;
use crate::common::scene::{COUNT, Scene, at, cleaned, contents, copy, file, folder};
use rusqlite::Connection;
use std::fs;
use std::path::Path;
use trunkline_broker::{Repair, Verified, backup, restore, verify};
use trunkline_types::MessageId;

fn check(data: &Path, repair: Repair) -> Verified {
    verify(data, repair, |_, _| {}).unwrap()
}

/// A broker whose log still has everything that its index has, and that many tasks.
async fn uncleaned(data: &Path, session: u128) -> (Scene, Vec<MessageId>) {
    let mut config = at(data);
    config.engine.clean_min_bytes = 1 << 30;
    let mut scene = Scene::open(config, session).await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(scene.complete_under(&format!("k-{number}")).await);
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
    // What it says of a row, and of how many rows it says something.
    let bad = ids.len() as u64;
    let cases = [
        ("DELETE FROM keys", lacks, "it lacks the key of record"),
        ("DELETE FROM keys WHERE key = 'k-7'", lacks, "it lacks the key of record"),
        ("DELETE FROM tasks; DELETE FROM task_sums", lacks, "it lacks task"),
        (
            "DELETE FROM tasks WHERE place = (SELECT max(place) FROM tasks);
             UPDATE task_sums SET tasks = tasks - 1",
            lacks,
            "it lacks task",
        ),
        ("UPDATE task_sums SET bytes = bytes + 1", lacks, "as many tasks as it counts"),
        ("UPDATE task_counts SET tasks = tasks + 1", lacks, "tasks of each agent as it counts"),
        ("DELETE FROM task_counts", lacks, "tasks of each agent as it counts"),
        ("UPDATE tasks SET head = x'ff00'", damaged, "what its table of tasks has of record"),
        ("UPDATE tasks SET rest = x'01'", damaged, "what its table of tasks has of record"),
        ("UPDATE tasks SET state = 6", damaged, "is two things in one"),
        ("UPDATE keys SET key = key || 'x'", damaged, "what its table of keys has of record"),
        ("UPDATE keys SET hash = hash + 1", damaged, "is two things in one"),
        ("DROP TABLE keys", damaged, "its tables do not fit their checksum"),
        ("DROP INDEX tasks_by_root", damaged, "its tables do not fit their checksum"),
    ];
    for (number, (sql, kind, what)) in cases.into_iter().enumerate() {
        let of_rows = sql.starts_with("UPDATE tasks ") || sql.starts_with("UPDATE keys ");
        let data = home.path().join(number.to_string());
        copy(&whole, &data);
        Connection::open(file(&data)).unwrap().execute_batch(sql).unwrap();
        let before = contents(&folder(&data));
        let found = check(&data, Repair::No);
        assert_eq!(found.faults_total, if of_rows { bad } else { 1 }, "{sql}: {found:?}");
        let told = found.faults[0].to_string();
        assert!(told.starts_with(kind) && told.contains(what), "{sql}: {told}");
        assert!(contents(&folder(&data)) == before, "looking changes nothing");

        let repaired = check(&data, Repair::Yes);
        assert!(repaired.is_sound(), "{sql}: {repaired:?}");
        let mended = kind == lacks || of_rows;
        assert_eq!(repaired.index_moved.is_some(), !mended, "{sql}");
        assert_eq!(repaired.index_mended.is_some(), mended, "{sql}");
        let copies = data.join("quarantine").join("index-rows.sql");
        let copied = fs::read_to_string(copies).map_or(0, |rows| rows.matches("INSERT").count());
        assert_eq!(copied, if of_rows { ids.len() } else { 0 }, "{sql}");
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

#[tokio::test]
async fn a_backup_has_the_history_and_the_keys_that_the_log_gave_up() {
    let home = tempfile::tempdir().unwrap();
    let (data, to) = (home.path().join("data"), home.path().join("backup"));
    let ids = cleaned(&data).await;
    let mut scene = Scene::open(at(&data), 3).await;
    backup(&data, &to, |_, _| {}).unwrap();
    scene.complete_under("later").await;
    scene.until(|stats| stats.tasks_indexed == COUNT as u64 + 1).await;
    let again = backup(&data, &to, |_, _| {}).unwrap();
    assert!(again.written_bytes > 0);
    scene.close().await;

    let restored = home.path().join("restored");
    restore(&to, &restored, |_, _| {}).unwrap();
    let found = check(&restored, Repair::No);
    assert!(found.is_sound(), "{found:?}");
    let mut scene = Scene::open(at(&restored), 5).await;
    assert_eq!(scene.listed().await, COUNT + 1);
    get(&scene.broker, ids[0]).await.unwrap();
    for key in ["k-0", "k-60", "later"] {
        assert!(scene.is_repeat(key).await, "{key}");
    }
    assert!(!scene.is_repeat("another").await);
    scene.close().await;
}
