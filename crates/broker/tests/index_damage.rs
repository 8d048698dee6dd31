//! Damage while the log has given up what the index holds: nothing of the index is deleted, and
//! what is not damaged is found.

use crate::common::scene::{COUNT, Scene, aside, at, cleaned, file, folder};
use crate::common::{get, stats};
use rusqlite::Connection;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use trunkline_broker::{Broker, OpenError};
use trunkline_log::{Directory, Location, Storage};
use trunkline_types::RefusalCode;

/// The marks that end what cleaning says again.
const MARKS: u8 = 76;

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
        later.push(scene.complete_under(&format!("n-{number}")).await);
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
async fn what_only_cleaned_segments_told_of_is_gone_with_the_index_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let ids = cleaned(&data).await;
    fs::remove_dir_all(folder(&data)).unwrap();
    let mut scene = Scene::open(at(&data), 3).await;
    let known = scene.listed().await;
    assert!(known < COUNT, "the log still tells of all");
    let refused = get(&scene.broker, ids[0]).await.unwrap_err();
    assert_eq!(refused.code, RefusalCode::NotFound);
    let stats = stats(&scene.broker).await;
    assert_eq!(stats.tasks_forgotten, (COUNT - known) as u64);
    assert!(!scene.is_repeat("k-0").await, "its key is free again");
    let last = COUNT - 1;
    assert!(scene.is_repeat(&format!("k-{last}")).await, "the log tells of the last one");
    scene.close().await;
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
    for (_, _, place) in &marks {
        flip(&data, *place);
    }
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
                scene.complete_under(&format!("m-{number}")).await;
            }
            scene.until(|stats| stats.log.is_some_and(|log| log.removed_segments > 0)).await;
        }
        scene.close().await;
    }
    assert_eq!(aside(&data), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn an_index_that_is_ahead_of_a_log_loses_only_what_the_log_has_lost() {
    loses_what_the_log_has_lost(false).await;
}

#[tokio::test]
async fn so_does_one_for_which_all_of_the_log_is_to_be_read_again() {
    loses_what_the_log_has_lost(true).await;
}

/// `again` if rows of the index were found damaged before.
async fn loses_what_the_log_has_lost(again: bool) {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let ids = cleaned(&data).await;
    let mut config = at(&data);
    // So that nothing is written behind what is looked at.
    config.engine.clean_min_bytes = 1 << 30;
    let mut scene = Scene::open(config, 3).await;
    let last = scene.complete_under("last").await;
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
    if again {
        let connection = Connection::open(file(&killed)).unwrap();
        connection.execute("UPDATE state SET again = 1", []).unwrap();
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
    // What the log has lost is done again, and the index knows nothing of it.
    let ended = "SELECT count(*) FROM tasks WHERE id = ?1";
    let connection = Connection::open(file(&killed)).unwrap();
    let ended: i64 =
        connection.query_row(ended, [last.to_bytes().as_slice()], |row| row.get(0)).unwrap();
    assert_eq!(ended, 0);
    let found = get(&scene.broker, last).await.unwrap();
    assert!(!found.state.is_terminal(), "{found:?}");
    scene.close().await;
    assert_eq!(aside(&killed), [] as [PathBuf; 0]);
}
