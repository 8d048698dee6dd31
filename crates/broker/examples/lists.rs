//! What ended tasks cost the index's thread, and lists of them, by the clock: a broker on a real
//! directory ends as many tasks as are said, of 1,000 agents, 100 skills, some conversations and
//! roots, and pages of 1,000 are asked for, one after another from the newest on and from the middle.
//! The arguments are the number of tasks and a directory; tasks that are there from another run are
//! listed too, so that 0 lists what is there.

#![allow(clippy::print_stdout, reason = "what was found is to be read")]

use std::collections::VecDeque;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc;
use trunkline_broker::{Broker, BrokerConfig, Store};
use trunkline_types::session::{
    ClientFrame, Connected, Connection, Connector, Credit, Hello, Operation, SessionItem, Sink,
};
use trunkline_types::{
    AgentCard, Answer, Destination, Envelope, IdSource, Kind, MessageId, Outcome, Partition,
    Payload, Publish, PublishOptions, Query, SessionId, Settle, Stats, TaskFilter, TaskPage,
    TaskState, Token, WallTime,
};

/// How many tasks are sent and ended at a time, and how many pages are asked for of each list.
const BATCH: u64 = 512;
const PAGES: u32 = 20;

/// How many records the index may be behind before more work is sent.
const UNINDEXED: u64 = 200_000;

/// How many agents the work is for. One session has one agent, so the tasks say to whom they go.
const AGENTS: u64 = 1000;

/// Each of so many agents has a skill that no other has, and work is for one of these.
const SKILLS: u64 = 100;

/// How many tasks lie above others.
const ROOTS: usize = 10_000;

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
    tokens: VecDeque<Token>,
    next: u64,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count, directory] = &arguments[..] else {
        return Err("how many tasks, and where?".into());
    };
    let mut config = BrokerConfig::ephemeral();
    config.store = Store::Directory(Path::new(directory).to_owned());
    let broker = Broker::open(config).await?;
    let begun = Instant::now();
    let count: u64 = count.parse()?;
    work(&broker, count).await?;
    while stats(&broker).await?.records_unindexed > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let indexed = stats(&broker).await?.tasks_indexed;
    println!(
        "{count} tasks ended in {:.1} s, {indexed} on disk only; the index's thread took {:.1} µs of a \
         processor for each",
        begun.elapsed().as_secs_f64(),
        index_time().as_secs_f64() * 1e6 / f64::from(u32::try_from(count)?.max(1))
    );
    let none = || TaskFilter { limit: 1000, ..TaskFilter::default() };
    let agent = "a-7".parse().ok();
    let failed = vec![TaskState::Failed];
    let page = list(&broker, "newest", none()).await?;
    let middle = page.tasks.last().map(|task| task.updated_at);
    let end = ask(&broker, TaskFilter { limit: 1, ..none() }).await?;
    let first = ask(&broker, TaskFilter { agent: agent.clone(), ..none() }).await?;
    let root = ask(&broker, TaskFilter { limit: 1000, ..none() }).await?;
    let root = root.tasks.iter().find_map(|task| task.root_id);
    let between = |one: u64, other: u64| one / 2 + other / 2;
    let deep = end.tasks.first().zip(first.tasks.last()).map(|(end, first)| {
        let at = between(end.id.millis(), first.id.millis());
        MessageId::from_parts(at, Partition(0), 0)
    });
    let half = deep.map(|deep| WallTime(deep.millis()));
    for (name, filter) in [
        ("all", none()),
        ("by agent", TaskFilter { agent: agent.clone(), ..none() }),
        ("by skill", TaskFilter { skill: "s-7".parse().ok(), ..none() }),
        ("by state", TaskFilter { states: failed.clone(), ..none() }),
        ("by conversation", TaskFilter { context_id: "c-14".parse().ok(), ..none() }),
        ("by root", TaskFilter { root_id: root, ..none() }),
        ("by time", TaskFilter { until: half, ..none() }),
    ] {
        list(&broker, name, filter.clone()).await?;
        list(&broker, &format!("{name}, from the middle"), TaskFilter { before: deep, ..filter })
            .await?;
    }
    for (name, filter) in [
        ("by agent", TaskFilter { agent: agent.clone(), ..none() }),
        ("failed", TaskFilter { states: failed.clone(), ..none() }),
        ("by conversation", TaskFilter { context_id: "c-14".parse().ok(), ..none() }),
    ] {
        list(&broker, &format!("{name}, by change"), changes(filter)).await?;
    }
    list(&broker, "by change", changes(none())).await?;
    let filter = TaskFilter { except: agent.into_iter().collect(), ..none() };
    list(&broker, "by change but of one agent", changes(filter)).await?;
    let filter = TaskFilter { changed_since: middle, ..none() };
    list(&broker, "changed since the newest 20,000", changes(filter)).await?;
    let filter = TaskFilter { changed_since: Some(WallTime(1)), ..none() };
    list(&broker, "changed since ever", changes(filter)).await?;
    let begun = Instant::now();
    let asked = (0..8).map(|_| {
        let broker = broker.clone();
        tokio::spawn(async move { ask(&broker, none()).await.map(|_| ()) })
    });
    for asked in asked.collect::<Vec<_>>() {
        asked.await??;
    }
    println!("8 pages at once: {:.1} ms", begun.elapsed().as_secs_f64() * 1000.0);
    broker.drain(Duration::from_secs(10)).await;
    Ok(())
}

fn changes(filter: TaskFilter) -> TaskFilter {
    TaskFilter { by_change: true, ..filter }
}

async fn stats(broker: &Broker) -> Result<Box<Stats>, Failure> {
    match broker.query(Query::Stats).await.map_err(|refusal| refusal.message)? {
        Answer::Stats(stats) => Ok(stats),
        _ => Err("another answer".into()),
    }
}

async fn ask(broker: &Broker, filter: TaskFilter) -> Result<TaskPage, Failure> {
    match broker.query(Query::Tasks(filter)).await.map_err(|refusal| refusal.message)? {
        Answer::Tasks(page) => Ok(page),
        _ => Err("another answer".into()),
    }
}

/// Asks for some pages, says how long they took, and returns the last.
async fn list(broker: &Broker, name: &str, mut filter: TaskFilter) -> Result<TaskPage, Failure> {
    let (mut times, mut tasks, mut last) = (Vec::new(), 0, TaskPage::default());
    for _ in 0..PAGES {
        let begun = Instant::now();
        last = ask(broker, filter.clone()).await?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        tasks += last.tasks.len();
        (filter.before, filter.changed_before) = (last.next, last.next_change);
        if last.next.is_none() && last.next_change.is_none() {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    let (pages, most) = (times.len(), times.last().copied().unwrap_or(0.0));
    let total = last.total.map_or_else(String::new, |total| format!(", {total} in all"));
    let median = times[pages / 2];
    println!(
        "{name}: {pages} pages, {tasks} tasks{total}: median {median:.2} ms, most {most:.2} ms"
    );
    Ok(last)
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
    Ok(Peer { connection, items, tokens: VecDeque::new(), next: 1 })
}

impl Peer {
    fn operate(&mut self, operations: Vec<Operation>) {
        let first = self.next;
        self.next += operations.len() as u64;
        self.connection.send(ClientFrame::Operations { first, operations });
    }

    /// Why something that was sent is refused, once that is so.
    async fn refused(&mut self) -> Failure {
        while let Some(items) = self.items.recv().await {
            for item in items {
                if let SessionItem::Refused { refusal, .. } = item {
                    return refusal.message.into();
                }
            }
        }
        "the broker is gone".into()
    }

    /// The token of the next delivery.
    async fn token(&mut self) -> Result<Token, Failure> {
        loop {
            if let Some(token) = self.tokens.pop_front() {
                return Ok(token);
            }
            // On a machine with other work the index may be behind, and nothing is handed out then.
            let items = tokio::time::timeout(Duration::from_mins(10), self.items.recv()).await;
            let items = items
                .map_err(|late| format!("an agent waits in vain: {late}"))?
                .ok_or("the broker is gone")?;
            self.tokens.extend(items.into_iter().filter_map(|item| match item {
                SessionItem::Delivery(delivery) => Some(delivery.token),
                _ => None,
            }));
        }
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What the index's thread took of a processor, as Linux counts it; zero elsewhere.
fn index_time() -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let times = threads.flatten().map(|thread| thread.path()).filter_map(|path| {
        let is_it = read(path.join("comm")).trim() == "trunkline-index";
        let nanos = read(path.join("schedstat")).split(' ').next()?.parse().ok()?;
        is_it.then_some(Duration::from_nanos(nanos))
    });
    times.sum()
}

/// Which agent a task is for: one in twenty for one of those that have a skill.
fn worker(number: u64) -> u64 {
    if number % 20 == 3 { number / 20 % SKILLS } else { number % AGENTS }
}

/// Ends tasks of one agent after another.
async fn work(broker: &Broker, count: u64) -> Result<(), Failure> {
    let seed = fastrand::u64(..);
    let (mut ids, mut done) = (IdSource::new(seed), 0);
    let mut sender = connect(broker, u128::from(seed), None).await?;
    let (mut agents, mut roots, mut joining) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..AGENTS.min(count) {
        let mut card = AgentCard::new(format!("a-{number}").parse()?);
        if number < SKILLS {
            card.skills.push(format!("s-{number}").parse()?);
        }
        let (broker, session) = (broker.clone(), u128::from(seed) + 1 + u128::from(number));
        // Each is on disk before it is welcomed, so that they had better come together.
        joining.push(tokio::spawn(async move { connect(&broker, session, Some(card)).await }));
    }
    for joining in joining {
        agents.push(joining.await??);
    }
    while done < count {
        let some = BATCH.min(count - done);
        let publishes = (done..done + some).map(|number| {
            let id = ids.next(now(), Partition(0));
            let to = match number % 20 {
                3 => Destination::skill(&format!("s-{}", worker(number)))?,
                _ => Destination::agent(&format!("a-{}", worker(number)))?,
            };
            let payload = Payload::from(vec![b'x'; 200]);
            let mut envelope = Envelope::new(id, Kind::Request, to, payload);
            if number % 2 == 0 {
                envelope.context_id = Some(format!("c-{}", number % 50_000).parse()?);
            }
            if number % 5 == 0 {
                if roots.len() < ROOTS {
                    roots.push(id);
                } else {
                    envelope.root_id = Some(roots[usize::try_from(number / 5)? % ROOTS]);
                }
            }
            let options = PublishOptions { task: true, ..PublishOptions::default() };
            Ok::<_, Failure>(Operation::Publish(Arc::new(Publish { envelope, options })))
        });
        sender.operate(publishes.collect::<Result<_, _>>()?);
        for number in done..done + some {
            let agent = &mut agents[usize::try_from(worker(number))?];
            let token = tokio::select! {
                token = agent.token() => token?,
                refused = sender.refused() => return Err(refused),
            };
            // Each agent fails now and then: one that only fails gets nothing more.
            let outcome = match (number + number / AGENTS) % 100 {
                99 => Outcome::Fail { reason: "no".into() },
                _ => Outcome::Complete { reply: Some("done".into()) },
            };
            agent.operate(vec![Operation::Settle(Settle { token, outcome })]);
        }
        done += some;
        // What comes faster than the index takes in is refused in the end.
        while stats(broker).await?.records_unindexed > UNINDEXED {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}
