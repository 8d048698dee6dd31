//! Measures ways in which ended tasks may lie in SQLite. Takes the number of tasks (a million by
//! default) and the rows of a commit (4,096):
//! `cargo run --release --manifest-path crates/broker/examples/history/Cargo.toml --target-dir target/history`

mod layout;

use layout::{LAYOUTS, Layout, Table};
use std::time::{Duration, Instant};

/// How many pages of each kind are timed.
const PAGES: u32 = 100;

/// An ended task as the tables see it.
#[derive(Debug)]
pub struct Task {
    pub place: i64,
    pub id: [u8; 16],
    pub state: u8,
    pub skill: Option<u32>,
    pub agent: u32,
    pub to: Option<u32>,
    pub context: Option<u32>,
    pub root: Option<u32>,
    pub created: i64,
    pub ended: i64,
    pub head: Vec<u8>,
    pub rest: Vec<u8>,
}

/// What a list is narrowed to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    pub state: Option<u8>,
    pub skill: Option<u32>,
    pub agent: Option<u32>,
    pub context: Option<u32>,
    pub root: Option<u32>,
    /// By the time in the id, in milliseconds.
    pub until: Option<u64>,
    pub limit: usize,
}

fn main() {
    let mut given = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let count: u64 = given.next().unwrap_or(1_000_000);
    let batch = given.next().unwrap_or(4096);
    for layout in LAYOUTS {
        run(layout, count, batch);
    }
}

fn run(layout: &'static Layout, count: u64, batch: u64) {
    println!("{}: {count} tasks, {batch} to a commit", layout.name);
    let folder = tempfile::tempdir_in(".").expect("a folder");
    let mut table = Table::open(layout, folder.path());
    let start = Start::now();
    let mut making = Duration::ZERO;
    for first in (0..count).step_by(batch as usize) {
        let before = processor_time();
        let tasks: Vec<_> = (first..count.min(first + batch)).map(task).collect();
        making += processor_time() - before;
        table.insert(&tasks);
    }
    start.tell("insert, making included", count);
    println!("  {:28} {:.2} µs each", "of that making", micros(making) / count as f64);
    println!("  {:28} {:.0} bytes a task", "size", table.bytes() as f64 / count as f64);
    let mut rng = fastrand::Rng::with_seed(7);
    let start = Start::now();
    for _ in 0..10_000 {
        let wanted = task(rng.u64(0..count));
        assert_eq!(table.find(&wanted.id), Some(wanted.head.len() + wanted.rest.len()));
    }
    start.tell("find, making included", 10_000);
    let lists: [(&str, fn(&mut fastrand::Rng) -> Filter); 9] = [
        ("newest", |_| Filter::default()),
        ("agent", |rng| Filter { agent: Some(rng.u32(..1000)), ..Filter::default() }),
        ("skill", |rng| Filter { skill: Some(rng.u32(..100)), ..Filter::default() }),
        ("failed", |_| Filter { state: Some(6), ..Filter::default() }),
        ("agent, failed", |rng| Filter {
            agent: Some(rng.u32(..1000)),
            state: Some(6),
            ..Filter::default()
        }),
        ("agent, skill", |rng| Filter {
            agent: Some(rng.u32(..1000)),
            skill: Some(rng.u32(..100)),
            ..Filter::default()
        }),
        ("context", |rng| Filter { context: Some(rng.u32(..50_000)), ..Filter::default() }),
        ("root", |rng| Filter { root: Some(rng.u32(..10_000)), ..Filter::default() }),
        ("skill, failed, until", |rng| Filter {
            skill: Some(rng.u32(..100)),
            state: Some(6),
            until: Some(START + rng.u64(..1000)),
            ..Filter::default()
        }),
    ];
    for (name, filter) in lists {
        for limit in [100, 1000] {
            let before = processor_time();
            let (mut longest, mut all, mut found) = (Duration::ZERO, Duration::ZERO, 0);
            for _ in 0..PAGES {
                let filter = Filter { limit, ..filter(&mut rng) };
                let start = Instant::now();
                found += table.list(&filter);
                let took = start.elapsed();
                longest = longest.max(took);
                all += took;
            }
            let (mean, found) = (all / PAGES, found / PAGES as usize);
            let processor = (processor_time() - before) / PAGES;
            println!(
                "  {name:24} {limit:4} {processor:?} of processor time, {mean:?} by the clock, at \
                 most {longest:?}, {found} found"
            );
        }
    }
    let start = Start::now();
    let (mut gone, mut longest) = (0, Duration::ZERO);
    while gone < count / 10 {
        let step = Instant::now();
        gone += table.delete_oldest(1000);
        longest = longest.max(step.elapsed());
    }
    start.tell("delete", gone);
    println!("  {:28} {longest:?}", "longest step of 1,000");
}

/// The first task's time.
const START: u64 = 1_800_000_000_000;

/// Tasks of 16 clients at some 100 a millisecond, so that their ids come nearly in order.
fn task(number: u64) -> Task {
    let mut rng = fastrand::Rng::with_seed(number);
    let (client, millis) = (rng.u64(..16), START + number / 100);
    let mut id = [0; 16];
    id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    id[6] = 0x70;
    id[8..12].copy_from_slice(&(0x8000_0000 | (client as u32 * 0x0765_4321)).to_be_bytes());
    id[12..].copy_from_slice(&(number as u32).to_be_bytes());
    let agent = rng.u32(..1000);
    Task {
        place: number as i64 * 3,
        id,
        // One in a hundred failed.
        state: if rng.u8(..100) == 0 { 6 } else { 5 },
        skill: Some(agent % 100),
        agent,
        to: None,
        // Half belong to a conversation, a fifth has an ancestor.
        context: rng.bool().then(|| rng.u32(..50_000)),
        root: (rng.u8(..5) == 0).then(|| rng.u32(..10_000)),
        created: millis as i64,
        ended: millis as i64 + 20,
        head: vec![1; 150],
        rest: vec![2; 300],
    }
}

/// When something began, by the clock and by the processor time of all threads; the second says
/// more on a machine that has other work.
struct Start(Instant, Duration);

impl Start {
    fn now() -> Self {
        Self(Instant::now(), processor_time())
    }

    fn tell(self, what: &str, count: u64) {
        let each = |took: Duration| micros(took) / count.max(1) as f64;
        let (clock, processor) = (each(self.0.elapsed()), each(processor_time() - self.1));
        println!("  {what:28} {clock:.2} µs each, {processor:.2} µs of processor time");
    }
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

/// As Linux counts it, in hundredths of a second; zero elsewhere.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(10 * ticks)
}
