//! Positions and flushes of the committer.

use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;
use trunkline_log::{Batch, Committer, Log, LogConfig, MemoryDisk, Progress, Urgency};

/// An empty log that does not flush by itself within a test, and a batch for it.
fn never_flushed() -> (Log, Batch) {
    let config = LogConfig {
        segment_bytes: 1 << 16,
        max_body_bytes: 1 << 10,
        flush_within: Duration::from_hours(1),
        ..LogConfig::default()
    };
    let batch = config.batch();
    let (log, _) =
        Log::open(Arc::new(MemoryDisk::new()), config, |_| Ok(())).expect("an empty disk");
    (log, batch)
}

#[test]
fn an_empty_synced_batch_flushes_what_was_submitted_before() {
    let (log, mut batch) = never_flushed();
    let (sender, progress) = mpsc::channel();
    let report = move |progress| {
        // The test may be over.
        let _ = sender.send(progress);
    };
    let committer = Committer::start(log, Box::new(report), || ()).expect("a thread");
    batch.push(0, 1, 1, |body| body.extend_from_slice(b"buffered")).expect("a small record");
    let position = committer.submit(&mut batch, Urgency::Buffered);
    committer.submit(&mut batch, Urgency::Synced);
    let flushed = progress.iter().any(
        |progress| matches!(progress, Progress::Advanced { synced, .. } if synced >= position),
    );
    assert!(flushed);
    committer.close().expect("a sound disk");
}

#[test]
fn positions_go_on_from_what_was_written_before_the_thread_began() {
    let config =
        LogConfig { segment_bytes: 1 << 16, max_body_bytes: 1 << 10, ..LogConfig::default() };
    let mut batch = config.batch();
    let (mut log, _) =
        Log::open(Arc::new(MemoryDisk::new()), config, |_| Ok(())).expect("an empty disk");
    batch.push(0, 1, 1, |body| body.push(1)).expect("a small record");
    log.write(&mut batch).expect("a sound disk");
    log.sync().expect("a sound disk");
    let (sender, progress) = mpsc::channel();
    let report = move |progress| {
        // The test may be over.
        let _ = sender.send(progress);
    };
    let committer = Committer::start(log, Box::new(report), || ()).expect("a thread");
    batch.push(0, 2, 1, |body| body.push(2)).expect("a small record");
    let position = committer.submit(&mut batch, Urgency::Synced);
    assert_eq!(position.0, 2);
    let latest = progress.iter().find_map(|progress| match progress {
        Progress::Advanced { synced, .. } if synced >= position => Some(synced),
        _ => None,
    });
    assert_eq!(latest, Some(position));
    committer.close().expect("a sound disk");
}

/// How often the thread of the log came to rest.
static RESTS: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());

fn rested() {
    *RESTS.0.lock().unwrap() += 1;
    RESTS.1.notify_all();
}

#[test]
fn the_thread_comes_to_rest_once_after_its_work_even_while_a_flush_is_to_come() {
    let (log, mut batch) = never_flushed();
    let committer = Committer::start(log, Box::new(|_| ()), rested).expect("a thread");
    for times in 1..=2 {
        batch.push(0, times, 1, |body| body.push(1)).expect("a small record");
        committer.submit(&mut batch, Urgency::Buffered);
        let patience = Duration::from_mins(1);
        let (rests, late) = RESTS
            .1
            .wait_timeout_while(RESTS.0.lock().unwrap(), patience, |rests| *rests < times)
            .unwrap();
        assert!(!late.timed_out(), "{rests} of {times} rests");
        assert_eq!(*rests, times);
        drop(rests);
    }
    committer.close().expect("a sound disk");
}
