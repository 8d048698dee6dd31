//! Messages in one process and nothing else: a broker in memory, agents that complete at once, and a
//! sender that keeps a window full, all on one thread. Its job is to be measured under callgrind;
//! its arguments are what is sent (`oneway` or `request`), how many agents there are, how many
//! messages are on their way at once, and how many are sent in all.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use trunkline_agent::{Handler, HandlerFuture, Host, Session, Task};
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{Destination, Kind, Outcome, Payload, Publish};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Completes what it is handed, with what was sent as its reply if one is wanted.
#[derive(Clone)]
struct Completer {
    window: Arc<Semaphore>,
    done: Arc<AtomicUsize>,
}

impl Handler for Completer {
    fn handle(&self, task: Task) -> HandlerFuture {
        self.done.fetch_add(1, Ordering::Relaxed);
        self.window.add_permits(1);
        let wanted = task.envelope().kind == Kind::Request;
        let reply = wanted.then(|| task.payload().clone());
        Box::pin(std::future::ready(Outcome::Complete { reply }))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("WHAT AGENTS WINDOW COUNT");
    let (what, agents) = (next()?, next()?.parse::<usize>()?);
    let (window, count) = (next()?.parse::<usize>()?, next()?.parse::<usize>()?);
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let done = Arc::new(AtomicUsize::new(0));
    let permits = Arc::new(Semaphore::new(window));
    let (mut started, mut targets) = (Vec::new(), Vec::new());
    for number in 0..agents {
        let name = format!("agent-{number}");
        let completer = Completer { window: Arc::clone(&permits), done: Arc::clone(&done) };
        let agent = broker.agent(&name).workers(1..=1).prefetch(2048).on_message(completer);
        started.push(agent.start().await?);
        targets.push(Destination::agent(&name)?);
    }
    let session = broker.session().await?;
    match what.as_str() {
        "oneway" => one_way(&session, &targets, &permits, count).await?,
        "request" => requests(&session, &targets, window, count).await?,
        _ => return Err("WHAT is oneway or request".into()),
    }
    for agent in started {
        agent.stop().await;
    }
    let done = done.load(Ordering::Relaxed);
    if done != count {
        return Err(format!("{done} messages were handled, not {count}").into());
    }
    Ok(())
}

/// Events, each a batch of its own, whose acceptance nobody waits for.
async fn one_way(
    session: &Session,
    targets: &[Destination],
    window: &Semaphore,
    count: usize,
) -> Result<()> {
    let payload = Payload::from(vec![0; 256]);
    let mut tickets = std::collections::VecDeque::new();
    for number in 0..count {
        window.acquire().await?.forget();
        let to = targets[number % targets.len()].clone();
        let envelope = session.envelope(Kind::Event, to, payload.clone());
        tickets.push_back(session.publish_batch(vec![Arc::new(Publish::new(envelope))]).await?);
        if tickets.len() > 1024 {
            let Some(ticket) = tickets.pop_front() else { continue };
            ticket.await?;
        }
    }
    for ticket in tickets {
        ticket.await?;
    }
    Ok(())
}

/// Requests, as many at once as the window has places.
async fn requests(
    session: &Session,
    targets: &[Destination],
    window: usize,
    count: usize,
) -> Result<()> {
    let mut callers = JoinSet::new();
    for caller in 0..window {
        let (session, to) = (session.clone(), targets[caller % targets.len()].clone());
        let mine = count / window + usize::from(caller < count % window);
        callers.spawn(async move {
            for _ in 0..mine {
                session.request(to.clone(), Payload::from(vec![0; 256])).await?;
            }
            Ok::<(), trunkline_agent::RequestError>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}
