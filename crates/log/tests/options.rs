//! What each setting of the log does, as its files and those who wait for it see it.
//!
//! A span is seen by two logs that differ in nothing else: what must happen in one of them has
//! happened several times while in the other it has not.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use crate::common::{SEGMENT, config, fill, open_with};
use trunkline_log::{
    Batch, Committer, LogConfig, MemoryDisk, Position, Progress, Space, Storage, Urgency,
};

/// A hang is a failure, but never a matter of speed.
const PATIENCE: Duration = Duration::from_mins(1);
/// Longer than any test.
const NEVER: Duration = Duration::from_hours(1);
const SOON: Duration = Duration::from_millis(5);
/// How often it happens where it may, until it is certain that it does not where it may not: so
/// often takes longer than the span by default, even if the first time comes by chance.
const OFTEN: u64 = 30;

/// A committer on a disk of its own, and the latest that it told.
struct Told {
    disk: MemoryDisk,
    committer: Committer,
    receiver: mpsc::Receiver<Progress>,
    latest: (Position, Position, Space),
    batch: Batch,
    next: u64,
}

impl Told {
    fn start(config: &LogConfig) -> Self {
        let disk = MemoryDisk::new();
        let log = open_with(Arc::new(disk.clone()), config.clone()).unwrap().log;
        let (sender, receiver) = mpsc::channel();
        let on_progress = move |progress| {
            // The test may have seen enough.
            let _ = sender.send(progress);
        };
        let committer = Committer::start(log, Box::new(on_progress), || ()).unwrap();
        let (latest, batch) = ((Position(0), Position(0), Space::Ample), config.batch());
        Self { disk, committer, receiver, latest, batch, next: 0 }
    }

    fn submit(&mut self, records: u64, urgency: Urgency) -> Position {
        fill(&mut self.batch, self.next..self.next + records, 400);
        self.next += records;
        self.committer.submit(&mut self.batch, urgency)
    }

    fn take(&mut self, progress: Progress) {
        match progress {
            Progress::Advanced { written, synced, space } => {
                self.latest = (written, synced, space);
            }
            Progress::Failed { reason } => panic!("{reason}"),
        }
    }

    /// What it told last, without waiting for anything.
    fn now(&mut self) -> (Position, Position, Space) {
        while let Ok(progress) = self.receiver.try_recv() {
            self.take(progress);
        }
        self.latest
    }

    fn wait(&mut self, what: &str, holds: impl Fn(Position, Position, Space) -> bool) {
        while !holds(self.latest.0, self.latest.1, self.latest.2) {
            let progress = self.receiver.recv_timeout(PATIENCE);
            let latest = self.latest;
            self.take(progress.unwrap_or_else(|error| panic!("{what}: {error}, {latest:?}")));
        }
    }

    /// Fills the disk, which has room for nothing more than there is, until something waits.
    fn fill_up(&mut self) {
        self.disk.set_capacity(Some(self.disk.used_bytes()));
        // A little at a time, so that a spare segment that there may be is used up as well.
        while self.latest.2 != Space::Exhausted {
            let end = self.submit(10, Urgency::Synced);
            self.wait("a full disk", |_, synced, space| synced >= end || space == Space::Exhausted);
        }
    }
}

#[test]
fn every_new_segment_is_as_long_as_is_set() {
    for segment_bytes in [SEGMENT, 3 * SEGMENT] {
        let disk = MemoryDisk::new();
        let config = LogConfig { segment_bytes, ..config() };
        let mut log = open_with(Arc::new(disk.clone()), config.clone()).unwrap().log;
        let mut batch = config.batch();
        for first in (0..2000).step_by(100) {
            fill(&mut batch, first..first + 100, 300);
            log.write(&mut batch).unwrap();
        }
        log.prepare().unwrap();
        let lengths: Vec<_> = disk.list().unwrap().into_iter().map(|file| file.bytes).collect();
        assert!(lengths.len() > 2, "the first, later ones and a spare: {lengths:?}");
        assert!(lengths.iter().all(|bytes| *bytes == segment_bytes), "{lengths:?}");
        assert_eq!(log.segments().iter().map(|it| it.bytes).max(), Some(segment_bytes));
    }
}

#[test]
fn a_buffered_record_is_flushed_as_soon_as_is_set_and_no_sooner() {
    let mut late = Told::start(&LogConfig { flush_within: NEVER, ..config() });
    let waits = late.submit(1, Urgency::Buffered);
    late.wait("the write", |written, _, _| written == waits);
    let mut soon = Told::start(&LogConfig { flush_within: SOON, ..config() });
    for _ in 0..OFTEN {
        let position = soon.submit(1, Urgency::Buffered);
        soon.wait("the flush", |_, synced, _| synced == position);
    }
    assert_eq!(late.now().1, Position(0), "it waits for its time, or for a synced one");
    let urgent = late.submit(1, Urgency::Synced);
    late.wait("the flush", |_, synced, _| synced == urgent);
}

#[test]
fn a_full_disk_is_tried_again_as_often_as_is_set_and_no_oftener() {
    let mut late = Told::start(&LogConfig { retry_space_after: NEVER, ..config() });
    late.fill_up();
    late.disk.set_capacity(None);
    let mut soon = Told::start(&LogConfig { retry_space_after: SOON, ..config() });
    for _ in 0..3 {
        soon.fill_up();
        soon.disk.set_capacity(None);
        let all = Position(soon.next);
        soon.wait("all is flushed", |_, synced, _| synced == all);
    }
    assert_eq!(late.now().2, Space::Exhausted, "nobody looked whether there is room again");
    // Closing looks once more.
    late.committer.close().unwrap();
}
