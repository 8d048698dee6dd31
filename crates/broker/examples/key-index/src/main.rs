//! Compares stores for the index of idempotency keys, and for lists of ended tasks, which are to
//! lie there next. Takes the number of rows (a million by default):
//! `cargo run --release --manifest-path crates/broker/examples/key-index/Cargo.toml --target-dir target/key-index`

#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::path::Path;
use std::time::{Duration, Instant};

/// Rows that one commit takes.
const BATCH: usize = 256;
/// Lookups that are timed.
const LOOKUPS: usize = 100_000;
/// Entries of a page of a list.
const PAGE: usize = 100;

/// What was accepted under a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub tenant: String,
    pub key: String,
    pub id: [u8; 16],
    pub fingerprint: u64,
    pub expires: u64,
}

/// An ended task.
#[derive(Clone, Debug)]
pub struct Task {
    pub id: [u8; 16],
    pub at: u64,
    pub state: u8,
    pub context: String,
    pub agent: String,
    pub skill: String,
    pub root: [u8; 16],
}

/// A store under comparison. A commit need not be on disk at once, for what is lost is read from
/// the log again; it must be whole or not there.
pub trait Store: Sized {
    const NAME: &'static str;
    fn open(path: &Path) -> Self;
    fn insert(&mut self, rows: &[Row], through: u64);
    fn through(&mut self) -> u64;
    fn find(&mut self, tenant: &str, key: &str) -> Option<([u8; 16], u64, u64)>;
    /// Deletes at most `most` rows that expired.
    fn expire(&mut self, now: u64, most: usize) -> usize;
    fn insert_tasks(&mut self, tasks: &[Task]);
    /// The latest tasks of an agent in a state, if one is wanted.
    fn list_agent(&mut self, agent: &str, state: Option<u8>) -> usize;
    /// The latest tasks of a context.
    fn list_context(&mut self, context: &str) -> usize;
    fn close(self);
}

fn main() {
    let count = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().expect("a number"));
    #[cfg(feature = "sqlite")]
    run::<sqlite::Sqlite>(count);
    #[cfg(feature = "fjall")]
    run::<fjall::Fjall>(count);
    #[cfg(feature = "redb")]
    run::<redb::Redb>(count);
}

fn run<S: Store>(count: usize) {
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let path = folder.path();
    println!("{} with {count} rows", S::NAME);
    let mut store = S::open(path);
    let start = Start::now();
    for first in (0..count).step_by(BATCH) {
        let rows: Vec<_> = (first..count.min(first + BATCH)).map(row).collect();
        store.insert(&rows, first as u64);
    }
    start.tell("insert", count);
    store.close();
    println!("  {:22} {:.1} MiB", "size", size(path) as f64 / (1 << 20) as f64);
    let start = Instant::now();
    let mut store = S::open(path);
    assert!(store.through() > 0);
    println!("  {:22} {:?}", "open", start.elapsed());

    let mut rng = fastrand::Rng::with_seed(7);
    let wanted: Vec<_> = (0..LOOKUPS).map(|_| row(rng.usize(0..count))).collect();
    for round in ["hit, cold", "hit, warm"] {
        let start = Start::now();
        for row in &wanted {
            let found = store.find(&row.tenant, &row.key);
            assert_eq!(found, Some((row.id, row.fingerprint, row.expires)));
        }
        start.tell(round, LOOKUPS);
    }
    let start = Start::now();
    for number in 0..LOOKUPS {
        assert_eq!(store.find("default", &format!("none-{number:x}-of-these-keys")), None);
    }
    start.tell("miss", LOOKUPS);
    let start = Start::now();
    let (mut gone, mut longest) = (0, Duration::ZERO);
    loop {
        let step = Instant::now();
        match store.expire(row(count / 2).expires, 1000) {
            0 => break,
            some => gone += some,
        }
        longest = longest.max(step.elapsed());
    }
    start.tell("expire", gone);
    println!("  {:22} {longest:?}", "longest step of 1,000");

    let start = Start::now();
    for first in (0..count).step_by(BATCH) {
        let tasks: Vec<_> = (first..count.min(first + BATCH)).map(task).collect();
        store.insert_tasks(&tasks);
    }
    start.tell("insert tasks", count);
    let listed = |name: &str, list: &mut dyn FnMut(usize) -> usize| {
        let (mut longest, mut found) = (Duration::ZERO, 0);
        for number in 0..100 {
            let start = Instant::now();
            found += list(number);
            longest = longest.max(start.elapsed());
        }
        println!("  {name:22} at most {longest:?}, {found} found in 100 pages");
    };
    listed("list agent", &mut |n| store.list_agent(&format!("agent-{n}"), None));
    listed("list agent, state", &mut |n| store.list_agent(&format!("agent-{n}"), Some(3)));
    listed("list context", &mut |n| store.list_context(&format!("context-{n}")));
    store.close();
}

fn row(number: usize) -> Row {
    let mut rng = fastrand::Rng::with_seed(number as u64);
    let key = format!("order-{:016x}-{:08x}", rng.u64(..), number);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let expires = 1_800_000_000_000 + number as u64;
    Row { tenant: "default".into(), key, id, fingerprint: rng.u64(..), expires }
}

fn task(number: usize) -> Task {
    let mut rng = fastrand::Rng::with_seed(number as u64);
    Task {
        id: row(number).id,
        at: 1_800_000_000_000 + number as u64,
        // One in a hundred failed.
        state: if rng.u8(..100) == 0 { 3 } else { 2 },
        context: format!("context-{}", rng.u32(..50_000)),
        agent: format!("agent-{}", rng.u32(..1000)),
        skill: format!("skill-{}", rng.u32(..100)),
        root: row(number / 10).id,
    }
}

/// When something began, by the clock and by the processor time of all threads; the second says
/// more on a machine that has other work.
struct Start(Instant, Duration);

impl Start {
    fn now() -> Self {
        Self(Instant::now(), processor_time())
    }

    fn tell(self, what: &str, count: usize) {
        let each = |took: Duration| took.as_secs_f64() * 1e6 / count.max(1) as f64;
        let (clock, processor) = (each(self.0.elapsed()), each(processor_time() - self.1));
        println!("  {what:22} {clock:.2} µs each, {processor:.2} µs of processor time");
    }
}

/// As Linux counts it, in hundredths of a second; zero elsewhere.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(10 * ticks)
}

fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry"));
    entries
        .map(|entry| {
            let data = entry.metadata().expect("metadata");
            if data.is_dir() { size(&entry.path()) } else { data.len() }
        })
        .sum()
}

/// A key of an ordered store made of parts: the parts one after the other, the length of each
/// before it, so that none runs into the next.
#[cfg(any(feature = "fjall", feature = "redb"))]
pub fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::new();
    for part in parts {
        key.push(part.len() as u8);
        key.extend_from_slice(part);
    }
    key
}

/// The value of a row in an ordered store.
#[cfg(any(feature = "fjall", feature = "redb"))]
pub fn packed(row: &Row) -> [u8; 32] {
    let mut value = [0; 32];
    value[..16].copy_from_slice(&row.id);
    value[16..24].copy_from_slice(&row.fingerprint.to_be_bytes());
    value[24..].copy_from_slice(&row.expires.to_be_bytes());
    value
}

/// What [`packed`] made.
#[cfg(any(feature = "fjall", feature = "redb"))]
pub fn unpacked(value: &[u8]) -> ([u8; 16], u64, u64) {
    let number = |at: usize| u64::from_be_bytes(value[at..at + 8].try_into().expect("8 bytes"));
    (value[..16].try_into().expect("16 bytes"), number(16), number(24))
}

/// The entries that lists of an ordered store need for a task: the time last, so that a prefix
/// read backwards gives the newest first.
#[cfg(any(feature = "fjall", feature = "redb"))]
pub fn entries(task: &Task) -> [Vec<u8>; 7] {
    let at = task.at.to_be_bytes();
    let entry = |list: &[u8], by: &[u8]| joined(&[list, by, &at, &task.id]);
    [
        entry(b"context", task.context.as_bytes()),
        entry(b"agent", task.agent.as_bytes()),
        joined(&[b"agent+state", task.agent.as_bytes(), &[task.state], &at, &task.id]),
        entry(b"skill", task.skill.as_bytes()),
        entry(b"state", &[task.state]),
        entry(b"root", &task.root),
        entry(b"time", b""),
    ]
}

/// What is stored of a task besides.
#[cfg(any(feature = "fjall", feature = "redb"))]
pub fn body(task: &Task) -> Vec<u8> {
    joined(&[&[task.state], task.context.as_bytes(), task.agent.as_bytes(), task.skill.as_bytes()])
}
