//! How long a client tries and waits, as its settings say.
//!
//! A span is seen by two clients that differ in nothing else: what must happen to one of them has
//! happened several times while to the other it has not.

use crate::broker::{FakeBroker, hello, welcome};
use crate::sink::{PATIENCE, sink};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;
use trunkline_client::{Client, ClientConfig};
use trunkline_types::session::{Connected, Connector};
use trunkline_types::{Query, RefusalCode};

/// Longer than any test.
const NEVER: Duration = Duration::from_hours(24);

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

#[tokio::test]
async fn a_session_awaits_its_welcome_for_no_longer_than_is_set() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let greet = |connect_timeout| {
        let config = ClientConfig { connect_timeout, ..ClientConfig::new(&url) };
        let client = Client::new(&config).unwrap();
        tokio::spawn(async move { client.connect(hello(), sink().0).await })
    };
    let patient = greet(NEVER);
    for _ in 0..2 {
        let hasty = timeout(PATIENCE, greet(millis(50))).await.expect("it gives up").unwrap();
        assert_eq!(hasty.unwrap_err().code, RefusalCode::Unavailable);
    }
    assert!(!patient.is_finished(), "it has more time");
    patient.abort();
}

/// Only Linux is known to leave whoever comes to a full queue without an answer.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_query_tries_to_connect_for_no_longer_than_is_set() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    // Nobody accepts, and the queue is full soon.
    let _full = socket.listen(1).unwrap();
    let mut queue = tokio::task::JoinSet::new();
    for _ in 0..8 {
        queue.spawn(async move {
            let waiting = TcpSocket::new_v4().unwrap().connect(address).await;
            std::future::pending::<()>().await;
            drop(waiting);
        });
    }
    tokio::task::yield_now().await;
    let ask = |connect_timeout| {
        let url = format!("http://{address}");
        let config = ClientConfig { connect_timeout, ..ClientConfig::new(url) };
        let client = Client::new(&config).unwrap();
        tokio::spawn(async move { client.query(Query::Stats).await })
    };
    let patient = ask(NEVER);
    for _ in 0..2 {
        let hasty = timeout(PATIENCE, ask(millis(50))).await.expect("it gives up").unwrap();
        assert_eq!(hasty.unwrap_err().code, RefusalCode::Unavailable);
    }
    assert!(!patient.is_finished(), "it has more time");
    patient.abort();
}

/// How often a session came to its broker, which welcomes it each time and is gone again.
struct Comings(Arc<AtomicUsize>);

impl Comings {
    async fn of(backoff_min: Duration, backoff_max: Duration) -> Self {
        let mut broker = FakeBroker::start().await;
        let config = ClientConfig { backoff_min, backoff_max, ..broker.config() };
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            let (client, (sink, _ear)) = (Client::new(&config).unwrap(), sink());
            let connecting = tokio::spawn(async move { client.connect(hello(), sink).await });
            broker.accept().await.welcome(&welcome());
            // While this is held the session goes on.
            let Connected { connection, .. } = connecting.await.unwrap().unwrap();
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                broker.accept().await.welcome(&welcome());
                let _ = &connection;
            }
        });
        Self(count)
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    async fn wait_for(&self, count: usize) {
        let come = async {
            while self.count() < count {
                tokio::time::sleep(millis(1)).await;
            }
        };
        timeout(PATIENCE, come).await.expect("it comes back and back");
    }
}

#[tokio::test]
async fn the_first_delay_before_a_client_comes_back_is_as_long_as_is_set() {
    let late = Comings::of(NEVER, NEVER).await;
    late.wait_for(1).await;
    // Far longer than the first delay by default.
    Comings::of(millis(50), millis(50)).await.wait_for(60).await;
    assert_eq!(late.count(), 1, "it is still away");
}

#[tokio::test]
async fn the_delays_double_up_to_the_largest_that_is_set() {
    let doubling = Comings::of(millis(1), NEVER).await;
    Comings::of(millis(1), millis(1)).await.wait_for(50).await;
    let count = doubling.count();
    assert!((2..30).contains(&count), "it came {count} times, and later each time");
}
