//! Idempotency keys on disk: found after they left memory, made again from the log when they are
//! missing, damaged, behind, or not this log's own.

use crate::common::scene::{Scene, aside, cleaned, copy, file, indexing};
use crate::common::{Peer, at, hello, task};
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};
use trunkline_broker::{Broker, Repair, verify};
use trunkline_types::{MessageId, RefusalCode};

/// Publishes under a key; which envelope came first, and whether it was an earlier one.
async fn publish(broker: &Broker, session: u128, key: &str) -> (MessageId, bool) {
    let mut peer = Peer::open(broker, hello(session, None)).await.unwrap();
    let mut work = task("s", "x");
    work.envelope.idempotency_key = Some(key.parse().unwrap());
    let id = work.envelope.id;
    let accepted = peer.publish(work).await.unwrap();
    peer.connection.close();
    accepted.filter(|it| it.duplicate).map_or((id, false), |it| (it.id, true))
}

async fn close(broker: Broker) {
    broker.drain(Duration::from_secs(10)).await;
}

/// Waits until the index has so many rows.
fn wait_for_rows(data: &Path, wanted: i64) {
    for _ in 0..3000 {
        let count = Connection::open(file(data)).and_then(|connection| {
            connection.query_row("SELECT count(*) FROM keys", [], |row| row.get::<_, i64>(0))
        });
        if count == Ok(wanted) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the index never had {wanted} rows");
}

#[tokio::test]
async fn a_key_is_found_in_the_index_after_a_restart_and_no_longer_in_memory() {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::open(at(data.path())).await.unwrap();
    let (first, _) = publish(&broker, 1, "a").await;
    let (second, _) = publish(&broker, 2, "b").await;
    wait_for_rows(data.path(), 2);
    close(broker).await;

    // What the index does not have, nobody has.
    let connection = Connection::open(file(data.path())).unwrap();
    connection.execute("DELETE FROM keys WHERE key = 'b'", []).unwrap();
    drop(connection);
    let broker = Broker::open(at(data.path())).await.unwrap();
    assert_eq!(publish(&broker, 3, "a").await, (first, true));
    let (again, repeated) = publish(&broker, 4, "b").await;
    assert!(!repeated && again != second, "it was still in memory");
}

#[tokio::test]
async fn a_key_leaves_memory_while_the_broker_runs() {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::open(at(data.path())).await.unwrap();
    let (first, _) = publish(&broker, 1, "a").await;
    wait_for_rows(data.path(), 1);
    assert_eq!(publish(&broker, 2, "a").await, (first, true));
    let connection = Connection::open(file(data.path())).unwrap();
    connection.execute("DELETE FROM keys", []).unwrap();
    let mut left = false;
    for session in 3..300 {
        // The engine is told a moment after the commit.
        left = !publish(&broker, session, "a").await.1;
        if left {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(left, "it is still in memory");
}

#[tokio::test]
async fn a_missing_or_damaged_index_is_made_again_from_the_log() {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::open(at(data.path())).await.unwrap();
    let (first, _) = publish(&broker, 1, "a").await;
    close(broker).await;
    for session in [2, 3, 4] {
        match session {
            2 => fs::remove_dir_all(data.path().join("index")).unwrap(),
            3 => fs::write(file(data.path()), "no database at all".repeat(1000)).unwrap(),
            _ => fs::write(file(data.path()), "").unwrap(),
        }
        let broker = Broker::open(at(data.path())).await.unwrap();
        assert_eq!(publish(&broker, session, "a").await, (first, true));
        wait_for_rows(data.path(), 1);
        assert_eq!(publish(&broker, session + 10, "a").await, (first, true));
        close(broker).await;
    }
}

#[tokio::test]
async fn an_index_behind_the_log_is_asked_for_what_it_has_and_made_up() {
    let data = tempfile::tempdir().unwrap();
    let older = tempfile::tempdir().unwrap();
    let broker = Broker::open(at(data.path())).await.unwrap();
    let (first, _) = publish(&broker, 1, "a").await;
    wait_for_rows(data.path(), 1);
    close(broker).await;
    copy(&data.path().join("index"), older.path());
    let broker = Broker::open(at(data.path())).await.unwrap();
    let (second, _) = publish(&broker, 2, "b").await;
    close(broker).await;

    fs::remove_dir_all(data.path().join("index")).unwrap();
    copy(older.path(), &data.path().join("index"));
    let broker = Broker::open(at(data.path())).await.unwrap();
    assert_eq!(publish(&broker, 3, "a").await, (first, true));
    assert_eq!(publish(&broker, 4, "b").await, (second, true));
    wait_for_rows(data.path(), 2);
}

#[tokio::test]
async fn an_index_of_another_log_or_of_a_later_time_is_not_believed() {
    let data = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let earlier = tempfile::tempdir().unwrap();
    for (path, key) in [(data.path(), "mine"), (other.path(), "theirs")] {
        let broker = Broker::open(at(path)).await.unwrap();
        publish(&broker, 1, key).await;
        wait_for_rows(path, 1);
        close(broker).await;
        // So that the two logs do not begin in the same millisecond.
        thread::sleep(Duration::from_millis(2));
    }
    copy(data.path(), earlier.path());
    fs::remove_dir_all(data.path().join("index")).unwrap();
    copy(&other.path().join("index"), &data.path().join("index"));
    let broker = Broker::open(at(data.path())).await.unwrap();
    assert!(publish(&broker, 2, "mine").await.1, "made again from the log");
    assert!(!publish(&broker, 3, "theirs").await.1, "never accepted here");
    for session in 4..40 {
        publish(&broker, session, &format!("later-{session}")).await;
    }
    wait_for_rows(data.path(), 38);
    close(broker).await;

    // The log is put back to what it was, the index stays.
    copy(&data.path().join("index"), &earlier.path().join("index"));
    let broker = Broker::open(at(earlier.path())).await.unwrap();
    assert!(publish(&broker, 2, "mine").await.1);
    assert!(!publish(&broker, 3, "later-30").await.1, "what the log lost was not accepted");
}

#[tokio::test]
async fn a_broker_without_a_place_for_its_index_keeps_keys_in_memory() {
    let data = tempfile::tempdir().unwrap();
    fs::write(data.path().join("index"), "in the way").unwrap();
    let broker = Broker::open(at(data.path())).await.unwrap();
    let (first, _) = publish(&broker, 1, "a").await;
    assert_eq!(publish(&broker, 2, "a").await, (first, true));
    close(broker).await;
    let broker = Broker::open(at(data.path())).await.unwrap();
    assert_eq!(publish(&broker, 3, "a").await, (first, true));
}

#[tokio::test]
async fn a_rotten_key_is_absent_named_and_copied_and_made_again_from_the_log() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut config = indexing(&data);
    config.engine.clean_min_bytes = 1 << 30;
    let mut scene = Scene::open(config.clone(), 1).await;
    for number in 0..12 {
        scene.complete_under(&format!("k-{number}")).await;
    }
    scene.until(|stats| stats.tasks_indexed == 12).await;
    scene.close().await;
    let connection = Connection::open(file(&data)).unwrap();
    let damage = "UPDATE keys SET id = CAST(x'ff' || substr(id, 2) AS BLOB) WHERE key = 'k-7'";
    assert_eq!(connection.execute(damage, []), Ok(1));
    drop(connection);

    // Nobody asks for it: it is found by looking.
    let mut scene = Scene::open(config.clone(), 3).await;
    scene.until(|stats| stats.log.as_ref().unwrap().index_rows_damaged == 1).await;
    for number in (0..12).filter(|number| *number != 7) {
        assert!(scene.is_repeat(&format!("k-{number}")).await, "{number}");
    }
    let stats = scene.stats().await;
    assert_eq!((stats.tasks_indexed, stats.tasks_forgotten), (12, 0), "no task is missing");
    scene.close().await;
    let rows = fs::read_to_string(data.join("quarantine").join("index-rows.sql")).unwrap();
    assert!(rows.contains("INSERT INTO keys") && rows.contains("its checksum"), "{rows}");
    assert!(aside(&data).is_empty(), "the file stays");

    let mut scene = Scene::open(config, 5).await;
    assert!(scene.is_repeat("k-7").await, "the log tells of it");
    scene.close().await;
    assert!(verify(&data, Repair::No, |_, _| {}).unwrap().is_sound());
}

#[tokio::test]
async fn a_rotten_key_that_is_asked_for_counts_as_new_and_never_as_another() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    cleaned(&data).await;
    let connection = Connection::open(file(&data)).unwrap();
    let damage = "UPDATE keys SET fingerprint = fingerprint + 1 WHERE key = 'k-7'";
    // The log may have said it again.
    let bad = connection.execute(damage, []).unwrap() as u64;
    assert!(bad > 0);
    drop(connection);
    let mut scene = Scene::open(crate::common::scene::at(&data), 3).await;
    assert!(!scene.is_repeat("k-7").await, "with another fingerprint it would be refused");
    assert!(scene.is_repeat("k-8").await);
    scene.until(|stats| stats.log.as_ref().unwrap().index_rows_damaged == bad).await;
    scene.close().await;
}

#[tokio::test]
async fn whatever_bit_of_a_key_flips_no_key_is_taken_for_another() {
    const KEYS: usize = 12;
    let home = tempfile::tempdir().unwrap();
    let whole = home.path().join("whole");
    let mut config = indexing(&whole);
    config.engine.clean_min_bytes = 1 << 30;
    let mut scene = Scene::open(config.clone(), 1).await;
    let mut ids = Vec::new();
    for number in 0..KEYS {
        ids.push(scene.complete_under(&format!("k-{number}")).await);
    }
    scene.until(|stats| stats.tasks_indexed == KEYS as u64).await;
    scene.close().await;
    let bytes = fs::read(file(&whole)).unwrap();
    // In a row the id lies behind the texts and before the numbers.
    let behind_key = [b"k-7".as_slice(), &ids[7].to_bytes()].concat();
    let row = bytes.windows(behind_key.len()).position(|found| found == behind_key).unwrap();
    let last = row + behind_key.len() + 4 + 8 + 6;
    for at in row - 16..last {
        let data = home.path().join("flipped");
        copy(&whole, &data);
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(file(&data), flipped).unwrap();
        let mut config = config.clone();
        config.store = crate::common::at(&data).store;
        let Ok(broker) = Broker::open(config).await else {
            panic!("byte {at} of a row keeps the broker from starting");
        };
        for (number, id) in ids.iter().enumerate() {
            let session = 10 + u128::try_from(number).unwrap();
            let mut peer = Peer::open(&broker, hello(session, None)).await.unwrap();
            let mut work = task("s", &"x".repeat(4000));
            work.envelope.idempotency_key = Some(format!("k-{number}").parse().unwrap());
            match peer.publish(work).await {
                Ok(Some(accepted)) if accepted.duplicate => assert_eq!(accepted.id, *id, "{at}"),
                Ok(_) => assert_eq!(number, 7, "byte {at}: it was not hit"),
                // What lies where the file itself does not add up is refused.
                Err(refusal) => assert_eq!(refusal.code, RefusalCode::StoreFailed, "{at}"),
            }
            peer.connection.close();
        }
        close(broker).await;
        fs::remove_dir_all(&data).unwrap();
    }
}

#[tokio::test]
async fn keys_of_the_format_before_are_found_and_those_that_come_get_checksums() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    cleaned(&data).await;
    let number = |sql: &str| {
        let connection = Connection::open(file(&data)).unwrap();
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let connection = Connection::open(file(&data)).unwrap();
    let before = "UPDATE keys SET id = substr(id, 1, 16); PRAGMA user_version = 5;";
    connection.execute_batch(before).unwrap();
    drop(connection);
    let found = verify(&data, Repair::No, |_, _| {}).unwrap();
    assert!(found.is_sound(), "{found:?}");
    assert_eq!(number("PRAGMA user_version"), 5, "it is only looked at");
    let mut scene = Scene::open(crate::common::scene::at(&data), 3).await;
    assert!(scene.is_repeat("k-7").await);
    scene.complete_under("later").await;
    scene.until(|stats| stats.records_unindexed == 0 && stats.log.is_some()).await;
    wait_for_rows(&data, number("SELECT count(*) FROM keys WHERE key <> 'later'") + 1);
    scene.close().await;
    assert_eq!(number("PRAGMA user_version"), 6);
    let sealed = number("SELECT count(*) FROM keys WHERE length(id) = 20");
    assert_eq!(sealed, number("SELECT count(*) FROM keys WHERE key = 'later'"));
    assert_eq!(sealed, 1);
    assert!(verify(&data, Repair::No, |_, _| {}).unwrap().is_sound());
}
