//! One cycle and nothing else: `event`s to one agent, each accepted, delivered, completed and
//! confirmed, in memory; or `request`s to it, logged, on disk before anything is told, and answered.
//! Its job is to be measured, see `cargo xtask instructions`; which cycle and how many messages are
//! its arguments. The same number takes the same steps every time.

use std::error::Error;
use std::sync::Arc;
use trunkline_engine::{
    Command, ConnectionKey, Effect, Engine, EngineConfig, Mono, Now, Output, Verdicts,
};
use trunkline_types::session::{ClientFrame, Credit, Hello, Operation, SessionItem};
use trunkline_types::{
    AgentCard, Destination, Durability, Envelope, IdSource, Kind, Outcome, Partition, Payload,
    Principal, Publish, PublishOptions, SessionId, Settle, WallTime,
};

/// How many operations travel in one frame.
const BATCH: usize = 10;

const SENDER: ConnectionKey = ConnectionKey(1);
const AGENT: ConnectionKey = ConnectionKey(2);

/// What is sent, and what comes of it.
#[derive(Clone)]
struct Message {
    kind: Kind,
    /// What is asked of it, if anything.
    options: Option<PublishOptions>,
    /// What the agent answers.
    reply: Option<Payload>,
}

/// An engine with a sender and an agent, and what comes out of it.
struct Cycle {
    engine: Engine,
    out: Output,
    now: Now,
    /// The next operation of the sender and of the agent.
    next: [u64; 2],
    /// What the agent has to say.
    settles: Vec<Operation>,
    message: Message,
    confirmed: usize,
    answered: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let payload = Payload::from(vec![0; 256]);
    let logged = match arguments.next().ok_or("event or request?")?.as_str() {
        "event" => false,
        "request" => true,
        other => return Err(format!("'{other}' is neither event nor request").into()),
    };
    let count: usize = arguments.next().ok_or("how many messages?")?.parse()?;
    let options = || PublishOptions {
        reply: true,
        durability: Some(Durability::Synced),
        ..PublishOptions::default()
    };
    let message = Message {
        kind: if logged { Kind::Request } else { Kind::Event },
        options: logged.then(options),
        reply: logged.then(|| payload.clone()),
    };
    let config = EngineConfig { logged, ..EngineConfig::default() };
    let mut cycle = Cycle {
        engine: Engine::new(config),
        out: Output::default(),
        now: Now { mono: Mono(1), wall: WallTime(1) },
        next: [1; 2],
        settles: Vec::with_capacity(BATCH),
        message,
        confirmed: 0,
        answered: 0,
    };
    cycle.engine.start(cycle.now, &mut cycle.out);
    cycle.commit();
    cycle.connect(SENDER, None);
    cycle.connect(AGENT, Some(AgentCard::new("a".parse()?)));
    let (mut ids, to) = (IdSource::new(1), Destination::agent("a")?);
    for _ in 0..count / BATCH {
        cycle.now.mono.0 += 1000;
        let Message { kind, options, .. } = cycle.message.clone();
        let publishes = (0..BATCH).map(|_| {
            let id = ids.next(1, Partition(0));
            let envelope = Envelope::new(id, kind, to.clone(), payload.clone());
            let mut publish = Publish::new(envelope);
            if let Some(options) = &options {
                publish.options = options.clone();
            }
            Operation::Publish(Arc::new(publish))
        });
        cycle.operations(SENDER, publishes.collect())?;
        let settles = std::mem::replace(&mut cycle.settles, Vec::with_capacity(BATCH));
        cycle.operations(AGENT, settles)?;
    }
    let (confirmed, expected) = (cycle.confirmed, 2 * (count / BATCH) * BATCH);
    if confirmed != expected {
        return Err(format!("{confirmed} operations are confirmed, not {expected}").into());
    }
    let expected = if logged { expected / 2 } else { 0 };
    if cycle.answered != expected {
        return Err(format!("{} requests are answered, not {expected}", cycle.answered).into());
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
        self.commit();
        self.out.clear();
    }

    /// Tells the engine that all its records are on disk.
    fn commit(&mut self) {
        let Some((last, _)) = self.out.records.last() else { return };
        let last = *last;
        self.out.records.clear();
        self.engine.durable(self.now, last, last, &mut self.out);
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
        self.commit();
        for effect in self.out.effects.drain(..) {
            match effect {
                Effect::Item { item: SessionItem::Delivery(delivery), .. } => {
                    let outcome = Outcome::Complete { reply: self.message.reply.clone() };
                    self.settles.push(Operation::Settle(Settle { token: delivery.token, outcome }));
                }
                Effect::Item { item: SessionItem::Done { first, last }, .. } => {
                    self.confirmed += usize::try_from(last + 1 - first)?;
                }
                Effect::Item { item: SessionItem::Reply(_), .. } => self.answered += 1,
                // What an index would be told; a plain broker in memory has none.
                Effect::Past(_) => {}
                other => return Err(format!("that is not part of the cycle: {other:?}").into()),
            }
        }
        Ok(())
    }
}
