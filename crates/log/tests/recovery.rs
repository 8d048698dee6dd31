//! What comes back after an orderly end, a crash, a torn write and rotten bits.

use std::sync::Arc;

use crate::common::{
    HEADER, SEGMENT, assert_prefix, config, fill, open, segment, try_open, write, wrong,
};
use trunkline_log::{Log, Loss, MemoryDisk, OpenError, Storage, verify};

#[test]
fn an_empty_log_opens_again_and_counts_its_openings() {
    let disk = MemoryDisk::new();
    for epoch in 1..=5 {
        let opened = open(&disk);
        assert_eq!(opened.recovery.epoch, epoch);
        assert_eq!(opened.log.epoch(), epoch);
        assert_eq!(opened.recovery.torn, None);
        assert_eq!(opened.recovery.records, 0);
        drop(opened);
        // The opening itself is on disk before the log is handed out.
        disk.crash(Loss::Unsynced);
    }
}

#[test]
fn records_come_back_in_order_over_many_segments() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    let mut batch = log.config().batch();
    for round in 0..40 {
        fill(&mut batch, round * 50..(round + 1) * 50, 300);
        log.write(&mut batch).unwrap();
        assert!(batch.is_empty());
    }
    assert_eq!(log.written(), 2000);
    log.close().unwrap();

    let opened = open(&disk);
    assert_prefix(&opened.records, 2000, 300);
    assert_eq!(opened.recovery.records, 2000);
    assert!(opened.recovery.segments > 3, "{:?}", opened.recovery);
    assert!(opened.recovery.closed);
    let mut locations: Vec<_> = opened.records.iter().map(|record| record.location).collect();
    let in_order = locations.clone();
    locations.sort_unstable();
    locations.dedup();
    assert_eq!(locations, in_order, "locations increase strictly");
}

#[test]
fn one_batch_larger_than_a_segment_is_cut_between_records() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    let mut batch = log.config().batch();
    fill(&mut batch, 0..2000, 300);
    assert!(batch.bytes() as u64 > 3 * SEGMENT);
    log.write(&mut batch).unwrap();
    log.sync().unwrap();
    drop(log);
    disk.crash(Loss::Unsynced);
    assert_prefix(&open(&disk).records, 2000, 300);
}

#[test]
fn the_longest_record_fits_and_a_longer_one_is_refused() {
    let largest = usize::try_from(SEGMENT - 4096 - 64 - 24 - 7 - 4096).unwrap();
    let config = trunkline_log::LogConfig { max_body_bytes: largest, ..config() };
    let disk = MemoryDisk::new();
    let mut log = crate::common::open_with(Arc::new(disk.clone()), config.clone()).unwrap().log;
    let mut batch = config.batch();
    for sequence in 0..3 {
        batch.push(0, sequence, 0, |body| body.resize(body.len() + largest, 1)).unwrap();
    }
    let bytes = batch.bytes();
    let error = batch.push(0, 3, 0, |body| body.resize(body.len() + largest + 1, 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("record body is {} bytes, the limit is {largest}", largest + 1)
    );
    assert_eq!((batch.records(), batch.bytes()), (3, bytes));
    log.write(&mut batch).unwrap();
    log.close().unwrap();
    let opened = crate::common::open_with(Arc::new(disk), config.clone()).unwrap();
    assert_eq!(opened.records.len(), 3);
    assert!(opened.records.iter().all(|record| record.body == vec![1; largest]));

    let config = trunkline_log::LogConfig { max_body_bytes: largest + 1, ..config };
    let error = crate::common::open_with(Arc::new(MemoryDisk::new()), config).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "max_body_bytes is {}, allowed is up to {largest} with segments of 65536 bytes",
            largest + 1
        )
    );
}

#[test]
fn what_was_synced_survives_and_what_was_not_is_gone() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..10);
    log.sync().unwrap();
    write(&mut log, 10..20);
    assert_eq!((log.written(), log.synced()), (20, 10));
    disk.crash(Loss::Unsynced);
    assert_prefix(&open(&disk).records, 10, 100);
}

#[test]
fn a_dead_process_loses_nothing_that_was_written() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..10);
    disk.crash(Loss::Nothing);
    assert_prefix(&open(&disk).records, 10, 100);
}

/// Cuts the unsynced bytes at every length, on zeros and on stale bytes.
#[test]
fn every_prefix_of_a_torn_tail_is_told_from_corruption() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..5);
    log.sync().unwrap();
    let start = usize::try_from(log.end().offset).unwrap();
    let before = disk.read_file(&segment(1)).unwrap();
    let mut ends = vec![(start, 5)];
    for round in 1..4 {
        write(&mut log, round * 5..(round + 1) * 5);
        ends.push((usize::try_from(log.end().offset).unwrap(), (round + 1) * 5));
    }
    let after = disk.read_file(&segment(1)).unwrap();
    for cut in start..=ends[3].0 {
        for stale in [0, 0xa5] {
            let mut bytes = before.clone();
            bytes[start..].fill(stale);
            bytes[start..cut].copy_from_slice(&after[start..cut]);
            // A cut within trailing zeros takes nothing away.
            let whole = |end: usize| bytes[..end] == after[..end];
            let (end, count) = *ends.iter().rfind(|(end, _)| whole(*end)).unwrap();
            let cut_disk = disk.fork();
            cut_disk.write_file(&segment(1), bytes);
            let mut opened = open(&cut_disk);
            assert_prefix(&opened.records, count, 100);
            assert_eq!(opened.recovery.end.offset, end as u64);
            // Once its salt and place are there, a batch is known to have been begun.
            let torn = opened.recovery.torn.is_some();
            assert!(torn || cut < end + 32, "cut {cut}, end {end}");
            assert!(!torn || cut > end, "cut {cut}, end {end}");
            // And it goes on from there as if nothing had been behind it.
            write(&mut opened.log, count..count + 3);
            opened.log.sync().unwrap();
            cut_disk.crash(Loss::Unsynced);
            assert_prefix(&open(&cut_disk).records, count + 3, 100);
        }
    }
}

/// Many lives on one disk, each ended by a crash that keeps any sectors it likes.
#[test]
fn random_sector_tears_never_lose_a_synced_record_nor_raise_an_unsynced_one() {
    for seed in 0..100 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = MemoryDisk::new();
        let mut safe = 0;
        for life in 0..12 {
            let opened = try_open(&disk).unwrap_or_else(|error| {
                panic!("seed {seed}, life {life}: {error}");
            });
            let found = opened.records.len() as u64;
            assert!(found >= safe, "seed {seed}, life {life}: {found} of {safe} synced records");
            assert_prefix(&opened.records, found, 400);
            let mut log = opened.log;
            let mut next = found;
            safe = found;
            for _ in 0..random.u64(..8) {
                let mut batch = log.config().batch();
                let count = random.u64(1..60);
                fill(&mut batch, next..next + count, 400);
                log.write(&mut batch).unwrap();
                next += count;
                if random.bool() {
                    log.sync().unwrap();
                    safe = next;
                }
                if random.u8(..10) == 0 {
                    log.prepare().unwrap();
                }
            }
            assert!(log.synced() + found >= safe);
            safe = found + log.synced();
            disk.crash(if random.u8(..4) == 0 {
                Loss::Unsynced
            } else {
                Loss::Torn(random.u64(..))
            });
        }
    }
}

/// A torn tail whose later sectors survived must not come back when the log grows over it.
#[test]
fn records_behind_a_torn_tail_never_come_back() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..1);
    log.sync().unwrap();
    let first = log.end().offset;
    write(&mut log, 1..2);
    write(&mut log, 2..3);
    disk.crash(Loss::Nothing);
    // The first of the two batches is lost, the second is there.
    assert!(disk.flip_bit(&segment(1), first + 70, 0));
    let opened = open(&disk);
    assert_prefix(&opened.records, 1, 100);
    let torn = opened.recovery.torn.unwrap();
    assert_eq!(torn.location.offset, first);
    let mut log = opened.log;
    // Exactly what was there before, so that only the epoch and chain tell the lives apart.
    write(&mut log, 1..2);
    log.sync().unwrap();
    disk.crash(Loss::Nothing);
    assert_prefix(&open(&disk).records, 2, 100);
}

/// The same, with the new life's batch ending exactly where the old one begins.
#[test]
fn an_old_batch_that_stands_where_the_next_one_would_is_not_taken_for_it() {
    let one = |log: &mut Log, sequence: u64, bytes: usize| {
        let mut batch = log.config().batch();
        batch.push(0, sequence, 0, |body| body.resize(body.len() + bytes, 5)).unwrap();
        log.write(&mut batch).unwrap();
    };
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    let first = log.end().offset;
    one(&mut log, 0, 200);
    let second = log.end().offset;
    one(&mut log, 1, 200);
    disk.crash(Loss::Nothing);
    assert!(disk.flip_bit(&segment(1), first + 70, 0));
    let mut log = open(&disk).log;
    // The opening took a batch header's room.
    one(&mut log, 0, 200 - 64);
    assert_eq!(log.end().offset, second);
    disk.crash(Loss::Nothing);
    let opened = open(&disk);
    assert_eq!(opened.records.len(), 1);
    assert_eq!(opened.recovery.end.offset, second);
    assert_eq!(opened.recovery.torn.map(|torn| torn.location.offset), Some(second));
}

/// A small log of two segments, closed in order.
fn closed_log() -> (MemoryDisk, u64, u64) {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..3);
    log.sync().unwrap();
    let mut batch = log.config().batch();
    // Fills the first segment but for a little, so that it is sealed.
    let filler = usize::try_from(SEGMENT - log.end().offset - 4096 - 64 - 24).unwrap();
    for at in 0..5 {
        let bytes = if at == 4 { filler - 4 * 10_024 } else { 10_000 };
        batch.push(3, at, 1, |body| body.resize(body.len() + bytes, 2)).unwrap();
    }
    log.write(&mut batch).unwrap();
    assert_eq!(log.end().segment, 1);
    let seal = log.end().offset;
    write(&mut log, 3..6);
    log.sync().unwrap();
    write(&mut log, 6..9);
    let closing = log.end().offset;
    assert_eq!(log.end().segment, 2);
    log.close().unwrap();
    (disk, seal, closing)
}

#[test]
fn a_flipped_bit_anywhere_in_a_closed_log_is_named() {
    let (disk, seal, closing) = closed_log();
    let mut places: Vec<(u64, u64)> = (0..HEADER + 1200).map(|byte| (1, byte)).collect();
    places.extend((HEADER + 1200..seal).step_by(37).map(|byte| (1, byte)));
    places.extend((seal..seal + 64).map(|byte| (1, byte)));
    places.extend((0..closing).map(|byte| (2, byte)));
    for (number, byte) in places {
        let bit = u8::try_from(byte % 8).unwrap();
        let flipped = disk.fork();
        assert!(flipped.flip_bit(&segment(number), byte, bit));
        match wrong(&flipped) {
            Some(OpenError::Corrupt { segment: found, offset, what, .. }) => {
                assert_eq!(found, number, "byte {byte}: {what}");
                let header = byte < HEADER;
                assert!(
                    offset <= byte && (header == (offset < HEADER)),
                    "{byte} as {offset}: {what}"
                );
            }
            // A version number that was flipped upwards, but then the checksum does not fit.
            other => panic!("segment {number}, byte {byte}: {other:?}"),
        }
    }
}

#[test]
fn the_damaged_record_itself_is_named() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..20);
    log.close().unwrap();
    let records = open(&disk.fork()).records;
    let damaged = &records[11];
    let byte = damaged.location.offset + 26;
    disk.flip_bit(&segment(1), byte, 3);
    let error = wrong(&disk).unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "log is corrupt: memory/{} (segment 1), offset {}: record's checksum does not match",
            segment(1),
            damaged.location.offset
        )
    );
}

#[test]
fn a_flip_in_the_closing_batch_costs_nothing() {
    let (disk, _, closing) = closed_log();
    for byte in closing..closing + 64 {
        let flipped = disk.fork();
        flipped.flip_bit(&segment(2), byte, 0);
        let opened = open(&flipped);
        assert_eq!(opened.recovery.records, 14);
        assert!(!opened.recovery.closed);
    }
}

#[test]
fn after_a_crash_a_flip_below_what_was_known_synced_is_corruption() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    let mut ends = vec![log.end().offset];
    for round in 0..4 {
        write(&mut log, round * 3..(round + 1) * 3);
        log.sync().unwrap();
        ends.push(log.end().offset);
    }
    disk.crash(Loss::Unsynced);
    for byte in HEADER..ends[4] {
        let flipped = disk.fork();
        flipped.flip_bit(&segment(1), byte, 5);
        if byte < ends[3] {
            let error = wrong(&flipped).expect("the flip is seen");
            assert!(matches!(error, OpenError::Corrupt { segment: 1, .. }), "{byte}: {error}");
        } else {
            // Nothing later vouches for the last batch: it may have been torn.
            assert_prefix(&open(&flipped).records, 9, 100);
        }
    }
}

#[test]
fn a_missing_segment_is_corruption() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    let mut batch = log.config().batch();
    fill(&mut batch, 0..2000, 300);
    log.write(&mut batch).unwrap();
    log.prepare().unwrap();
    let last = log.end().segment;
    assert!(last >= 4);
    log.close().unwrap();
    for missing in 1..=last {
        let holed = disk.fork();
        holed.remove(&segment(missing)).unwrap();
        if missing == last {
            // Not the spare behind it either: then the sealed one before it is the last.
            holed.remove(&segment(last + 1)).unwrap();
        }
        match try_open(&holed).err() {
            Some(OpenError::Corrupt { segment, what: "segment is missing", .. }) => {
                assert_eq!(segment, missing);
            }
            other => panic!("without segment {missing}: {other:?}"),
        }
    }
}

#[test]
fn a_cut_or_newer_segment_is_refused() {
    let (disk, ..) = closed_log();
    let bytes = disk.read_file(&segment(2)).unwrap();
    for length in [0, 100, 4096, bytes.len() - 1] {
        let cut = disk.fork();
        cut.write_file(&segment(2), bytes[..length].to_vec());
        let error = wrong(&cut).unwrap();
        assert!(matches!(error, OpenError::Corrupt { segment: 2, .. }), "{length}: {error}");
    }
    let mut newer = bytes;
    newer[16] = 6;
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &newer[16..4096]);
    newer[8..16].copy_from_slice(&sum.to_le_bytes());
    disk.write_file(&segment(2), newer);
    let error = try_open(&disk).err().unwrap();
    assert!(matches!(error, OpenError::NewerFormat { found: 6, supported: 5, .. }), "{error}");
}

#[test]
fn verify_reads_everything_and_changes_nothing() {
    let (disk, ..) = closed_log();
    let before: Vec<_> = (1..=2).map(|number| disk.read_file(&segment(number))).collect();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let mut seen = 0;
    let recovery = verify(&storage, |_| {
        seen += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!((seen, recovery.records, recovery.epoch, recovery.closed), (14, 14, 1, true));
    let after: Vec<_> = (1..=2).map(|number| disk.read_file(&segment(number))).collect();
    assert!(before == after);
    disk.flip_bit(&segment(1), HEADER + 100, 1);
    assert!(matches!(verify(&storage, |_| Ok(())), Err(OpenError::Corrupt { segment: 1, .. })));
}

#[test]
fn a_refusing_callback_stops_recovery() {
    let (disk, ..) = closed_log();
    let error = Log::open(Arc::new(disk), config(), |record| match record.sequence {
        2 => Err("no such thing".into()),
        _ => Ok(()),
    })
    .err()
    .unwrap();
    assert!(error.to_string().ends_with("cannot be used: no such thing"), "{error}");
}

#[test]
fn segments_may_change_their_length_between_runs() {
    let disk = MemoryDisk::new();
    let mut next = 0;
    for segment_bytes in [SEGMENT, 4 * SEGMENT, 2 * SEGMENT, SEGMENT] {
        let config = trunkline_log::LogConfig { segment_bytes, ..config() };
        let opened = crate::common::open_with(Arc::new(disk.clone()), config).unwrap();
        assert_prefix(&opened.records, next, 300);
        let mut log = opened.log;
        let mut batch = log.config().batch();
        fill(&mut batch, next..next + 1500, 300);
        next += 1500;
        log.write(&mut batch).unwrap();
        log.prepare().unwrap();
        log.close().unwrap();
    }
    assert_prefix(&open(&disk).records, next, 300);
}
