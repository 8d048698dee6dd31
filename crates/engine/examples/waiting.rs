//! What a waiting task costs in memory, and where the bytes are: tasks are accepted for a skill
//! that nobody serves, and every byte of the engine's heap is counted. The arguments are the number
//! of tasks, the bytes of their payloads, and how many bytes of payloads may stay in memory (all of
//! them if that is left out). A fourth, `contexts`, gives each task a conversation of its own.

mod heap;

use heap::Heap;
use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use trunkline_engine::{
    Command, ConnectionKey, Engine, EngineConfig, Mono, Now, Output, PayloadStore, Verdicts,
};
use trunkline_types::session::{ClientFrame, Credit, Hello, Operation};
use trunkline_types::{
    Destination, Envelope, IdSource, Kind, Partition, Payload, Principal, Publish, PublishOptions,
    Sequence, SessionId, TaskEvent, WallTime,
};

/// A log that nobody reads, for nobody takes work.
#[derive(Debug)]
struct Unread;

impl PayloadStore for Unread {
    fn read(&self, _: Sequence) -> Result<Arc<Publish>, String> {
        Err("nobody should ask".to_owned())
    }
}

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
    let before = Heap::now();
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
    let text = format!(
        "a task ({count} of them, {bytes} bytes of payload): {}\
         publish {}, envelope {}, options {}, event {}\n",
        before.grown_for(count),
        size_of::<Publish>(),
        size_of::<Envelope>(),
        size_of::<PublishOptions>(),
        size_of::<TaskEvent>(),
    );
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}
