//! The settings of the log.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use crate::{Batch, error::OpenError, layout};

/// More reserve than this is a mistake.
const MOST_RESERVE: usize = 64;

/// Settings of a log and its committer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogConfig {
    /// Length of a new segment file in bytes. Default 64 MiB; 64 KiB to 1 GiB, rounded up to a
    /// multiple of 4096. Twice this much disk is held ready (current and spare) besides
    /// `reserve_segments`, and recovery reads
    /// a segment whole, so it costs this much memory while opening. Can change between runs.
    pub segment_bytes: u64,
    /// Longest record body in bytes. Default 16 MiB; at most `segment_bytes` less 8,287 bytes for
    /// headers, since a record never spans segments.
    pub max_body_bytes: usize,
    /// Dead segment files that wait to be recycled; more are deleted. Default 2; any number.
    /// Each holds `segment_bytes` of disk and saves writing a new file full of zeros.
    pub free_segments: usize,
    /// Prepared segments that new work may not use. Default 1; 0 to 64. When the disk has no room
    /// for more than these, the log reports [`Space::Reserve`](crate::Space::Reserve), so that what
    /// was begun can be settled and a whole segment can be carried forward and given up. Each holds
    /// `segment_bytes` of disk, besides the segment being written to and the next one.
    pub reserve_segments: usize,
    /// Latest time after which a record submitted as [`Buffered`](crate::Urgency::Buffered) is
    /// flushed. Default 50 ms; zero flushes it like a synced one.
    pub flush_within: Duration,
    /// Bytes submitted but not yet written from which on the committer reports congestion. Default
    /// 32 MiB; any number. Costs up to twice this much memory.
    pub pending_bytes: usize,
    /// How long the committer waits before it tries again to make a spare segment while the disk
    /// is full. Default 1 s; any duration.
    pub retry_space_after: Duration,
    /// Mixed into the salt of every segment. Default: drawn at random, so that nobody who chooses a
    /// record's body can forge a batch in it. Set it only where runs must be repeatable.
    pub salt: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            max_body_bytes: 16 << 20,
            free_segments: 2,
            reserve_segments: 1,
            flush_within: Duration::from_millis(50),
            pending_bytes: 32 << 20,
            retry_space_after: Duration::from_secs(1),
            // The standard library's hasher keys are the one source of entropy that needs no crate.
            salt: RandomState::new().hash_one(std::process::id()),
        }
    }
}

impl LogConfig {
    /// An empty batch that keeps this log's limit on bodies.
    pub fn batch(&self) -> Batch {
        Batch::with_limit(self.max_body_bytes)
    }

    /// Checks the ranges and returns the length of a segment.
    pub(crate) fn checked_segment_bytes(&self) -> Result<u64, OpenError> {
        let range = layout::MIN_SEGMENT_BYTES..=layout::MAX_SEGMENT_BYTES;
        if !range.contains(&self.segment_bytes) {
            return Err(OpenError::Config {
                setting: "segment_bytes",
                value: self.segment_bytes,
                allowed: format!("{} to {}", range.start(), range.end()),
            });
        }
        if self.reserve_segments > MOST_RESERVE {
            return Err(OpenError::Config {
                setting: "reserve_segments",
                value: self.reserve_segments as u64,
                allowed: format!("0 to {MOST_RESERVE}"),
            });
        }
        let bytes = self.segment_bytes.next_multiple_of(layout::PAGE);
        let largest = bytes - layout::RECORD_OVERHEAD;
        if self.max_body_bytes as u64 > largest {
            return Err(OpenError::Config {
                setting: "max_body_bytes",
                value: self.max_body_bytes as u64,
                allowed: format!("up to {largest} with segments of {bytes} bytes"),
            });
        }
        Ok(bytes)
    }
}
