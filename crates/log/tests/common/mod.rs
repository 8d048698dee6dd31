//! Words that the log's tests share: small segments, numbered records, a disk that can be forked.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::sync::Arc;

use trunkline_log::{Batch, Location, Log, LogConfig, MemoryDisk, OpenError, Recovery, Storage};

/// Where batches begin in a segment.
pub(crate) const HEADER: u64 = 4096;
/// The smallest segment.
pub(crate) const SEGMENT: u64 = 64 << 10;

/// Small segments and repeatable salts.
pub(crate) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: SEGMENT,
        max_body_bytes: 32 << 10,
        reserve_segments: 0,
        salt: 7,
        ..LogConfig::default()
    }
}

/// A record as the tests remember it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Kept {
    pub(crate) partition: u16,
    pub(crate) sequence: u64,
    pub(crate) tag: u8,
    pub(crate) carried: bool,
    pub(crate) after_damage: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) location: Location,
}

pub(crate) struct Opened {
    pub(crate) log: Log,
    pub(crate) recovery: Recovery,
    pub(crate) records: Vec<Kept>,
}

pub(crate) fn open_with(storage: Arc<dyn Storage>, config: LogConfig) -> Result<Opened, OpenError> {
    let mut records = Vec::new();
    let (log, recovery) = Log::open(storage, config, |record| {
        records.push(Kept {
            partition: record.partition,
            sequence: record.sequence,
            tag: record.tag,
            carried: record.carried,
            after_damage: record.after_damage,
            body: record.body.to_vec(),
            location: record.location,
        });
        Ok(())
    })?;
    Ok(Opened { log, recovery, records })
}

pub(crate) fn try_open(disk: &MemoryDisk) -> Result<Opened, OpenError> {
    open_with(Arc::new(disk.clone()), config())
}

/// What a strict reading finds wrong.
pub(crate) fn wrong(disk: &MemoryDisk) -> Option<OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    trunkline_log::verify(&storage, |_| Ok(())).err()
}

pub(crate) fn open(disk: &MemoryDisk) -> Opened {
    try_open(disk).expect("the log opens")
}

/// The body of the record with this sequence: distinct, and of any length up to `longest`.
pub(crate) fn body(sequence: u64, longest: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(sequence);
    let length = random.usize(..=longest);
    let mut bytes = sequence.to_le_bytes().to_vec();
    bytes.extend((0..length).map(|_| random.u8(..)));
    bytes
}

/// Adds records `from..to` of partition `sequence % 3`.
pub(crate) fn fill(batch: &mut Batch, sequences: std::ops::Range<u64>, longest: usize) {
    for sequence in sequences {
        let partition = u16::try_from(sequence % 3).unwrap();
        batch.push(partition, sequence, 9, |bytes| bytes.extend(body(sequence, longest))).unwrap();
    }
}

/// Writes records as one batch.
pub(crate) fn write(log: &mut Log, sequences: std::ops::Range<u64>) {
    let mut batch = log.config().batch();
    fill(&mut batch, sequences, 100);
    log.write(&mut batch).unwrap();
}

/// Checks that exactly the records `0..count` came back, whole and in order.
#[track_caller]
pub(crate) fn assert_prefix(records: &[Kept], count: u64, longest: usize) {
    let sequences: Vec<u64> = records.iter().map(|record| record.sequence).collect();
    assert_eq!(sequences, (0..count).collect::<Vec<_>>());
    for record in records {
        assert_eq!(record.partition, u16::try_from(record.sequence % 3).unwrap());
        assert_eq!(record.tag, 9);
        assert_eq!(record.body, body(record.sequence, longest), "record {}", record.sequence);
    }
}

/// The file of a segment.
pub(crate) fn segment(number: u64) -> String {
    format!("{number:020}.log")
}
