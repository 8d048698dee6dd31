//! A full disk, a failing disk, and segments that are used again.

use std::sync::Arc;

use crate::common::{
    SEGMENT, assert_prefix, config, fill, open, open_with, segment, try_open, write,
};
use trunkline_log::{
    LogConfig, Loss, MemoryDisk, OpenError, Operation, Space, Storage, WriteError,
};

fn files(disk: &MemoryDisk) -> Vec<String> {
    disk.list().unwrap().into_iter().map(|file| file.name).collect()
}

#[test]
fn a_failed_write_poisons_until_the_log_is_opened_again() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..10);
    log.sync().unwrap();
    disk.fail_after(Operation::Write, 0);
    let mut batch = log.config().batch();
    fill(&mut batch, 10..20, 100);
    let error = log.write(&mut batch).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("log is poisoned: cannot write memory/{}: injected i/o error", segment(1))
    );
    // The disk is well again, but nobody knows what it holds.
    fill(&mut batch, 20..21, 100);
    assert!(matches!(log.write(&mut batch), Err(WriteError::Poisoned(_))));
    assert!(matches!(log.sync(), Err(WriteError::Poisoned(_))));
    assert!(matches!(log.remove_before(1), Err(WriteError::Poisoned(_))));
    assert!(log.begin_upkeep().is_none());
    assert!(matches!(log.close(), Err(WriteError::Poisoned(_))));
    let mut opened = open(&disk);
    assert_prefix(&opened.records, 10, 100);
    write(&mut opened.log, 10..12);
    opened.log.sync().unwrap();
    disk.crash(Loss::Unsynced);
    assert_prefix(&open(&disk).records, 12, 100);
}

#[test]
fn a_failed_flush_poisons_and_nothing_more_is_called_synced() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..10);
    disk.fail_after(Operation::Sync, 0);
    assert!(matches!(log.sync(), Err(WriteError::Poisoned(_))));
    assert!(matches!(log.sync(), Err(WriteError::Poisoned(_))));
    assert_eq!(log.synced(), 0);
    drop(log);
    let found = open(&disk).records.len() as u64;
    assert!(found == 0 || found == 10);
}

#[test]
fn every_single_disk_error_leaves_a_log_that_opens_with_all_that_was_synced() {
    for operation in [Operation::Write, Operation::Sync, Operation::Create, Operation::Names] {
        let mut failed = 0;
        for skip in 0..40 {
            let disk = MemoryDisk::new();
            let mut log = open(&disk).log;
            disk.fail_after(operation, skip);
            let mut batch = log.config().batch();
            let mut next = 0;
            for round in 0..12 {
                fill(&mut batch, next..next + 60, 400);
                next += 60;
                let written = log.write(&mut batch).and_then(|()| log.sync());
                let removed = written.is_ok() && round % 4 == 3;
                if written.is_err() || (removed && log.prepare().is_err()) {
                    failed += 1;
                    break;
                }
            }
            let synced = log.synced();
            drop(log);
            disk.crash(Loss::Torn(skip));
            let opened = try_open(&disk)
                .unwrap_or_else(|error| panic!("{operation:?} after {skip}: {error}"));
            let found = opened.records.len() as u64;
            assert!(found >= synced, "{operation:?} after {skip}: {found} of {synced}");
            assert_prefix(&opened.records, found, 400);
        }
        assert!(failed > 0, "{operation:?} never failed");
    }
}

#[test]
fn a_full_disk_is_a_reserve_then_full_and_recovers_by_itself() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    log.prepare().unwrap();
    assert_eq!(log.space(), Space::Ample);
    disk.set_capacity(Some(disk.used_bytes()));

    // The current segment and the spare are there to be used.
    let mut batch = log.config().batch();
    let mut next = 0;
    let mut spaces = vec![log.space()];
    let full = loop {
        fill(&mut batch, next..next + 5, 400);
        match log.write(&mut batch) {
            Ok(()) => next += 5,
            Err(error) => break error,
        }
        if log.wants_upkeep() {
            assert!(log.prepare().is_err());
        }
        if spaces.last() != Some(&log.space()) {
            spaces.push(log.space());
        }
    };
    spaces.push(log.space());
    assert_eq!(spaces, [Space::Ample, Space::Reserve, Space::Exhausted]);
    assert!(matches!(full, WriteError::Full { .. }), "{full}");
    assert_eq!(log.end().segment, 2);
    assert_eq!(log.written(), next);

    // Not poisoned: a flush works, and so does a smaller write.
    log.sync().unwrap();
    let mut small = log.config().batch();
    small.push(9, 0, 0, |body| body.push(1)).unwrap();
    log.write(&mut small).unwrap();
    assert_eq!(log.space(), Space::Reserve);
    // The refused batch is whole and can be written once there is room.
    assert!(matches!(log.write(&mut batch), Err(WriteError::Full { .. })));
    assert_eq!(batch.records(), 5);
    disk.set_capacity(None);
    log.prepare().unwrap();
    assert_eq!(log.space(), Space::Ample);
    log.write(&mut batch).unwrap();
    log.sync().unwrap();
    disk.crash(Loss::Unsynced);
    let mut records = open(&disk).records;
    records.retain(|record| record.partition != 9);
    assert_prefix(&records, next + 5, 400);
}

#[test]
fn a_full_log_opens_again_many_times() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    disk.set_capacity(Some(disk.used_bytes()));
    let mut batch = log.config().batch();
    let mut next = 0;
    loop {
        fill(&mut batch, next..next + 1, 0);
        if log.write(&mut batch).is_err() {
            break;
        }
        next += 1;
    }
    log.close().unwrap();
    for _ in 0..20 {
        let opened = open(&disk);
        assert_prefix(&opened.records, next, 0);
        opened.log.close().unwrap();
    }
    // When even the last reserve is used up, it says so and nothing is harmed.
    let error = loop {
        match try_open(&disk) {
            Ok(opened) => drop(opened),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, OpenError::Full { .. }), "{error}");
    disk.set_capacity(None);
    assert_prefix(&open(&disk).records, next, 0);
}

#[test]
fn no_room_for_the_first_segment_is_said_so() {
    let disk = MemoryDisk::new();
    disk.set_capacity(Some(SEGMENT - 1));
    let error = try_open(&disk).err().unwrap();
    assert!(matches!(error, OpenError::Full { bytes: SEGMENT, .. }), "{error}");
    assert!(files(&disk).is_empty());
}

#[test]
fn a_sequence_that_does_not_increase_is_never_written() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..10);
    log.sync().unwrap();
    let mut batch = log.config().batch();
    batch.push(0, 9, 0, |_| {}).unwrap();
    let error = log.write(&mut batch).unwrap_err();
    assert!(error.to_string().contains("sequence 9 of partition 0"), "{error}");
    assert_prefix(&open(&disk).records, 10, 100);
}

/// Fills about `segments` segments.
fn fill_segments(log: &mut trunkline_log::Log, next: &mut u64, segments: u64) {
    let until = log.end().segment + segments;
    let mut batch = log.config().batch();
    while log.end().segment < until {
        fill(&mut batch, *next..*next + 20, 400);
        *next += 20;
        log.write(&mut batch).unwrap();
    }
    log.sync().unwrap();
}

#[test]
fn removed_segments_are_recycled_and_their_records_never_come_back() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    let mut next = 0;
    fill_segments(&mut log, &mut next, 4);
    let used = disk.used_bytes();
    // From here on everything fits into the files there are.
    disk.set_capacity(Some(used));
    for _ in 0..30 {
        log.remove_before(log.end().segment).unwrap();
        log.prepare().unwrap();
        fill_segments(&mut log, &mut next, 1);
        assert_eq!(log.space(), Space::Ample);
    }
    let oldest = log.oldest_segment();
    assert!(oldest > 20);
    assert_eq!(disk.used_bytes(), SEGMENT * files(&disk).len() as u64);
    // Stale records of many former uses lie behind the end of the current segment.
    for loss in [Loss::Unsynced, Loss::Nothing, Loss::Torn(3)] {
        let crashed = disk.fork();
        crashed.crash(loss);
        let opened = open(&crashed);
        assert!(opened.records[0].location.segment >= oldest);
        assert_eq!(opened.recovery.torn, None);
        let first = opened.records[0].sequence;
        let sequences: Vec<_> = opened.records.iter().map(|record| record.sequence).collect();
        assert_eq!(sequences, (first..next).collect::<Vec<_>>());
    }
}

/// Many lives on recycled files, each ended by a crash that keeps any sectors it likes.
#[test]
fn torn_crashes_over_recycled_segments_keep_what_was_synced() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = MemoryDisk::new();
        let mut safe = 0;
        for life in 0..10 {
            let opened =
                try_open(&disk).unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
            let records = opened.records;
            let next = records.last().map_or(0, |record| record.sequence + 1);
            assert!(next >= safe, "seed {seed}, life {life}: {next} of {safe}");
            let first = next - records.len() as u64;
            assert!(records.iter().map(|record| record.sequence).eq(first..next));
            for record in &records {
                assert!(record.body == crate::common::body(record.sequence, 400), "seed {seed}");
            }
            let mut log = opened.log;
            let mut next = next;
            for _ in 0..random.u64(1..12) {
                let mut batch = log.config().batch();
                let count = random.u64(1..90);
                fill(&mut batch, next..next + count, 400);
                log.write(&mut batch).unwrap();
                next += count;
                match random.u8(..4) {
                    0 => log.sync().unwrap(),
                    1 => {
                        // Never so far that no record is left to check the next life by.
                        log.remove_before(log.end().segment.saturating_sub(1)).unwrap();
                        log.prepare().unwrap();
                    }
                    _ => {}
                }
            }
            safe = next - (log.written() - log.synced());
            disk.crash(Loss::Torn(random.u64(..)));
        }
    }
}

#[test]
fn more_free_files_than_wanted_are_deleted() {
    let disk = MemoryDisk::new();
    let config = LogConfig { free_segments: 1, ..config() };
    let mut log = open_with(Arc::new(disk.clone()), config).unwrap().log;
    let mut next = 0;
    fill_segments(&mut log, &mut next, 6);
    log.prepare().unwrap();
    assert_eq!(files(&disk).len(), 8);
    log.remove_before(u64::MAX).unwrap();
    assert_eq!(log.oldest_segment(), 7);
    log.prepare().unwrap();
    let names = files(&disk);
    let free: Vec<_> = names.iter().filter(|name| name.starts_with("free-")).collect();
    assert_eq!((names.len(), free.len()), (3, 1), "{names:?}");
}

#[test]
fn free_files_of_another_length_are_not_recycled() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    let mut next = 0;
    fill_segments(&mut log, &mut next, 6);
    log.remove_before(5).unwrap();
    log.prepare().unwrap();
    log.close().unwrap();
    assert!(files(&disk).iter().any(|name| name.starts_with("free-")));
    let longer = LogConfig { segment_bytes: 2 * SEGMENT, ..config() };
    let mut log = open_with(Arc::new(disk.clone()), longer).unwrap().log;
    fill_segments(&mut log, &mut next, 3);
    log.close().unwrap();
    assert!(!files(&disk).iter().any(|name| name.starts_with("free-")));
    let records = open(&disk).records;
    let first = records[0].sequence;
    assert!(records.iter().map(|record| record.sequence).eq(first..next));
}

#[test]
fn a_crash_at_any_point_of_a_removal_leaves_a_log_that_opens() {
    for seed in 0..200 {
        let disk = MemoryDisk::new();
        let mut log = open(&disk).log;
        let mut next = 0;
        fill_segments(&mut log, &mut next, 4);
        disk.fail_after(Operation::Names, seed % 9);
        let removed = log.remove_before(log.end().segment - 1);
        assert!(removed.is_ok());
        let oldest = log.oldest_segment();
        let upkeep = log.prepare();
        assert_eq!(upkeep.is_err(), seed % 9 < 8, "{upkeep:?}");
        disk.crash(Loss::Torn(seed));
        let opened = try_open(&disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let first = opened.records[0].sequence;
        let sequences: Vec<_> = opened.records.iter().map(|record| record.sequence).collect();
        assert_eq!(sequences, (first..next).collect::<Vec<_>>(), "seed {seed}");
        assert!(opened.records[0].location.segment <= oldest);
        // What was left of the removal can be done again.
        let mut log = opened.log;
        log.remove_before(oldest).unwrap();
        log.prepare().unwrap();
        drop(log);
        assert!(open(&disk).records[0].location.segment >= oldest);
    }
}

#[test]
fn a_segment_that_was_removed_without_the_log_is_missed() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    let mut next = 0;
    fill_segments(&mut log, &mut next, 3);
    log.remove_before(2).unwrap();
    log.prepare().unwrap();
    log.close().unwrap();
    assert!(try_open(&disk.fork()).is_ok());
    disk.remove(&segment(2)).unwrap();
    let error = try_open(&disk).err().unwrap();
    assert!(
        matches!(error, OpenError::Corrupt { segment: 2, what: "segment is missing", .. }),
        "{error}"
    );
}

#[test]
fn upkeep_on_another_thread_meets_a_removal_meanwhile() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    let mut next = 0;
    fill_segments(&mut log, &mut next, 3);
    let upkeep = log.begin_upkeep().unwrap();
    assert!(log.begin_upkeep().is_none());
    log.remove_before(3).unwrap();
    let done = std::thread::spawn(move || upkeep.run()).join().unwrap();
    log.finish_upkeep(done).unwrap();
    assert_eq!(log.space(), Space::Ample);
    assert!(log.wants_upkeep(), "the dead segments wait");
    log.prepare().unwrap();
    assert!(!files(&disk).contains(&segment(1)));
    assert!(!files(&disk).contains(&segment(2)));
}
