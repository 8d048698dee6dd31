//! How many sessions are welcomed at the same time, and what becomes of the others.

use super::bench::{Bench, Session, config, hello, soon};
use crate::ServerConfig;
use tokio::task::{JoinHandle, JoinSet};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use trunkline_types::SessionId;
use trunkline_types::session::Hello;

fn numbered(session: u128) -> Hello {
    Hello { session: SessionId(session), ..hello() }
}

async fn opening(bench: &Bench, session: u128) -> JoinHandle<Result<Session, Status>> {
    let client = bench.client().await;
    tokio::spawn(Session::open(client, [numbered(session).into()]))
}

/// Waits until so many sessions wait to be welcomed.
async fn until_waiting(bench: &Bench, count: usize) {
    let line = format!("trunkline_welcomes_waiting {count}\n");
    soon(async { while !bench.get("/metrics").await.contains(&line) {} }).await;
}

#[tokio::test]
async fn no_more_sessions_are_welcomed_at_once_than_are_set_and_the_others_in_their_order() {
    let (bench, broker, mut script) = Bench::start(ServerConfig { welcomes: 2, ..config() });
    broker.set_welcoming(false);
    let mut all = Vec::new();
    for session in 1..=2 {
        all.push(opening(&bench, session).await);
        assert_eq!(soon(script.session()).await.hello.session, SessionId(session));
    }
    for session in 3..=5 {
        all.push(opening(&bench, session).await);
        until_waiting(&bench, all.len() - 2).await;
    }
    assert!(!script.has_session(), "the broker has seen no more than two");
    // One that gives up is passed over.
    all.remove(3).abort();
    until_waiting(&bench, 2).await;
    broker.set_welcoming(true);
    for session in [3, 5] {
        assert_eq!(soon(script.session()).await.hello.session, SessionId(session));
    }
    for session in all {
        assert_eq!(soon(session).await.unwrap().unwrap().welcome.epoch, 3);
    }
    until_waiting(&bench, 0).await;
}

#[tokio::test]
async fn whoever_comes_when_enough_wait_is_told_when_to_come_back() {
    let settings = ServerConfig { welcomes: 1, welcomes_waiting: 1, ..config() };
    let (bench, broker, mut script) = Bench::start(settings);
    broker.set_welcoming(false);
    let first = opening(&bench, 1).await;
    soon(script.session()).await;
    let mut others = JoinSet::new();
    for session in 2..=3 {
        let client = bench.client().await;
        others.spawn(Session::open(client, [numbered(session).into()]));
    }
    // One of the two waits, whichever it is.
    let refused = soon(others.join_next()).await.unwrap().unwrap();
    let Err(status) = refused else { panic!("it was welcomed") };
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("1 sessions are being welcomed and 1 wait"), "{status}");
    let told = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((500..1_500).contains(&told.as_millis()), "{told:?}");
    assert!(!script.has_session());
    assert!(bench.get("/metrics").await.contains("trunkline_sessions_put_off_total 1\n"));
    broker.set_welcoming(true);
    assert!(soon(first).await.unwrap().is_ok());
    assert!(soon(others.join_next()).await.unwrap().unwrap().is_ok());
}
