//! Batches whose own checksum is right and whose records are not: what a fault in memory makes
//! before the batch is sealed.

use crate::common::{HEADER, segment, try_open, write};
use crc_fast::crc64_nvme;
use trunkline_log::{MemoryDisk, OpenError};

/// Length of a batch's header, and of a frame's.
const BATCH: usize = 64;
const FRAME: usize = 24;

#[test]
fn a_record_whose_own_checksum_is_wrong_is_not_served() {
    let disk = MemoryDisk::new();
    let mut opened = try_open(&disk).unwrap();
    write(&mut opened.log, 0..1);
    opened.log.sync().unwrap();
    drop(opened);
    // Behind the batch that says that the log was opened.
    let at = usize::try_from(HEADER).unwrap() + BATCH;
    let mut bytes = disk.read_file(&segment(1)).unwrap();
    let length = u32::from_le_bytes(bytes[at + 48..at + 52].try_into().unwrap());
    let end = at + BATCH + length as usize;
    bytes[at + BATCH + FRAME] ^= 1;
    let sum = crc64_nvme(&bytes[at + 16..end]);
    bytes[at + 8..at + 16].copy_from_slice(&sum.to_le_bytes());
    disk.write_file(&segment(1), bytes);
    match try_open(&disk) {
        Err(OpenError::Corrupt { segment: 1, offset, .. }) => {
            assert_eq!(offset, (at + BATCH) as u64);
        }
        Err(other) => panic!("another error: {other}"),
        Ok(opened) => panic!("served: {:?}", opened.records),
    }
}
