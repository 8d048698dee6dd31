//! Idempotency keys on disk: found after they left memory, made again from the log when they are
//! missing, damaged, behind, or not this log's own.

use crate::common::scene::{copy, file};
use crate::common::{Peer, at, hello, task};
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};
use trunkline_broker::Broker;
use trunkline_types::MessageId;

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
