//! A session of the agent runtime over the client, the real server and the real broker, with a
//! connection that breaks between them.

use crate::real::{LOOPBACK, Running};
use crate::sink::PATIENCE;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use trunkline_agent::prelude::*;
use trunkline_types::{TaskEventBody, TaskState, TaskUpdate};

/// Carries connections to a broker until they are cut.
struct Wire {
    address: SocketAddr,
    cut: watch::Sender<()>,
}

impl Wire {
    async fn to(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind(LOOPBACK).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(());
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut is_cut = is_cut.clone();
                is_cut.mark_unchanged();
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(broker).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_cut.changed() => {}
                    }
                });
            }
        });
        Self { address, cut }
    }
}

/// The next state that a watcher is told.
async fn state(updates: &mut trunkline_agent::TaskUpdates) -> TaskState {
    loop {
        let update = timeout(PATIENCE, updates.next()).await.expect("told in time");
        if let TaskUpdate::Event(event) = update.unwrap().unwrap()
            && let TaskEventBody::Status { state, .. } = event.body
        {
            return state;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_after_its_connection_was_lost() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(LOOPBACK, data.path()).await;
    let wire = Wire::to(running.address).await;
    let (finish, gate) = mpsc::channel::<()>(1);
    let gate = std::sync::Arc::new(tokio::sync::Mutex::new(gate));
    let agent = running
        .client()
        .agent("worker")
        .skill("s", move |_: Task| {
            let gate = gate.clone();
            async move {
                gate.lock().await.recv().await;
                Ok("done")
            }
        })
        .start()
        .await
        .unwrap();
    let session = Running::client_at(wire.address).session().await.unwrap();
    let task = session.send(Destination::skill("s").unwrap(), "x").await.unwrap().id;
    let mut updates = session.watch(task, 0).await.unwrap();
    while state(&mut updates).await != TaskState::Working {}

    wire.cut.send(()).unwrap();
    // Comes over the new connection.
    session.send(Destination::topic("t").unwrap(), "x").await.unwrap();
    finish.send(()).await.unwrap();
    assert_eq!(state(&mut updates).await, TaskState::Completed);
    drop(updates);
    session.close();
    agent.stop().await;
    running.stop().await;
}
