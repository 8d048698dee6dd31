//! Watchers that come and go: each takes up where it was cut off, and sees every event once.

use crate::real::{LOOPBACK, Running};
use crate::sink::PATIENCE;
use fastrand::Rng;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use trunkline_agent::prelude::*;
use trunkline_proto::v1;
use trunkline_proto::v1::broker_client::BrokerClient;
use trunkline_types::{MessageId, TaskEventBody, TaskUpdate};

/// How often watchers are cut off, all together.
const CUTS: u64 = 10_000;
const TASKS: u32 = 4;
/// How many watch each task.
const WATCHERS: u32 = 6;

/// The events besides the pieces: submitted, working and completed.
const STATES: u64 = 3;

/// What one watcher has seen of its task.
struct Watcher {
    address: SocketAddr,
    task: MessageId,
    seen: u64,
    channel: Option<Channel>,
    random: Rng,
}

impl Watcher {
    async fn channel(&mut self) -> Channel {
        if self.channel.is_none() {
            let url = format!("http://{}", self.address);
            self.channel = Some(Endpoint::new(url).unwrap().connect().await.unwrap());
        }
        self.channel.clone().unwrap()
    }

    /// Watches on from what it has seen until `cut` is over. Returns whether it saw the end.
    async fn watch(&mut self, cut: impl Future<Output = ()>) -> bool {
        let mut client = BrokerClient::new(self.channel().await);
        let request =
            v1::WatchTaskRequest { id: self.task.to_bytes().to_vec().into(), after: self.seen };
        let follow = async {
            let mut updates = client.watch_task(request).await.unwrap().into_inner();
            while let Some(update) = updates.message().await.unwrap() {
                match TaskUpdate::try_from(update).unwrap() {
                    TaskUpdate::Event(event) => {
                        assert_eq!(event.number, self.seen + 1, "each event comes once, in order");
                        self.seen = event.number;
                        if let TaskEventBody::Status { state, .. } = event.body
                            && state.is_terminal()
                        {
                            return true;
                        }
                    }
                    TaskUpdate::Gap { first, last } => panic!("{first} to {last} are gone"),
                    TaskUpdate::Progress(_) => {}
                }
            }
            panic!("the watch ended before the task");
        };
        tokio::select! {
            ended = follow => ended,
            () = cut => false,
        }
    }

    /// Cuts itself off at random, now the stream alone, now the whole connection, until all cuts
    /// are made; then sees its task to its end. Returns the number of the last event.
    async fn run(mut self, cuts: Arc<AtomicU64>, pieces: Arc<Semaphore>) -> u64 {
        while cuts.fetch_add(1, Ordering::Relaxed) < CUTS {
            let span = Duration::from_micros(self.random.u64(..3_000));
            if self.watch(tokio::time::sleep(span)).await {
                // Others made the last cut meanwhile, and the task went on to its end.
                return self.seen;
            }
            if self.random.bool() {
                self.channel = None;
            }
            pieces.add_permits(1);
        }
        pieces.close();
        timeout(PATIENCE, self.watch(std::future::pending())).await.expect("the task ends");
        self.seen
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_cuts_cost_no_watcher_an_event() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(LOOPBACK, data.path()).await;
    let pieces = Arc::new(Semaphore::new(0));
    let written: Arc<Mutex<HashMap<MessageId, u64>>> = Arc::default();
    let (fuel, pen) = (Arc::clone(&pieces), Arc::clone(&written));
    let agent = running
        .client()
        .agent("writer")
        .workers(TASKS..=TASKS)
        .skill("write", move |task: Task| {
            let (fuel, pen) = (Arc::clone(&fuel), Arc::clone(&pen));
            async move {
                // At most one piece for each cut, until there will be no more.
                while let Ok(permit) = fuel.acquire().await {
                    permit.forget();
                    task.artifact("text", "a line\n", true, false).await.unwrap();
                    *pen.lock().unwrap().entry(task.id()).or_default() += 1;
                }
                Ok("written")
            }
        })
        .start()
        .await
        .unwrap();
    let session = running.client().session().await.unwrap();
    let cuts = Arc::new(AtomicU64::new(0));
    let mut watchers = JoinSet::new();
    for number in 0..TASKS {
        let task = session.send(Destination::skill("write").unwrap(), "x").await.unwrap().id;
        for twin in 0..WATCHERS {
            let watcher = Watcher {
                address: running.address,
                task,
                seen: 0,
                channel: None,
                random: Rng::with_seed((number * WATCHERS + twin).into()),
            };
            let (cuts, pieces) = (Arc::clone(&cuts), Arc::clone(&pieces));
            watchers.spawn(async move { (task, watcher.run(cuts, pieces).await) });
        }
    }
    let ends = watchers.join_all().await;
    let written = written.lock().unwrap().clone();
    for (task, end) in &ends {
        assert_eq!(*end, written[task] + STATES, "{task}");
    }
    session.close();
    agent.stop().await;
    running.stop().await;
}
