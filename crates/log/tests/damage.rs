//! Damaged batches and headers: what is left out, what is named, what is copied, and that the log
//! goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::common::{
    HEADER, Kept, Opened, SEGMENT, body, config, fill, open, segment, try_open, write,
};
use trunkline_log::{Location, Log, Loss, MemoryDisk, Missing, Storage, inspect};

/// A log of several segments, closed in order: 40 batches of 20 records.
fn closed_log() -> (MemoryDisk, Vec<Kept>) {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    for round in 0..40 {
        let mut batch = log.config().batch();
        fill(&mut batch, round * 20..(round + 1) * 20, 400);
        log.write(&mut batch).unwrap();
        log.sync().unwrap();
    }
    assert!(log.end().segment >= 3);
    log.close().unwrap();
    let records = open(&disk.fork()).records;
    assert_eq!(records.len(), 800);
    (disk, records)
}

/// The sequences of the batch that a record stands in: those that one write call put down.
fn batch_of(sequence: u64) -> std::ops::Range<u64> {
    let first = sequence / 20 * 20;
    first..first + 20
}

fn sequences(records: &[Kept]) -> BTreeSet<u64> {
    records.iter().map(|record| record.sequence).collect()
}

#[track_caller]
fn assert_whole(records: &[Kept]) {
    for record in records {
        assert_eq!(record.body, body(record.sequence, 400), "record {}", record.sequence);
    }
}

#[test]
fn a_damaged_batch_costs_its_own_records_and_no_others() {
    let (disk, records) = closed_log();
    for victim in records.iter().step_by(37) {
        let Location { segment: number, offset } = victim.location;
        let flipped = disk.fork();
        assert!(flipped.flip_bit(&segment(number), offset + 26, 3));
        let Opened { records: found, recovery, .. } = open(&flipped);
        assert_whole(&found);
        let all: BTreeSet<u64> = (0..800).collect();
        let lost: BTreeSet<u64> = all.difference(&sequences(&found)).copied().collect();
        assert!(lost.contains(&victim.sequence));
        // A write that was cut between two segments is two batches.
        assert!(lost.iter().all(|lost| batch_of(victim.sequence).contains(lost)), "{lost:?}");
        assert_eq!(recovery.damage.len(), 1);
        let damage = &recovery.damage[0];
        assert_eq!(damage.location.segment, number);
        assert!(damage.location.offset < offset);
        assert!(offset < damage.location.offset + damage.bytes);
        assert_eq!(damage.what, "record's checksum does not match");
        assert_eq!(recovery.missing_at_end > 0, lost.contains(&799));
        // The three partitions take turns, so that the gaps of each are told apart. What the last
        // batch held, no record behind tells.
        let named: u64 = damage.missing.iter().map(|gap| (gap.last - gap.first) / 3 + 1).sum();
        assert!(named >= lost.len() as u64 || lost.contains(&799), "{:?}", damage.missing);
        let told: Vec<_> = found.iter().filter(|record| record.after_damage).collect();
        let behind = found.iter().filter(|record| record.sequence > victim.sequence).count();
        assert_eq!(told.len(), behind.min(3), "the first record of each partition says so");
    }
}

#[test]
fn damage_is_copied_before_anything_is_written_and_once_only() {
    let (disk, records) = closed_log();
    let Location { segment: number, offset } = records[100].location;
    disk.flip_bit(&segment(number), offset + 26, 3);
    let bytes = disk.read_file(&segment(number)).unwrap();
    let before = disk.syncs();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let found = inspect(&storage, |_| Ok(())).unwrap();
    assert_eq!((found.damage.len(), found.damage[0].copy.as_ref()), (1, None));
    assert_eq!(disk.syncs(), before, "looking writes nothing");

    let mut copies = BTreeSet::new();
    for _ in 0..3 {
        let opened = open(&disk);
        let damage = &opened.recovery.damage[0];
        let path = damage.copy.clone().unwrap();
        let copy = disk.read_quarantined(path.file_name().unwrap().to_str().unwrap()).unwrap();
        let start = usize::try_from(damage.location.offset).unwrap();
        let range = start..start + usize::try_from(damage.bytes).unwrap();
        assert!(copy == bytes[range.clone()], "the copy is of what was found");
        assert!(disk.read_file(&segment(number)).unwrap()[range] == copy, "nor was it touched");
        assert_eq!(opened.log.figures().damaged, 1);
        copies.insert(path);
        opened.log.close().unwrap();
    }
    assert_eq!(copies.len(), 1);
    let found = inspect(&storage, |_| Ok(())).unwrap();
    assert_eq!(found.damage[0].copy.as_ref(), copies.first(), "the copy is known again");
}

#[test]
fn a_copy_that_cannot_be_made_stops_the_open() {
    let (disk, records) = closed_log();
    let Location { segment: number, offset } = records[100].location;
    disk.flip_bit(&segment(number), offset + 26, 3);
    disk.set_capacity(Some(disk.used_bytes()));
    let error = try_open(&disk).err().unwrap().to_string();
    assert!(error.starts_with("cannot put a copy aside of damaged bytes of memory/"), "{error}");
    disk.set_capacity(None);
    open(&disk);
}

#[test]
fn the_missing_sequences_of_each_partition_are_named() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    for round in 0..3 {
        write(&mut log, round * 6..round * 6 + 6);
        log.sync().unwrap();
    }
    log.close().unwrap();
    let victim = open(&disk.fork()).records[7].location;
    disk.flip_bit(&segment(1), victim.offset + 30, 0);
    let recovery = open(&disk).recovery;
    let missing = |partition, first, last| Missing { partition, first, last };
    // From what a partition had last to what it has next; 7 and 8 belong to others.
    let expected = [missing(0, 4, 11), missing(1, 5, 12), missing(2, 6, 13)];
    assert_eq!(recovery.damage[0].missing, expected);
    assert_eq!(recovery.missing_at_end, 0);
}

#[test]
fn what_the_first_batch_of_a_log_held_is_named_by_its_own_headers() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    // Older segments were given up.
    for round in 0..3 {
        write(&mut log, 1000 + round * 6..1000 + round * 6 + 6);
        log.sync().unwrap();
    }
    log.close().unwrap();
    let records = open(&disk.fork()).records;
    let all = [(0, 1002, 1007), (1, 1000, 1005), (2, 1001, 1006)];
    // Parts of a record's frame: its body, sequence, partition and length; and the batch's header.
    for (place, exact) in [(30, true), (8, false), (16, false), (4, false), (-40, false)] {
        for victim in &records[..6] {
            let flipped = disk.fork();
            let offset = victim.location.offset.saturating_add_signed(place);
            assert!(flipped.flip_bit(&segment(1), offset, 7));
            let recovery = open(&flipped).recovery;
            let missing = &recovery.damage[0].missing;
            assert_eq!(recovery.records, 12, "{place}");
            for (partition, first, last) in all {
                let found = missing.iter().find(|gap| gap.partition == partition).unwrap();
                assert!(found.first <= first && found.last >= last, "{place}: {missing:?}");
                // No more than fit into the bytes.
                assert!(!exact || found.first == first, "{place}: {missing:?}");
                assert!(found.first > 900, "{place}: {missing:?}");
            }
        }
    }
}

#[test]
fn a_damaged_header_costs_no_record_while_the_first_batch_is_whole() {
    let (disk, _) = closed_log();
    let last = open(&disk.fork()).recovery.end.segment;
    for number in 1..=last {
        for byte in [0, 9, 17, 25, 33, 41, 100, 4095] {
            let flipped = disk.fork();
            assert!(flipped.flip_bit(&segment(number), byte, 2));
            let mut opened = open(&flipped);
            assert_eq!(opened.records.len(), 800, "segment {number}, byte {byte}");
            assert_whole(&opened.records);
            let damage = &opened.recovery.damage[0];
            assert_eq!((damage.location.offset, damage.bytes), (0, HEADER));
            // And it goes on, in another segment if need be.
            write(&mut opened.log, 1_000_000..1_000_010);
            opened.log.sync().unwrap();
            assert!(opened.log.end().segment > number || number < last);
            flipped.crash(Loss::Unsynced);
            assert_eq!(open(&flipped).records.len(), 810, "segment {number}, byte {byte}");
        }
    }
}

#[test]
fn a_segment_whose_start_is_gone_is_left_out_whole() {
    let (disk, records) = closed_log();
    let last = records.last().unwrap().location.segment;
    for number in 1..=last {
        let ruined = disk.fork();
        let mut bytes = ruined.read_file(&segment(number)).unwrap();
        bytes[..5000].fill(0xee);
        ruined.write_file(&segment(number), bytes.clone());
        let mut opened = open(&ruined);
        let kept: BTreeSet<u64> = records
            .iter()
            .filter(|record| record.location.segment != number)
            .map(|record| record.sequence)
            .collect();
        assert_eq!(sequences(&opened.records), kept);
        let damage = &opened.recovery.damage[0];
        assert_eq!((damage.location.offset, damage.bytes), (0, SEGMENT));
        let name = damage.copy.as_ref().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(ruined.read_quarantined(&name).unwrap() == bytes);
        let next = 800 + opened.recovery.missing_at_end;
        write(&mut opened.log, next..next + 10);
        opened.log.close().unwrap();
        assert_eq!(open(&ruined).records.len(), kept.len() + 10);
    }
}

#[test]
fn a_cut_segment_costs_what_was_cut_off() {
    let (disk, records) = closed_log();
    let second: Vec<_> = records.iter().filter(|record| record.location.segment == 2).collect();
    let middle = second[second.len() / 2];
    let bytes = disk.read_file(&segment(2)).unwrap();
    let cut = usize::try_from(middle.location.offset).unwrap();
    disk.write_file(&segment(2), bytes[..cut].to_vec());
    let opened = open(&disk);
    assert_whole(&opened.records);
    let found = sequences(&opened.records);
    let lost: Vec<_> = (0..800).filter(|sequence| !found.contains(sequence)).collect();
    assert!(lost.contains(&middle.sequence) && !lost.contains(&second[0].sequence));
    let third = records.iter().find(|record| record.location.segment == 3).unwrap();
    assert!(lost.iter().all(|sequence| *sequence < third.sequence), "{lost:?}");
    assert_eq!(opened.recovery.damage.len(), 2, "its header no longer fits, and its end is gone");
}

#[test]
fn a_lost_seal_costs_nothing() {
    let (disk, records) = closed_log();
    let seal = records.iter().rfind(|record| record.location.segment == 1).unwrap();
    let frame = (24 + seal.body.len() as u64).next_multiple_of(8);
    let place = seal.location.offset + frame;
    for byte in place..place + 64 {
        let flipped = disk.fork();
        flipped.flip_bit(&segment(1), byte, 1);
        let opened = open(&flipped);
        assert_eq!(opened.records.len(), 800, "byte {byte}");
        assert_eq!(opened.recovery.damage[0].location, Location { segment: 1, offset: place });
    }
}

#[test]
fn damage_at_the_end_makes_room_for_what_may_have_been_there() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..10);
    log.sync().unwrap();
    let victim = log.end();
    write(&mut log, 10..20);
    log.sync().unwrap();
    let epoch = log.epoch();
    // Only the mark of the orderly end vouches for the batch.
    log.close().unwrap();
    assert!(disk.flip_bit(&segment(1), victim.offset + 70, 0));
    let opened = open(&disk);
    assert_eq!(opened.records.len(), 10);
    assert!(opened.recovery.missing_at_end >= 10, "{}", opened.recovery.missing_at_end);
    assert!(opened.log.epoch() > epoch);
}

#[test]
fn an_opening_that_was_damaged_is_never_given_again() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..10);
    log.close().unwrap();
    let mut opened = open(&disk);
    let start = opened.recovery.end.offset;
    let epoch = opened.log.epoch();
    write(&mut opened.log, 10..20);
    opened.log.sync().unwrap();
    let end = opened.log.end().offset;
    write(&mut opened.log, 20..21);
    disk.crash(Loss::Nothing);
    // Everything of the second life is gone but a batch that vouches for it.
    let mut bytes = disk.read_file(&segment(1)).unwrap();
    bytes[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].fill(0x11);
    disk.write_file(&segment(1), bytes);
    let opened = open(&disk);
    assert_eq!(sequences(&opened.records), (0..10).chain([20]).collect());
    assert!(opened.log.epoch() > epoch);
}

/// Bytes behind a torn tail must not come back to life through a hole before them.
#[test]
fn an_old_life_does_not_come_back_through_a_hole() {
    for flipped in 0..6 {
        let disk = MemoryDisk::new();
        let mut log = open(&disk).log;
        write(&mut log, 0..5);
        log.sync().unwrap();
        let torn = log.end().offset;
        for round in 1..8 {
            write(&mut log, round * 5..round * 5 + 5);
        }
        disk.crash(Loss::Nothing);
        // The first unflushed batch is torn; those behind it are whole and given up.
        assert!(disk.flip_bit(&segment(1), torn + 70, 0));
        let mut opened = open(&disk);
        assert_eq!(opened.records.len(), 5);
        let mut ends = vec![opened.log.end().offset];
        for round in 1..4 {
            let mut batch = opened.log.config().batch();
            // Other records than those of the old life, of the same sequences.
            fill(&mut batch, round * 5..round * 5 + 5, 50);
            opened.log.write(&mut batch).unwrap();
            opened.log.sync().unwrap();
            ends.push(opened.log.end().offset);
        }
        opened.log.close().unwrap();
        let place = if flipped == 0 { torn + 8 } else { ends[(flipped - 1).min(2)] + 70 };
        disk.flip_bit(&segment(1), place, 1);
        let found = open(&disk).records;
        for record in &found {
            let longest = if record.sequence < 5 { 100 } else { 50 };
            assert_eq!(record.body, body(record.sequence, longest), "record {}", record.sequence);
        }
        assert!(found.len() >= 15, "{flipped}: {}", found.len());
    }
}

#[test]
fn a_damaged_spare_is_put_aside_and_its_file_used_again() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).log;
    write(&mut log, 0..10);
    log.prepare().unwrap();
    log.close().unwrap();
    disk.flip_bit(&segment(2), 50, 0);
    let mut opened = open(&disk);
    assert_eq!(opened.records.len(), 10);
    assert_eq!(opened.recovery.damage.len(), 1);
    assert_eq!(opened.recovery.missing_at_end, 0);
    opened.log.prepare().unwrap();
    let mut batch = opened.log.config().batch();
    fill(&mut batch, 10..500, 400);
    opened.log.write(&mut batch).unwrap();
    opened.log.close().unwrap();
    let opened = open(&disk);
    assert_eq!(opened.records.len(), 500);
    assert!(opened.recovery.damage.is_empty());
}

/// Many lives of crashes and rot: whatever is served was written, and nothing that was flushed is
/// missing without being named.
#[test]
fn random_rot_and_crashes_serve_only_what_was_written_and_name_what_is_missing() {
    for seed in 0..150 {
        let mut random = fastrand::Rng::with_seed(seed);
        let disk = MemoryDisk::new();
        let (mut next, mut rotten) = (1, false);
        // What was flushed and has not been named as missing.
        let mut safe: BTreeSet<u64> = BTreeSet::new();
        let mut history: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for life in 0..8 {
            let opened =
                try_open(&disk).unwrap_or_else(|error| panic!("seed {seed}, life {life}: {error}"));
            let Opened { mut log, recovery, records } = opened;
            for record in &records {
                let written = history.get(&record.sequence);
                assert!(written == Some(&record.body), "seed {seed}, life {life}");
            }
            let found = sequences(&records);
            let last = found.last().copied().unwrap_or(0);
            let named: BTreeSet<u64> = recovery
                .damage
                .iter()
                .flat_map(|damage| &damage.missing)
                .flat_map(|gap| gap.first..=gap.last)
                .chain(last + 1..=last + recovery.missing_at_end)
                .collect();
            for lost in safe.difference(&found) {
                // Before the first record of a partition nobody knows where it began.
                // Nor is anything to vouch for the last that was flushed.
                let known = named.contains(lost)
                    || *lost < *found.first().unwrap_or(&u64::MAX)
                    || (rotten && *lost > last);
                assert!(known, "seed {seed}, life {life}: {lost} is missing and not named");
            }
            safe = found.clone();
            next = next.max(last + recovery.missing_at_end + 1).max(last + 1);
            history.retain(|sequence, _| found.contains(sequence));
            let mut written = Vec::new();
            for _ in 0..random.u64(1..10) {
                let mut batch = log.config().batch();
                let first = next;
                next += random.u64(1..40);
                for sequence in first..next {
                    let bytes: Vec<u8> = (0..random.usize(..500)).map(|_| random.u8(..)).collect();
                    batch.push(0, sequence, 9, |body| body.extend(&bytes)).unwrap();
                    history.insert(sequence, bytes);
                    written.push(sequence);
                }
                log.write(&mut batch).unwrap();
                if random.bool() {
                    log.sync().unwrap();
                    safe.extend(written.drain(..));
                }
            }
            if random.u8(..4) == 0 {
                log.close().unwrap();
                safe.extend(written.drain(..));
            }
            disk.crash(Loss::Torn(random.u64(..)));
            rotten = random.bool();
            if rotten {
                rot(&disk, &mut random);
            }
        }
    }
}

/// Damages a few bytes or sectors somewhere below the end of a segment in use.
fn rot(disk: &MemoryDisk, random: &mut fastrand::Rng) {
    let files: Vec<_> = disk.list().unwrap();
    let file = &files[random.usize(..files.len())];
    let Some(mut bytes) = disk.read_file(&file.name) else { return };
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    let start = random.usize(..used);
    let length = if random.bool() { 1 } else { random.usize(1..3000) };
    let end = (start + length).min(bytes.len());
    for byte in &mut bytes[start..end] {
        *byte ^= random.u8(1..);
    }
    disk.write_file(&file.name, bytes);
}

/// Whole files cut, filled, swapped and copied over each other.
#[test]
fn whatever_the_files_hold_only_what_was_written_is_served() {
    let (disk, _) = closed_log();
    let count = disk.list().unwrap().len() as u64;
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let ruined = disk.fork();
        for _ in 0..random.u8(1..4) {
            let name = segment(random.u64(1..=count));
            let Some(mut bytes) = ruined.read_file(&name).filter(|bytes| bytes.len() > 8) else {
                continue;
            };
            match random.u8(..5) {
                0 => bytes.truncate(random.usize(..=bytes.len())),
                1 => {
                    let start = random.usize(..bytes.len());
                    let end = random.usize(start..=bytes.len());
                    bytes[start..end].fill(random.u8(..));
                }
                2 => bytes = ruined.read_file(&segment(random.u64(1..=count))).unwrap(),
                3 => {
                    let start = random.usize(..bytes.len() / 8) * 8;
                    let length = random.usize(..bytes.len() - start);
                    let to = random.usize(..(bytes.len() - length) / 8) * 8;
                    bytes.copy_within(start..start + length, to);
                }
                _ => bytes.clear(),
            }
            ruined.write_file(&name, bytes);
        }
        // What contradicts itself is refused; nothing is ever made up.
        if let Ok(mut opened) = try_open(&ruined) {
            assert_whole(&opened.records);
            let next = 800 + opened.recovery.missing_at_end;
            write(&mut opened.log, next..next + 10);
            opened.log.close().unwrap();
            let found = open(&ruined).records;
            assert_eq!(found.len(), opened.records.len() + 10, "seed {seed}");
        }
    }
}

#[test]
fn sequences_and_bytes_of_segments_are_known_after_an_open() {
    let (disk, records) = closed_log();
    let log: Log = open(&disk).log;
    let table = log.segments();
    assert_eq!(table.len() as u64, log.end().segment);
    for info in table {
        assert_eq!(info.bytes, SEGMENT);
        for partition in 0..3 {
            let first = records.iter().find(|record| {
                record.location.segment == info.number && record.partition == partition
            });
            assert_eq!(info.first_of(partition), first.map(|record| record.sequence));
        }
        assert_eq!(info.first_of(3), None);
    }
    let frames: u64 = table.iter().map(|info| info.fresh_bytes + info.carried_bytes).sum();
    assert_eq!(
        frames,
        records.iter().map(|r| (24 + r.body.len() as u64).next_multiple_of(8)).sum()
    );
    assert!(config().segment_bytes == SEGMENT);
}
