//! Reading records again by their sequence: from closed segments and the open one, across removal,
//! recycling, damage and restarts.

use crate::common::{HEADER, SEGMENT, config, open_with};
use std::sync::Arc;
use trunkline_log::{Log, MemoryDisk, ReadError, Reader, Storage, segment_name};

/// The body of a record.
fn body(sequence: u64) -> Vec<u8> {
    let length = 10 + sequence * 7919 % 900;
    (0..length).map(|at| ((sequence + at) % 256).try_into().unwrap()).collect()
}

/// Writes records, `many` to a batch, and flushes nothing.
fn write(log: &mut Log, sequences: std::ops::RangeInclusive<u64>, many: usize) {
    let all: Vec<u64> = sequences.collect();
    for some in all.chunks(many) {
        let mut batch = log.config().batch();
        for &sequence in some {
            let write = |bytes: &mut Vec<u8>| bytes.extend(body(sequence));
            batch.push(3, sequence, 9, write).unwrap();
            // Another partition's records are passed over.
            batch.push(4, sequence, 1, |bytes| bytes.push(0)).unwrap();
        }
        if log.wants_upkeep() {
            log.prepare().unwrap();
        }
        log.write(&mut batch).unwrap();
    }
}

/// Reads records; those that cannot be had are left out, and why is told.
fn read(reader: &Reader, sequences: &[u64]) -> (Vec<u64>, Vec<ReadError>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    reader.read(sequences, |sequence, found| match found {
        Ok(found) => {
            assert_eq!(found, (9, &body(sequence)[..]), "record {sequence}");
            good.push(sequence);
        }
        Err(error) => bad.push(error),
    });
    (good, bad)
}

fn disk_and_log() -> (MemoryDisk, Log, Reader) {
    let disk = MemoryDisk::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let reader = Reader::new(Arc::clone(&storage), 3);
    let log = open_with(storage, config()).unwrap().log;
    (disk, log, reader)
}

#[test]
fn every_record_is_read_in_any_order_while_the_log_goes_on() {
    let (_disk, mut log, reader) = disk_and_log();
    let mut random = fastrand::Rng::with_seed(1);
    let mut last = 0;
    for many in [1, 3, 50, 7, 1] {
        let next = last + 200;
        write(&mut log, last + 1..=next, many);
        last = next;
        let all: Vec<u64> = (1..=last).collect();
        assert_eq!(read(&reader, &all).0, all);
        let some: Vec<u64> = (0..300).map(|_| random.u64(1..=last)).collect();
        assert_eq!(read(&reader, &some).0, some);
    }
    assert!(log.segments().len() > 3);
    let (none, why) = read(&reader, &[last + 1, 0]);
    assert!(none.is_empty() && why.len() == 2, "{why:?}");
}

#[test]
fn what_was_given_up_is_missed_and_recycled_files_tell_nothing_of_it() {
    let (disk, mut log, reader) = disk_and_log();
    write(&mut log, 1..=600, 5);
    let (all, _) = read(&reader, &(1..=600).collect::<Vec<_>>());
    assert_eq!(all.len(), 600);
    let kept = log.segments()[2].first_of(3).unwrap();
    let number = log.segments()[2].number;
    log.remove_before(number).unwrap();
    log.prepare().unwrap();
    write(&mut log, 601..=1200, 5);
    let all: Vec<u64> = (kept..=1200).collect();
    assert_eq!(read(&reader, &all).0, all);
    let again = Reader::new(Arc::new(disk.clone()), 3);
    for reader in [&reader, &again] {
        let (_, bad) = read(reader, &[kept - 1, 1]);
        assert_eq!(bad.len(), 2, "{bad:?}");
    }
}

#[test]
fn only_what_is_damaged_is_missed() {
    let (disk, mut log, _) = disk_and_log();
    write(&mut log, 1..=400, 4);
    log.sync().unwrap();
    let before: Vec<u64> = (1..=400).collect();
    let mut random = fastrand::Rng::with_seed(2);
    for segment in 1..=2 {
        for _ in 0..40 {
            let copy = disk.fork();
            // The header of a segment can be made up for by its batches.
            let at = if random.u8(..) < 40 { random.u64(..HEADER) } else { random.u64(..SEGMENT) };
            assert!(copy.flip_bit(&segment_name(segment), at, random.u8(..8)));
            let reader = Reader::new(Arc::new(copy), 3);
            let (good, bad) = read(&reader, &before);
            assert_eq!(good.len() + bad.len(), 400);
            assert!(bad.len() <= 4, "a batch has four: {at} {bad:?}");
        }
    }
}

#[test]
fn records_are_read_after_a_restart_that_gave_up_a_torn_end() {
    let (disk, mut log, _) = disk_and_log();
    write(&mut log, 1..=100, 4);
    log.sync().unwrap();
    write(&mut log, 101..=140, 4);
    drop(log);
    disk.crash(trunkline_log::Loss::Torn(5));
    let opened = open_with(Arc::new(disk.clone()), config()).unwrap();
    let last = opened.records.last().unwrap().sequence;
    let mut log = opened.log;
    let reader = Reader::new(Arc::new(disk.clone()), 3);
    write(&mut log, last + 1..=last + 300, 2);
    let all: Vec<u64> = (1..=last + 300).collect();
    assert_eq!(read(&reader, &all).0, all);
}
