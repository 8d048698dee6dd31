//! The log thread: order, durability, batching by itself, failure, a full disk, and its end.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use crate::common::{SEGMENT, assert_prefix, config, fill, open, open_with};
use trunkline_log::{
    Committer, LogConfig, Loss, MemoryDisk, Operation, Position, Progress, Space, Urgency,
    WriteError,
};

/// A hang is a failure, but never a matter of speed.
const PATIENCE: Duration = Duration::from_mins(1);

/// The reports of a committer, and the latest one: what it said once is not said again.
struct Reports {
    receiver: mpsc::Receiver<Progress>,
    latest: Option<Progress>,
}

impl Reports {
    /// Waits until the latest report fits.
    fn wait_for(&mut self, what: &str, fits: impl Fn(&Progress) -> bool) -> Progress {
        loop {
            if let Some(progress) = self.latest.as_ref().filter(|progress| fits(progress)) {
                return progress.clone();
            }
            match self.receiver.recv_timeout(PATIENCE) {
                Ok(progress) => self.latest = Some(progress),
                Err(error) => panic!("no report of {what} ({error}) after {:?}", self.latest),
            }
        }
    }

    fn wait_synced(&mut self, until: Position) {
        self.wait_for(
            "sync",
            |progress| matches!(progress, Progress::Advanced { synced, .. } if *synced >= until),
        );
    }

    fn wait_space(&mut self, wanted: Space) {
        self.wait_for(
            "space",
            |progress| matches!(progress, Progress::Advanced { space, .. } if *space == wanted),
        );
    }
}

fn start_with(disk: &MemoryDisk, config: LogConfig) -> (Committer, Reports) {
    let (sender, receiver) = mpsc::channel();
    let log = open_with(Arc::new(disk.clone()), config).unwrap().log;
    let committer = Committer::start(
        log,
        Box::new(move |progress| {
            // The test may have seen enough.
            let _ = sender.send(progress);
        }),
        || (),
    )
    .unwrap();
    (committer, Reports { receiver, latest: None })
}

fn start(disk: &MemoryDisk) -> (Committer, Reports) {
    start_with(disk, config())
}

#[test]
fn what_is_reported_synced_survives() {
    let disk = MemoryDisk::new();
    let (committer, mut reports) = start(&disk);
    let mut batch = config().batch();
    for round in 0..50 {
        fill(&mut batch, round * 20..(round + 1) * 20, 300);
        let position = committer.submit(&mut batch, Urgency::Synced);
        assert_eq!(position, Position((round + 1) * 20));
        assert!(batch.is_empty());
        reports.wait_synced(position);
        let crashed = disk.fork();
        crashed.crash(Loss::Unsynced);
        assert_prefix(&open(&crashed).records, (round + 1) * 20, 300);
    }
    assert_eq!(committer.pending_bytes(), 0);
    committer.close().unwrap();
}

#[test]
fn many_submitters_keep_their_order_and_share_flushes() {
    let disk = MemoryDisk::new();
    let (committer, _reports) = start(&disk);
    thread::scope(|scope| {
        for partition in 0..8_u16 {
            let committer = &committer;
            scope.spawn(move || {
                let mut batch = config().batch();
                for sequence in 0..500 {
                    batch
                        .push(partition, sequence, 1, |body| {
                            body.extend(crate::common::body(sequence, 50));
                        })
                        .unwrap();
                    committer.submit(&mut batch, Urgency::Synced);
                }
            });
        }
    });
    committer.close().unwrap();
    let opened = open(&disk);
    assert!(opened.recovery.closed);
    assert_eq!(opened.records.len(), 8 * 500);
    for partition in 0..8 {
        let sequences = opened.records.iter().filter(|record| record.partition == partition);
        assert!(sequences.map(|record| record.sequence).eq(0..500));
    }
}

#[test]
fn buffered_records_are_written_at_once_and_flushed_in_time() {
    let disk = MemoryDisk::new();
    let never = LogConfig { flush_within: Duration::from_hours(1), ..config() };
    let (committer, mut reports) = start_with(&disk, never);
    let mut batch = config().batch();
    fill(&mut batch, 0..10, 100);
    let position = committer.submit(&mut batch, Urgency::Buffered);
    let report = reports.wait_for(
        "write",
        |progress| matches!(progress, Progress::Advanced { written, .. } if *written == position),
    );
    assert!(matches!(report, Progress::Advanced { synced: Position(0), .. }), "{report:?}");
    // A synced batch takes the buffered one along.
    fill(&mut batch, 10..11, 100);
    let position = committer.submit(&mut batch, Urgency::Synced);
    reports.wait_synced(position);
    drop(committer);

    let soon = LogConfig { flush_within: Duration::from_millis(1), ..config() };
    let (committer, mut reports) = start_with(&disk, soon);
    fill(&mut batch, 11..20, 100);
    let position = committer.submit(&mut batch, Urgency::Buffered);
    reports.wait_synced(position);
    disk.crash(Loss::Unsynced);
    assert_prefix(&open(&disk).records, 20, 100);
    drop(committer);
}

#[test]
fn closing_and_dropping_flush_everything() {
    let disk = MemoryDisk::new();
    let mut next = 0;
    for close in [true, false, true] {
        let never = LogConfig { flush_within: Duration::from_hours(1), ..config() };
        let (committer, reports) = start_with(&disk, never);
        let mut batch = config().batch();
        let mut last = Position(0);
        for _ in 0..10 {
            fill(&mut batch, next..next + 10, 300);
            next += 10;
            last = committer.submit(&mut batch, Urgency::Buffered);
        }
        if close {
            committer.close().unwrap();
        } else {
            drop(committer);
        }
        let report = reports.receiver.iter().last();
        assert!(
            matches!(report, Some(Progress::Advanced { synced, .. }) if synced == last),
            "those who wait are told: {report:?}"
        );
        let crashed = disk.fork();
        crashed.crash(Loss::Unsynced);
        let opened = open(&crashed);
        assert_prefix(&opened.records, next, 300);
        assert!(opened.recovery.closed);
    }
}

#[test]
fn an_idle_log_has_nothing_to_flush() {
    let disk = MemoryDisk::new();
    let (committer, mut reports) = start(&disk);
    let mut batch = config().batch();
    assert_eq!(committer.submit(&mut batch, Urgency::Synced), Position(0));
    fill(&mut batch, 0..1, 10);
    let position = committer.submit(&mut batch, Urgency::Synced);
    reports.wait_synced(position);
    committer.close().unwrap();
    let syncs = disk.syncs();
    // Opening, first segment and spare, one batch, closing.
    assert_eq!(syncs, 5);
}

#[test]
fn a_failed_flush_is_reported_once_and_everything_after_is_discarded() {
    let disk = MemoryDisk::new();
    let (committer, mut reports) = start(&disk);
    let mut batch = config().batch();
    fill(&mut batch, 0..10, 100);
    let safe = committer.submit(&mut batch, Urgency::Synced);
    reports.wait_synced(safe);
    disk.fail_always(Operation::Sync);
    fill(&mut batch, 10..20, 100);
    committer.submit(&mut batch, Urgency::Synced);
    let report =
        reports.wait_for("failure", |progress| matches!(progress, Progress::Failed { .. }));
    assert!(matches!(&report, Progress::Failed { reason } if reason.contains("cannot flush")));
    disk.repair();
    fill(&mut batch, 20..30, 100);
    assert_eq!(committer.submit(&mut batch, Urgency::Synced), Position(30));
    assert!(batch.is_empty());
    assert_eq!(committer.pending_bytes(), 0);
    let error = committer.close().unwrap_err();
    assert_eq!(error.unsynced, 20);
    assert!(matches!(error.reason, WriteError::Poisoned(_)), "{error}");
    assert!(reports.receiver.recv().is_err(), "no report follows a failure");
    disk.crash(Loss::Unsynced);
    assert_prefix(&open(&disk).records, 10, 100);
}

#[test]
fn a_full_disk_is_reported_and_left_behind_by_itself() {
    let disk = MemoryDisk::new();
    let config = LogConfig { retry_space_after: Duration::from_millis(1), ..config() };
    disk.set_capacity(Some(2 * SEGMENT));
    let (committer, mut reports) = start_with(&disk, config);
    let mut batch = crate::common::config().batch();
    let mut next = 0;
    let mut submit = |committer: &Committer| {
        fill(&mut batch, next..next + 10, 400);
        next += 10;
        let bytes = batch.bytes() as u64;
        (committer.submit(&mut batch, Urgency::Synced), bytes)
    };
    // Until the spare is in use and no other can be made.
    let mut bytes = 0;
    while bytes < SEGMENT {
        let (position, more) = submit(&committer);
        reports.wait_synced(position);
        bytes += more;
    }
    reports.wait_space(Space::Reserve);
    // The reserve is still written to: far more than one batch fits.
    for _ in 0..5 {
        let (position, _) = submit(&committer);
        reports.wait_synced(position);
    }
    let (last, _) = (0..60).map(|_| submit(&committer)).last().unwrap();
    // Trying again and again to make room is never taken for having it.
    let report = reports.wait_for("space", |progress| {
        !matches!(progress, Progress::Advanced { space: Space::Reserve, .. })
    });
    assert!(matches!(report, Progress::Advanced { space: Space::Exhausted, .. }), "{report:?}");
    assert!(committer.pending_bytes() > 0);
    disk.set_capacity(None);
    reports.wait_synced(last);
    committer.close().unwrap();
    assert_prefix(&open(&disk).records, next, 400);
}

#[test]
fn closing_a_full_log_says_what_was_not_written() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(SEGMENT));
    let (committer, mut reports) = start(&disk);
    let mut batch = config().batch();
    fill(&mut batch, 0..50, 400);
    let safe = committer.submit(&mut batch, Urgency::Synced);
    reports.wait_synced(safe);
    fill(&mut batch, 50..1050, 400);
    committer.submit(&mut batch, Urgency::Synced);
    reports.wait_space(Space::Exhausted);
    let error = committer.close().unwrap_err();
    assert_eq!(error.unsynced, 1000);
    assert!(matches!(error.reason, WriteError::Full { .. }), "{error}");
    disk.set_capacity(None);
    assert_prefix(&open(&disk).records, 50, 400);
}

#[test]
fn congestion_is_seen_before_memory_runs_out() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(SEGMENT));
    let config = LogConfig { pending_bytes: 100_000, ..config() };
    let (committer, mut reports) = start_with(&disk, config);
    let mut batch = crate::common::config().batch();
    fill(&mut batch, 0..1000, 400);
    let bytes = batch.bytes();
    assert!(!committer.is_congested());
    let position = committer.submit(&mut batch, Urgency::Synced);
    reports.wait_space(Space::Exhausted);
    assert_eq!(committer.pending_bytes(), bytes);
    assert!(committer.is_congested());
    // What comes after waits behind it.
    fill(&mut batch, position.0..position.0 + 10, 400);
    let position = committer.submit(&mut batch, Urgency::Buffered);
    disk.set_capacity(None);
    // Closing tries once more, and now there is room.
    committer.close().unwrap();
    assert_prefix(&open(&disk).records, position.0, 400);
}

#[test]
fn removal_follows_what_was_submitted_before_it() {
    let disk = MemoryDisk::new();
    let (committer, mut reports) = start(&disk);
    let mut batch = config().batch();
    for round in 0..20 {
        fill(&mut batch, round * 100..(round + 1) * 100, 400);
        let position = committer.submit(&mut batch, Urgency::Synced);
        committer.remove_before(u64::MAX);
        reports.wait_synced(position);
    }
    committer.close().unwrap();
    let opened = open(&disk);
    assert!(opened.log.oldest_segment() > 5);
    assert_eq!(opened.records.last().unwrap().sequence, 1999);
    assert!(disk.used_bytes() < 8 * SEGMENT, "{}", disk.used_bytes());
}
