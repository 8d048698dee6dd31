//! The plain cycle and nothing else: events to one agent, each accepted, delivered, completed and
//! confirmed, in memory. Its job is to be measured, see `cargo xtask instructions`; the number of
//! events is its argument. The same number takes the same steps every time.

use std::error::Error;
use std::sync::Arc;
use trunkline_engine::{
    Command, ConnectionKey, Effect, Engine, EngineConfig, Mono, Now, Output, Verdicts,
};
use trunkline_types::session::{ClientFrame, Credit, Hello, Operation, SessionItem};
use trunkline_types::{
    AgentCard, Destination, Envelope, IdSource, Kind, Outcome, Partition, Payload, Principal,
    Publish, SessionId, Settle, WallTime,
};

/// How many operations travel in one frame.
const BATCH: usize = 10;

const SENDER: ConnectionKey = ConnectionKey(1);
const AGENT: ConnectionKey = ConnectionKey(2);

/// An engine with a sender and an agent, and what comes out of it.
struct Cycle {
    engine: Engine,
    out: Output,
    now: Now,
    /// The next operation of the sender and of the agent.
    next: [u64; 2],
    /// What the agent has to say.
    settles: Vec<Operation>,
    confirmed: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let count: usize = std::env::args().nth(1).ok_or("how many events?")?.parse()?;
    let config = EngineConfig { logged: false, ..EngineConfig::default() };
    let mut cycle = Cycle {
        engine: Engine::new(config),
        out: Output::default(),
        now: Now { mono: Mono(1), wall: WallTime(1) },
        next: [1; 2],
        settles: Vec::with_capacity(BATCH),
        confirmed: 0,
    };
    cycle.engine.start(cycle.now, &mut cycle.out);
    cycle.connect(SENDER, None);
    cycle.connect(AGENT, Some(AgentCard::new("a".parse()?)));
    let (mut ids, to) = (IdSource::new(1), Destination::agent("a")?);
    let payload = Payload::from(vec![0; 256]);
    for _ in 0..count / BATCH {
        cycle.now.mono.0 += 1000;
        let publishes = (0..BATCH).map(|_| {
            let id = ids.next(1, Partition(0));
            let envelope = Envelope::new(id, Kind::Event, to.clone(), payload.clone());
            Operation::Publish(Arc::new(Publish::new(envelope)))
        });
        cycle.operations(SENDER, publishes.collect())?;
        let settles = std::mem::replace(&mut cycle.settles, Vec::with_capacity(BATCH));
        cycle.operations(AGENT, settles)?;
    }
    let (confirmed, expected) = (cycle.confirmed, 2 * (count / BATCH) * BATCH);
    if confirmed != expected {
        return Err(format!("{confirmed} operations are confirmed, not {expected}").into());
    }
    Ok(())
}

impl Cycle {
    fn connect(&mut self, connection: ConnectionKey, card: Option<AgentCard>) {
        let hello = Box::new(Hello {
            session: SessionId(connection.0.into()),
            card,
            credit: Credit { deliveries: 100, events: 0 },
            subscriptions: Vec::new(),
            next_operation: 1,
            held: Vec::new(),
        });
        let principal = Principal::default();
        let command = Command::Connect { connection, principal, hello };
        self.engine.handle(self.now, command, &mut self.out);
        self.out.clear();
    }

    fn operations(
        &mut self,
        connection: ConnectionKey,
        operations: Vec<Operation>,
    ) -> Result<(), Box<dyn Error>> {
        let next = &mut self.next[usize::from(connection == AGENT)];
        let first = std::mem::replace(next, *next + operations.len() as u64);
        let frame = ClientFrame::Operations { first, operations };
        let command = Command::Frame { connection, frame, verdicts: Verdicts::new() };
        self.engine.handle(self.now, command, &mut self.out);
        for effect in self.out.effects.drain(..) {
            match effect {
                Effect::Item { item: SessionItem::Delivery(delivery), .. } => {
                    let outcome = Outcome::Complete { reply: None };
                    self.settles.push(Operation::Settle(Settle { token: delivery.token, outcome }));
                }
                Effect::Item { item: SessionItem::Done { .. }, .. } => self.confirmed += 1,
                other => return Err(format!("that is not part of the cycle: {other:?}").into()),
            }
        }
        Ok(())
    }
}
