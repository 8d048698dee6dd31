//! The room that is kept for what was begun, the table of segments, and what cleaning costs.

use std::{sync::Arc, thread, time::Duration};

use crate::common::{SEGMENT, config, fill, open_with};
use parking_lot::Mutex;
use trunkline_log::{
    Committer, Log, LogConfig, Loss, MemoryDisk, OpenError, Progress, Space, Urgency,
};

/// With a number of segments in reserve.
fn reserving(reserve_segments: usize) -> LogConfig {
    LogConfig { reserve_segments, retry_space_after: Duration::from_millis(10), ..config() }
}

fn open(disk: &MemoryDisk, reserve: usize) -> Log {
    open_with(Arc::new(disk.clone()), reserving(reserve)).unwrap().log
}

/// Prepares all that the disk has room for.
fn prepare_all(log: &mut Log) {
    while log.wants_upkeep() && log.prepare().is_ok() {}
}

/// Writes until new work would be refused; the next sequence.
fn fill_up(log: &mut Log, mut next: u64) -> u64 {
    let mut batch = log.config().batch();
    while log.space() == Space::Ample {
        fill(&mut batch, next..next + 5, 400);
        next += 5;
        log.write(&mut batch).unwrap();
        prepare_all(log);
    }
    log.sync().unwrap();
    next
}

#[test]
fn new_work_is_refused_while_the_whole_reserve_is_still_there() {
    for reserve in 0..4 {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, reserve);
        prepare_all(&mut log);
        assert_eq!(disk.used_bytes(), SEGMENT * (2 + reserve as u64));
        disk.set_capacity(Some(disk.used_bytes() + 2 * SEGMENT + 100));
        let mut next = fill_up(&mut log, 0);
        assert_eq!(log.space(), Space::Reserve);
        // What is left: the reserve, and what the segment being written to still has.
        let begun = log.end().segment;
        let mut batch = log.config().batch();
        loop {
            fill(&mut batch, next..next + 5, 400);
            next += 5;
            if log.write(&mut batch).is_err() {
                break;
            }
        }
        assert_eq!(log.end().segment, begun + reserve as u64);
        assert_eq!(log.space(), Space::Exhausted);
    }
}

/// A batch that needs so many segments besides the one being written to.
fn long_batch(log: &Log, first: u64, segments: u64) -> trunkline_log::Batch {
    let mut batch = log.config().batch();
    let mut next = first;
    while (batch.bytes() as u64) < segments * SEGMENT {
        fill(&mut batch, next..next + 1, 400);
        next += 1;
    }
    batch
}

#[test]
fn a_batch_that_all_spares_do_not_hold_gets_as_many_as_it_needs_and_no_more() {
    for reserve in 0..3 {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, reserve);
        prepare_all(&mut log);
        let files = 2 + reserve as u64;
        // One more file than the reserve and the next one, so that neither is lacking.
        disk.set_capacity(Some((files + 1) * SEGMENT));
        let mut batch = long_batch(&log, 0, files + 2);
        log.write(&mut batch).unwrap_err();
        assert_eq!(log.space(), Space::Exhausted, "{reserve} in reserve");
        // There is work, and whoever does it is told that it has failed.
        assert!(log.prepare().is_err());
        disk.set_capacity(Some((files + 2) * SEGMENT));
        log.prepare().unwrap();
        assert_eq!(log.space(), Space::Exhausted, "one more is not enough");
        disk.set_capacity(None);
        prepare_all(&mut log);
        assert_eq!(log.space(), Space::Ample);
        let spares = disk.used_bytes() / SEGMENT - 1;
        assert!(spares == files + 2 || spares == files + 3, "{spares} for {files} and two");
        log.write(&mut batch).unwrap();
        assert!(batch.is_empty());
        // What is asked for then is what was always asked for.
        prepare_all(&mut log);
        let ahead = disk.used_bytes() / SEGMENT - log.end().segment;
        assert!(ahead <= 1 + reserve as u64 + 1, "{ahead} with {reserve} in reserve");
    }
}

#[test]
fn a_long_append_is_tried_again_by_itself_when_there_is_room() {
    for reserve in 0..3 {
        let disk = MemoryDisk::new();
        let log = open(&disk, reserve);
        let mut batch = long_batch(&log, 0, 5 + reserve as u64);
        // All but two of the files that it takes.
        disk.set_capacity(Some((4 + reserve as u64) * SEGMENT));
        let (told, spaces) = std::sync::mpsc::channel();
        let on_progress = move |progress| {
            let Progress::Advanced { synced, space, .. } = progress else { return };
            // Nobody may listen any more.
            let _ = told.send((synced, space));
        };
        let committer = Committer::start(log, Box::new(on_progress), || ()).unwrap();
        let position = committer.submit(&mut batch, Urgency::Synced);
        let patience = Duration::from_mins(1);
        while spaces.recv_timeout(patience).expect("the disk is full").1 != Space::Exhausted {}
        disk.set_capacity(None);
        while spaces.recv_timeout(patience).expect("there is room again").0 < position {}
        committer.close().unwrap();
    }
}

#[test]
fn the_whole_reserve_is_there_as_long_as_files_for_other_work_can_be_made() {
    for reserve in 0..4 {
        let disk = MemoryDisk::new();
        let mut log = open(&disk, reserve);
        prepare_all(&mut log);
        let (mut batch, mut next) = (log.config().batch(), 0);
        let mut write = |log: &mut Log| {
            fill(&mut batch, next..next + 5, 400);
            next += 5;
            log.write(&mut batch)
        };
        // Nobody prepares anything any more, so that each segment is made when it is needed.
        while log.end().segment < 6 {
            write(&mut log).unwrap();
        }
        disk.set_capacity(Some(disk.used_bytes()));
        while write(&mut log).is_ok() {}
        assert_eq!(log.end().segment, 6 + reserve as u64);
    }
}

#[test]
fn a_full_disk_settles_cleans_and_is_ample_again_without_a_restart() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 1);
    prepare_all(&mut log);
    disk.set_capacity(Some(6 * SEGMENT));
    let mut next = fill_up(&mut log, 0);
    for round in 0..10 {
        assert_eq!(log.space(), Space::Reserve, "round {round}");
        // A whole segment's worth of settlements and carried records fits.
        let oldest = log.segments()[0].clone();
        let mut batch = log.config().batch();
        let mut carried = 0;
        while carried < oldest.fresh_bytes + oldest.carried_bytes {
            let partition = u16::try_from(next % 3).unwrap();
            let before = batch.bytes();
            batch
                .push_carried(partition, next, 9, |body| body.resize(body.len() + 400, 1))
                .unwrap();
            carried += (batch.bytes() - before) as u64;
            next += 1;
            if batch.bytes() > 4000 {
                log.write(&mut batch).unwrap();
            }
        }
        log.write(&mut batch).unwrap();
        log.sync().unwrap();
        log.remove_before(log.segments()[2].number).unwrap();
        prepare_all(&mut log);
        assert_eq!(log.space(), Space::Ample, "round {round}");
        next = fill_up(&mut log, next);
    }
    let figures = log.figures();
    assert_eq!(figures.removed, 20);
    assert!(figures.recycled >= 18, "{figures:?}");
    assert!(figures.carried_bytes > 0 && figures.carried_bytes < figures.written_bytes);
    assert_eq!(figures.disk_bytes, disk.used_bytes());
    disk.crash(Loss::Unsynced);
    let found = open_with(Arc::new(disk.clone()), reserving(1)).unwrap().records;
    assert_eq!(found.last().unwrap().sequence, next - 1);
    assert!(found.iter().any(|record| record.carried) && !found.iter().all(|it| it.carried));
    assert_eq!(found[0].location.segment, 21, "the oldest segments are gone");
}

#[test]
fn a_full_disk_is_not_called_ample_before_the_whole_reserve_is_back() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 2);
    prepare_all(&mut log);
    disk.set_capacity(Some(disk.used_bytes()));
    let next = fill_up(&mut log, 0);
    // Half of the reserve is used.
    let mut batch = log.config().batch();
    fill(&mut batch, next..next + 250, 400);
    log.write(&mut batch).unwrap();
    disk.set_capacity(Some(disk.used_bytes() + SEGMENT));
    prepare_all(&mut log);
    assert_eq!(log.space(), Space::Reserve);
    disk.set_capacity(None);
    log.prepare().unwrap();
    prepare_all(&mut log);
    assert_eq!(log.space(), Space::Ample);
}

#[test]
fn a_reserve_beyond_its_range_is_refused() {
    let error = open_with(Arc::new(MemoryDisk::new()), reserving(65)).err().unwrap();
    assert!(matches!(error, OpenError::Config { setting: "reserve_segments", .. }));
    assert_eq!(error.to_string(), "reserve_segments is 65, allowed is 0 to 64");
}

/// A committer, and the last space it told of.
fn committer(log: Log) -> (Committer, Arc<Mutex<Space>>) {
    let space = Arc::new(Mutex::new(Space::Ample));
    let told = Arc::clone(&space);
    let on_progress = move |progress| {
        if let Progress::Advanced { space, .. } = progress {
            *told.lock() = space;
        }
    };
    (Committer::start(log, Box::new(on_progress), || ()).unwrap(), space)
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{what} did not come true");
}

#[test]
fn a_committer_on_a_full_disk_cleans_and_is_ample_again() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, 1);
    prepare_all(&mut log);
    disk.set_capacity(Some(8 * SEGMENT));
    let mut batch = log.config().batch();
    let (committer, space) = committer(log);
    let mut next = 0;
    while *space.lock() == Space::Ample {
        fill(&mut batch, next..next + 5, 400);
        next += 5;
        committer.submit(&mut batch, Urgency::Synced);
        until("it is written", || committer.pending_bytes() == 0);
    }
    let table = committer.segments();
    assert!(table.len() >= 5, "{}", table.len());
    let cut = table[3].clone();
    // Half a segment of settlements still fits, and then the cleaning.
    fill(&mut batch, next..next + 100, 400);
    committer.submit(&mut batch, Urgency::Synced);
    committer.remove_before(cut.number);
    until("there is room", || *space.lock() == Space::Ample);
    until("the table says so", || committer.segments()[0] == cut);
    let figures = committer.figures();
    assert_eq!(figures.removed, 3);
    assert!(figures.recycled >= 1);
    assert_eq!(figures.segments, committer.segments().len() as u64);
    committer.close().unwrap();
    let found = open_with(Arc::new(disk), reserving(1)).unwrap().records;
    let first = |partition| found.iter().find(|it| it.partition == partition).unwrap().sequence;
    for partition in 0..3 {
        assert_eq!(cut.first_of(partition), Some(first(partition)));
    }
}
