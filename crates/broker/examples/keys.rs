//! What an idempotency key costs the one who publishes under it: a broker on a real directory takes
//! in events under as many keys as are said, is started again, so that only the index has them, and
//! then takes in events under new keys, under the known ones and under none, in turn. The arguments
//! are the number of keys and a directory.

#![allow(clippy::print_stdout, reason = "what was found is to be read")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use trunkline_broker::{Broker, BrokerConfig, Store};
use trunkline_types::session::{
    ClientFrame, Connected, Connection, Connector, Credit, Hello, Operation, SessionItem, Sink,
};
use trunkline_types::{
    Answer, Destination, Durability, Envelope, IdSource, Kind, Partition, Payload, Publish,
    PublishOptions, Query, SessionId,
};

/// How many are published at a time, and how often each kind.
const BATCH: u64 = 256;
const ROUNDS: u64 = 200;

/// How many records the index may be behind before more are published.
const UNINDEXED: u64 = 200_000;

type Failure = Box<dyn Error + Send + Sync>;

struct Channel(mpsc::UnboundedSender<Vec<SessionItem>>);

impl Sink for Channel {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        // The program may be over.
        let _ = self.0.send(std::mem::take(items));
    }
}

struct Publisher {
    broker: Broker,
    connection: Arc<dyn Connection>,
    items: mpsc::UnboundedReceiver<Vec<SessionItem>>,
    ids: IdSource,
    next: u64,
}

/// Under which keys events are published.
#[derive(Clone, Copy)]
enum Keys {
    None,
    From(u64),
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count, directory] = &arguments[..] else {
        return Err("how many keys, and where?".into());
    };
    let count = count.parse::<u64>()?.next_multiple_of(BATCH);
    let begun = Instant::now();
    let mut publisher = Publisher::start(directory).await?;
    for from in (0..count).step_by(usize::try_from(BATCH)?) {
        publisher.publish(Keys::From(from)).await?;
        while publisher.unindexed().await? > UNINDEXED {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    while publisher.unindexed().await? > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{count} keys taken in within {:.1} s", begun.elapsed().as_secs_f64());
    publisher.stop().await;

    let mut publisher = Publisher::start(directory).await?;
    // The index reads what it has before it takes in anything.
    publisher.publish(Keys::From(2 * count)).await?;
    let begun = Instant::now();
    while publisher.unindexed().await? > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("started again, and the index follows {:.1} ms later", millis(begun.elapsed()));
    let mut kinds = [("no key", Vec::new()), ("new key", Vec::new()), ("known key", Vec::new())];
    for round in 0..ROUNDS {
        let (fresh, known) = (3 * count + round * BATCH, round * BATCH % count);
        for (kind, keys) in
            [Keys::None, Keys::From(fresh), Keys::From(known)].into_iter().enumerate()
        {
            kinds[kind].1.push(publisher.publish(keys).await?);
        }
    }
    for (kind, mut times) in kinds {
        times.sort();
        let [median, most] = [times.len() / 2, times.len() - 1].map(|at| {
            times[at].as_secs_f64() * 1e6 / f64::from(u32::try_from(BATCH).unwrap_or(u32::MAX))
        });
        println!("{kind}: median {median:.2} µs an event, most {most:.2} µs ({ROUNDS} × {BATCH})");
    }
    publisher.stop().await;
    Ok(())
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

impl Publisher {
    async fn start(directory: &str) -> Result<Self, Failure> {
        let mut config = BrokerConfig::ephemeral();
        config.store = Store::Directory(Path::new(directory).to_owned());
        let broker = Broker::open(config).await?;
        let seed = fastrand::u64(..);
        let hello = Hello {
            session: SessionId(u128::from(seed)),
            card: None,
            credit: Credit { deliveries: 0, events: 0 },
            subscriptions: Vec::new(),
            next_operation: 1,
            held: Vec::new(),
        };
        let (sender, items) = mpsc::unbounded_channel();
        let connected = broker.connect(hello, Arc::new(Channel(sender))).await;
        let Connected { connection, .. } = connected.map_err(|refusal| refusal.message)?;
        Ok(Self { broker, connection, items, ids: IdSource::new(seed), next: 1 })
    }

    /// Publishes some events, and waits for them to be accepted. How long the broker was busy with
    /// them before it let go of this thread.
    async fn publish(&mut self, keys: Keys) -> Result<Duration, Failure> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let now = u64::try_from(now.as_millis())?;
        let mut operations = Vec::new();
        for number in 0..BATCH {
            let id = self.ids.next(now, Partition(0));
            let to = Destination::topic("nobody.listens")?;
            let mut envelope = Envelope::new(id, Kind::Event, to, Payload::from(vec![b'x'; 64]));
            if let Keys::From(first) = keys {
                envelope.idempotency_key = Some(format!("order-{}", first + number).parse()?);
            }
            let durability = Some(Durability::Buffered);
            let options = PublishOptions { durability, ..PublishOptions::default() };
            operations.push(Operation::Publish(Arc::new(Publish { envelope, options })));
        }
        let first = self.next;
        self.next += BATCH;
        let begun = Instant::now();
        self.connection.send(ClientFrame::Operations { first, operations });
        let busy = begun.elapsed();
        let mut answered = 0;
        while answered < BATCH {
            for item in self.items.recv().await.ok_or("the broker is gone")? {
                match item {
                    SessionItem::Accepted(_) => answered += 1,
                    SessionItem::Refused { refusal, .. } => return Err(refusal.message.into()),
                    _ => {}
                }
            }
        }
        Ok(busy)
    }

    async fn unindexed(&self) -> Result<u64, Failure> {
        match self.broker.query(Query::Stats).await.map_err(|refusal| refusal.message)? {
            Answer::Stats(stats) => Ok(stats.records_unindexed),
            _ => Err("another answer".into()),
        }
    }

    async fn stop(self) {
        self.broker.drain(Duration::from_secs(10)).await;
    }
}
