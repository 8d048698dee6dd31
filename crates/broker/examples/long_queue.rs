//! What a long queue costs, through a real broker on a real directory: tasks are accepted while
//! nobody serves them, the broker is started again, and then they are worked off. Prints the memory
//! and the time of each step. The arguments are the number of tasks, the bytes of their payloads,
//! the bytes of payloads that may stay in memory, and a directory that is empty. With `leave` behind
//! them the tasks are only accepted, and with `again` what was left is opened and worked off: what a
//! broker needs after a restart shows only in a process of its own.

use std::error::Error;
use std::io::Write as _;
use std::num::ParseIntError;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use trunkline_broker::{Broker, BrokerConfig, Store};
use trunkline_types::session::{
    ClientFrame, Connected, Connection, Connector, Credit, Hello, Operation, SessionItem, Sink,
};
use trunkline_types::{
    AgentCard, Answer, Destination, Envelope, IdSource, Kind, Outcome, Partition, Payload, Publish,
    PublishOptions, Query, SessionId, Settle,
};

/// How many operations travel in one frame, and how many frames are under way.
const BATCH: u64 = 256;
const UNDER_WAY: u64 = 16;

type Failure = Box<dyn Error + Send + Sync>;

struct Channel(mpsc::UnboundedSender<Vec<SessionItem>>);

impl Sink for Channel {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        // The program may be over.
        let _ = self.0.send(std::mem::take(items));
    }
}

/// A session, what it was told, and its next operation.
struct Peer {
    connection: Arc<dyn Connection>,
    items: mpsc::UnboundedReceiver<Vec<SessionItem>>,
    next: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (what, step) = match &arguments[..] {
        [what @ .., step] if what.len() == 4 => (what, step.as_str()),
        what => (what, ""),
    };
    let [count, bytes, bound, directory] = what else {
        return Err("how many tasks, of how many bytes, how many bytes in memory, where?".into());
    };
    let (count, bytes, bound) = (count.parse()?, bytes.parse()?, bound.parse()?);
    let directory = Path::new(directory);
    let before = resident()?;
    if step != "again" {
        let broker = open(directory, bound).await?;
        let begun = Begun::now()?;
        send(&broker, count, bytes).await?;
        say(&broker, "accepted", &begun, before, count).await?;
        broker.drain(Duration::from_secs(10)).await;
    }
    if step == "leave" {
        return Ok(());
    }
    let begun = Begun::now()?;
    let broker = open(directory, bound).await?;
    say(&broker, "started again", &begun, before, count).await?;
    let begun = Begun::now()?;
    work(&broker, count, bytes).await?;
    say(&broker, "worked off", &begun, before, count).await?;
    broker.drain(Duration::from_secs(10)).await;
    Ok(())
}

async fn open(directory: &Path, bound: u64) -> Result<Broker, Failure> {
    let mut config = BrokerConfig::ephemeral();
    config.store = Store::Directory(directory.to_owned());
    config.engine.payload_memory = bound;
    // Nothing is to be measured of cleaning, nor of what is kept of the past.
    config.engine.clean_min_bytes = u64::MAX;
    config.engine.ended_tasks = 1;
    Ok(Broker::open(config).await?)
}

async fn connect(broker: &Broker, session: u128, card: Option<AgentCard>) -> Result<Peer, Failure> {
    let hello = Hello {
        session: SessionId(session),
        card,
        credit: Credit { deliveries: 2048, events: 0 },
        subscriptions: Vec::new(),
        next_operation: 1,
        held: Vec::new(),
    };
    let (sender, items) = mpsc::unbounded_channel();
    let connected = broker.connect(hello, Arc::new(Channel(sender))).await;
    let Connected { connection, .. } = connected.map_err(|refusal| refusal.message)?;
    Ok(Peer { connection, items, next: 1 })
}

impl Peer {
    fn operate(&mut self, operations: Vec<Operation>) {
        let first = self.next;
        self.next += operations.len() as u64;
        self.connection.send(ClientFrame::Operations { first, operations });
    }

    async fn told(&mut self) -> Result<Vec<SessionItem>, Failure> {
        Ok(self.items.recv().await.ok_or("the broker is gone")?)
    }
}

/// Sends tasks and waits until each is accepted.
async fn send(broker: &Broker, count: u64, bytes: usize) -> Result<(), Failure> {
    let mut peer = connect(broker, 1, None).await?;
    let (mut ids, to) = (IdSource::new(1), Destination::skill("s")?);
    let (mut sent, mut accepted) = (0, 0);
    while accepted < count {
        while sent < count && sent - accepted < BATCH * UNDER_WAY {
            let some = BATCH.min(count - sent);
            let operations = (0..some).map(|_| {
                let id = ids.next(1, Partition(0));
                let payload = Payload::from(vec![7; bytes]);
                let envelope = Envelope::new(id, Kind::Request, to.clone(), payload);
                let options = PublishOptions { task: true, ..PublishOptions::default() };
                Operation::Publish(Arc::new(Publish { envelope, options }))
            });
            peer.operate(operations.collect());
            sent += some;
        }
        for item in peer.told().await? {
            match item {
                SessionItem::Done { first, last } => accepted += last - first + 1,
                SessionItem::Accepted(_) => accepted += 1,
                SessionItem::Refused { refusal, .. } => return Err(refusal.message.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Completes every task.
async fn work(broker: &Broker, count: u64, bytes: usize) -> Result<(), Failure> {
    let mut card = AgentCard::new("a".parse()?);
    card.skills.push("s".parse()?);
    let mut peer = connect(broker, 2, Some(card)).await?;
    let mut done = 0;
    while done < count {
        let mut settles = Vec::new();
        for item in peer.told().await? {
            match item {
                SessionItem::Delivery(delivery) => {
                    let data = &delivery.publish.envelope.payload.data;
                    if data.len() != bytes || data.iter().any(|&byte| byte != 7) {
                        return Err("a payload is not what was sent".into());
                    }
                    let outcome = Outcome::Complete { reply: None };
                    settles.push(Operation::Settle(Settle { token: delivery.token, outcome }));
                }
                SessionItem::Done { first, last } => done += last - first + 1,
                SessionItem::Refused { refusal, .. } => return Err(refusal.message.into()),
                _ => {}
            }
        }
        if !settles.is_empty() {
            peer.operate(settles);
        }
    }
    Ok(())
}

/// Bytes of memory of this process.
fn resident() -> Result<u64, Failure> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split(' ').nth(1).ok_or("there is no second figure")?.parse()?;
    Ok(pages * 4096)
}

/// When a step began, and what this process had computed by then, in hundredths of a second.
struct Begun {
    at: Instant,
    ticks: u64,
}

impl Begun {
    fn now() -> Result<Self, Failure> {
        Ok(Self { at: Instant::now(), ticks: ticks()? })
    }
}

/// Hundredths of a second for which this process has computed.
fn ticks() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let of_program = fields.skip(11).take(2).map(str::parse::<u64>);
    Ok(of_program.sum::<Result<u64, ParseIntError>>()?)
}

async fn say(
    broker: &Broker,
    what: &str,
    begun: &Begun,
    before: u64,
    count: u64,
) -> Result<(), Failure> {
    let computed = ticks()? - begun.ticks;
    let memory = resident()?.saturating_sub(before);
    let answer = broker.query(Query::Stats).await.map_err(|refusal| refusal.message)?;
    let Answer::Stats(stats) = answer else { return Err("another answer".into()) };
    let log = stats.log.unwrap_or_default();
    writeln!(
        std::io::stdout(),
        "{what} in {:.2} s ({}.{:02} s computed): {} MiB resident, {} bytes a task; payloads: {} MiB in memory, {} MiB \
         on disk only, {} read back in {} batches",
        begun.at.elapsed().as_secs_f64(),
        computed / 100,
        computed % 100,
        memory >> 20,
        memory / count,
        log.payload_memory_bytes >> 20,
        log.payload_disk_bytes >> 20,
        log.payload_loads,
        log.payload_load_batches,
    )?;
    Ok(())
}
