//! Damaged and forged logs: opening one never panics, serves no record of a damaged frame or
//! batch, and what was opened goes on as a log that keeps what it served.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;
use std::sync::Arc;
use trunkline_fuzz::image;
use trunkline_log::{Log, LogConfig, MemoryDisk, OpenError, Record, Recovery, Storage, inspect};

/// What is written to a log that could be opened.
const NEWS: &[u8] = b"written behind what was recovered";

fuzz_target!(|data: &[u8]| {
    let Some(files) = image::files(data) else { return };
    let disk = MemoryDisk::new();
    for (number, file) in (1..).zip(&files) {
        disk.write_file(&format!("{number:020}.log"), file.clone());
    }
    let read = read(&disk, &files);
    let mut again = Vec::new();
    let opened = open(&disk, &mut again);
    match (read, opened) {
        (Ok((records, recovery)), Ok((log, opened))) => {
            assert_eq!(again, records, "opening serves what reading serves");
            assert_eq!(opened.records, records.len() as u64);
            assert_eq!(opened.torn, recovery.torn);
            assert_eq!(opened.damage.len(), recovery.damage.len());
            goes_on(&disk, log, records);
        }
        // What is left of a segment may be too little to write down that it was opened.
        (Ok(_), Err(error)) => assert!(!is_corrupt(&error), "only reading may find it: {error}"),
        (Err(error), opened) => {
            assert!(opened.is_err(), "what cannot be read cannot be opened: {error}");
        }
    }
});

type Kept = (u16, u64, u8, Vec<u8>);

fn keep(record: &Record<'_>) -> Kept {
    (record.partition, record.sequence, record.tag, record.body.to_vec())
}

fn is_corrupt(error: &OpenError) -> bool {
    matches!(error, OpenError::Corrupt { .. })
}

fn config() -> LogConfig {
    LogConfig { segment_bytes: 64 << 10, max_body_bytes: 1 << 10, salt: 7, ..LogConfig::default() }
}

/// Reads the log and holds every record against the bytes of the files.
fn read(disk: &MemoryDisk, files: &[Vec<u8>]) -> Result<(Vec<Kept>, Recovery), OpenError> {
    let mut records = Vec::new();
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let recovery = inspect(&storage, |record| {
        let file = &files[usize::try_from(record.location.segment - 1)?];
        let at = usize::try_from(record.location.offset)?;
        let sound = image::sound_body(file, at);
        assert_eq!(sound, Some(record.body), "record at {:?}", record.location);
        assert!(image::in_sound_batch(file, at), "record at {:?}", record.location);
        records.push(keep(&record));
        Ok(())
    })?;
    assert_eq!(recovery.records, records.len() as u64);
    Ok((records, recovery))
}

fn open(disk: &MemoryDisk, records: &mut Vec<Kept>) -> Result<(Log, Recovery), OpenError> {
    records.clear();
    Log::open(Arc::new(disk.clone()), config(), |record| {
        records.push(keep(&record));
        Ok(())
    })
}

/// Writes one more record, and finds it and everything before it when the log is opened again.
fn goes_on(disk: &MemoryDisk, mut log: Log, mut records: Vec<Kept>) {
    // The last epoch of all cannot be followed by another.
    let last_epoch = log.epoch() == u32::MAX;
    let used: BTreeSet<u16> = records.iter().map(|record| record.0).collect();
    let partition = (0..).find(|number| !used.contains(number)).unwrap_or_default();
    let mut batch = log.config().batch();
    batch.push(partition, 1, 9, |body| body.extend_from_slice(NEWS)).expect("it is short");
    // A log without room says so and stays as it is.
    if log.write(&mut batch).is_ok() {
        log.sync().expect("the disk works");
        records.push((partition, 1, 9, NEWS.to_vec()));
    }
    drop(log);
    let mut again = Vec::new();
    match open(disk, &mut again) {
        Ok(_) => assert!(last_epoch || again == records, "{again:?} instead of {records:?}"),
        Err(error) => assert!(last_epoch || !is_corrupt(&error), "{error}"),
    }
}
