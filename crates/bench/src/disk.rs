//! What the disk alone can do: the bound beside which a durable figure is read.

use crate::observe::Note;
use crate::report::DiskLimit;
use crate::{BenchError, clock};
use hdrhistogram::Histogram;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// One write.
const BLOCK: usize = 4096;
/// How many blocks the file has; they are written over again in turn.
const BLOCKS: u64 = 4096;
/// How long is measured.
const SPAN: Duration = Duration::from_secs(1);

/// Whether files there are in memory, so that flushing them is for nothing.
pub(crate) fn is_in_memory(directory: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58F6;
    #[cfg(target_os = "linux")]
    {
        rustix::fs::statfs(directory).is_ok_and(|found| {
            #[allow(clippy::useless_conversion, reason = "its width differs between platforms")]
            let kind = i64::from(found.f_type);
            kind == TMPFS || kind == RAMFS
        })
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (directory, TMPFS, RAMFS);
        false
    }
}

/// Measures write + `fdatasync` of 4 KiB, one after another, into a file of which every block was
/// written before. Blocks for about a second and a half.
///
/// # Errors
/// The disk's.
pub(crate) fn measure(directory: &Path) -> Result<DiskLimit, BenchError> {
    let what = || format!("cannot measure the disk in '{}'", directory.display());
    let failed = |error| BenchError::System { what: what(), error };
    let scratch = tempfile::Builder::new()
        .prefix("trunkline-disk-")
        .tempfile_in(directory)
        .map_err(failed)?;
    let file = OpenOptions::new().write(true).open(scratch.path()).map_err(failed)?;
    let mut block = vec![0xA5; BLOCK];
    for at in 0..BLOCKS {
        file.write_all_at(&block, at * BLOCK as u64).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    let mut spans = Histogram::<u64>::new(3).expect("three digits are allowed");
    let begun = Instant::now();
    let mut last = begun;
    let mut flushes: u64 = 0;
    while last.duration_since(begun) < SPAN {
        block[..8].copy_from_slice(&flushes.to_le_bytes());
        file.write_all_at(&block, flushes % BLOCKS * BLOCK as u64).map_err(failed)?;
        file.sync_data().map_err(failed)?;
        let now = Instant::now();
        spans.note(clock::nanos(now.duration_since(last)));
        last = now;
        flushes += 1;
    }
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
    let limit = DiskLimit {
        flushes_per_s: flushes as f64 / last.duration_since(begun).as_secs_f64(),
        p50_us: spans.value_at_quantile(0.5) as f64 / 1e3,
    };
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_does_some_flushes_and_a_missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let limit = measure(directory.path()).unwrap();
        assert!(limit.flushes_per_s > 0.0 && limit.p50_us > 0.0);
        let missing = directory.path().join("missing");
        let error = measure(&missing).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }
}
