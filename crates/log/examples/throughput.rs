//! Measures the log alone: `cargo run --release -p trunkline-log --example throughput [DIR]`.
//!
//! Framing, checksums and writing of 256-byte records on one thread, with and without the flush;
//! then reading a million of them back. It uses a directory of its own inside DIR and removes it.

#![allow(clippy::print_stdout, reason = "its output is the figures")]
#![allow(clippy::cast_precision_loss, reason = "rates are rounded anyway")]

use std::{
    error::Error,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use trunkline_log::{Directory, Log, LogConfig};

const BODY: [u8; 256] = [7; 256];

fn main() -> Result<(), Box<dyn Error>> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let home = parent.join(format!("trunkline-log-throughput-{}", std::process::id()));
    let result = measure(&home);
    std::fs::remove_dir_all(&home)?;
    result
}

fn measure(home: &std::path::Path) -> Result<(), Box<dyn Error>> {
    println!("{:>9}  {:>16}  {:>20}", "per flush", "with flush /s", "without its wait /s");
    for per_flush in [1, 16, 64, 256, 1024] {
        let directory = home.join(per_flush.to_string());
        let records = 4000 * u64::from(per_flush.min(256_u32));
        let mut log = open(&directory)?.0;
        let mut batch = log.config().batch();
        let mut flushing = Duration::ZERO;
        let mut next = 0;
        let start = Instant::now();
        while next < records {
            for _ in 0..per_flush {
                batch.push(0, next, 1, |body| body.extend_from_slice(&BODY))?;
                next += 1;
            }
            log.write(&mut batch)?;
            let flush = Instant::now();
            log.sync()?;
            flushing += flush.elapsed();
            if log.wants_upkeep() {
                let making = Instant::now();
                log.prepare()?;
                flushing += making.elapsed();
            }
        }
        let all = start.elapsed();
        let rate = |time: Duration| next as f64 / time.as_secs_f64();
        println!(
            "{per_flush:>9}  {:>16.0}  {:>20.0}",
            rate(all),
            rate(all.saturating_sub(flushing))
        );
        log.close()?;
        std::fs::remove_dir_all(&directory)?;
    }

    let directory = home.join("recovery");
    let mut log = open(&directory)?.0;
    let mut batch = log.config().batch();
    for sequence in 0..1_000_000 {
        batch.push(0, sequence, 1, |body| body.resize(body.len() + 400, 7))?;
        if batch.records() == 64 {
            log.write(&mut batch)?;
        }
    }
    log.write(&mut batch)?;
    log.close()?;
    let start = Instant::now();
    let (_, records) = open(&directory)?;
    let seconds = start.elapsed().as_secs_f64();
    println!("recovery of {records} records of 400 bytes in {seconds:.3} s");
    Ok(())
}

fn open(directory: &std::path::Path) -> Result<(Log, u64), Box<dyn Error>> {
    let storage = Arc::new(Directory::open(directory)?);
    let mut bytes = 0;
    let (log, recovery) = Log::open(storage, LogConfig::default(), |record| {
        bytes += record.body.len();
        Ok(())
    })?;
    Ok((log, recovery.records))
}
