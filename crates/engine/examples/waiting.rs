//! What a waiting task costs in memory, and where the bytes are: tasks are accepted for a skill
//! that nobody serves, and every byte of the engine's heap is counted. The arguments are the number
//! of tasks, the bytes of their payloads, and how many bytes of payloads may stay in memory (all of
//! them if that is left out). A fourth, `contexts`, gives each task a conversation of its own.

#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use trunkline_engine::{
    Command, ConnectionKey, Engine, EngineConfig, Mono, Now, Output, PayloadStore, Verdicts,
};
use trunkline_types::session::{ClientFrame, Credit, Hello, Operation};
use trunkline_types::{
    Destination, Envelope, IdSource, Kind, Partition, Payload, Principal, Publish, PublishOptions,
    Sequence, SessionId, TaskEvent, WallTime,
};

/// Counts what is allocated.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Allocations by their size in steps of 16 bytes; the last are the larger ones.
static SIZES: [AtomicUsize; 128] = [const { AtomicUsize::new(0) }; 128];

fn class(bytes: usize) -> &'static AtomicUsize {
    &SIZES[(bytes.div_ceil(16)).min(127)]
}

#[allow(unsafe_code, reason = "an allocator is unsafe by its nature")]
// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        COUNT.fetch_add(1, Ordering::Relaxed);
        class(layout.size()).fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        COUNT.fetch_sub(1, Ordering::Relaxed);
        class(layout.size()).fetch_sub(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// A log that nobody reads, for nobody takes work.
#[derive(Debug)]
struct Unread;

impl PayloadStore for Unread {
    fn read(&self, _: Sequence) -> Result<Arc<Publish>, String> {
        Err("nobody should ask".to_owned())
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().ok_or("how many tasks?")?.parse()?;
    let bytes: usize = arguments.next().ok_or("how many bytes each?")?.parse()?;
    let payload_memory = arguments.next().map_or(Ok(u64::MAX), |bound| bound.parse())?;
    let contexts = arguments.next().is_some_and(|what| what == "contexts");
    let payloads: Option<Arc<dyn PayloadStore>> = Some(Arc::new(Unread));
    let config = EngineConfig { payload_memory, payloads, ..EngineConfig::default() };
    let now = Now { mono: Mono(1), wall: WallTime(1) };
    let mut engine = Engine::new(config);
    let mut out = Output::default();
    engine.start(now, &mut out);
    let connection = ConnectionKey(1);
    let hello = Box::new(Hello {
        session: SessionId(1),
        card: None,
        credit: Credit { deliveries: 1, events: 0 },
        subscriptions: Vec::new(),
        next_operation: 1,
        held: Vec::new(),
    });
    let principal = Principal::default();
    engine.handle(now, Command::Connect { connection, principal, hello }, &mut out);
    out.clear();
    let (mut ids, to) = (IdSource::new(1), Destination::skill("s")?);
    let sizes: Vec<usize> = SIZES.iter().map(|size| size.load(Ordering::Relaxed)).collect();
    let (before, many) = (BYTES.load(Ordering::Relaxed), COUNT.load(Ordering::Relaxed));
    for first in 1..=count as u64 {
        let payload = Payload::from(vec![0; bytes]);
        let id = ids.next(1, Partition(0));
        let mut envelope = Envelope::new(id, Kind::Request, to.clone(), payload);
        envelope.context_id = contexts.then(|| id.to_string().parse()).transpose()?;
        let options = PublishOptions { task: true, ..PublishOptions::default() };
        let operations = vec![Operation::Publish(Arc::new(Publish { envelope, options }))];
        let frame = ClientFrame::Operations { first, operations };
        let command = Command::Frame { connection, frame, verdicts: Verdicts::new() };
        engine.handle(now, command, &mut out);
        let latest = engine.sequence();
        engine.durable(now, latest, latest, &mut out);
        out.clear();
    }
    let used = BYTES.load(Ordering::Relaxed) - before;
    let allocations = COUNT.load(Ordering::Relaxed) - many;
    let mut text = format!(
        "{} bytes per task in {:.2} allocations ({count} tasks, {bytes} bytes of payload)\n\
         publish {}, envelope {}, options {}, event {}\n",
        used / count,
        allocations as f64 / count as f64,
        size_of::<Publish>(),
        size_of::<Envelope>(),
        size_of::<PublishOptions>(),
        size_of::<TaskEvent>(),
    );
    for (index, before) in sizes.into_iter().enumerate() {
        let many = SIZES[index].load(Ordering::Relaxed).saturating_sub(before);
        if many * 50 > count {
            let each = many as f64 / count as f64;
            let _ = writeln!(text, "{each:.2} allocations of up to {} bytes each", index * 16);
        }
    }
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
