//! Agents beside each other at a broker in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Semaphore;
use trunkline_agent::batch;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::Destination;

async fn broker() -> Broker {
    Broker::open(BrokerConfig::ephemeral()).await.unwrap()
}

fn skill(name: &str) -> Destination {
    Destination::skill(name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_agent_keeps_no_work_from_a_fast_one() {
    let broker = broker().await;
    let open = Arc::new(Semaphore::new(0));
    let begun = Arc::new(AtomicU32::new(0));
    let (gate, count) = (Arc::clone(&open), Arc::clone(&begun));
    let slow = broker.agent("slow").skill("s", move |_: Task| {
        let (gate, count) = (Arc::clone(&gate), Arc::clone(&count));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            gate.acquire().await?.forget();
            Ok(())
        }
    });
    let slow = slow.workers(1..=2).start().await.unwrap();
    let session = broker.session().await.unwrap();
    // The slow one has its hands full before the fast one is there.
    let mut results: Vec<_> =
        (0..2).map(|_| tokio::spawn(session.send(skill("s"), "x").wait())).collect();
    while begun.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let fast = broker.agent("fast").skill("s", |_: Task| async move { Ok(()) });
    let fast = fast.start().await.unwrap();
    let rest = (0..500).map(|_| tokio::spawn(session.send(skill("s"), "x").wait()));
    for result in rest.collect::<Vec<_>>() {
        result.await.unwrap().unwrap();
    }
    assert_eq!((slow.stats().completed, slow.stats().queued), (0, 0));
    assert_eq!(fast.stats().completed, 500);
    open.add_permits(2);
    for result in results.drain(..) {
        result.await.unwrap().unwrap();
    }
    assert_eq!(slow.stats().completed, 2);
}

#[tokio::test]
async fn a_broker_hands_out_whole_batches() {
    let broker = broker().await;
    let session = broker.session().await.unwrap();
    let sends: Vec<_> =
        (0..64).map(|number| session.send(skill("s"), number.to_string())).collect();
    let mut ids = Vec::new();
    for send in sends {
        ids.push(send.await.unwrap().id);
    }
    let echo = |tasks: Vec<Task>| async move {
        tasks.iter().map(|task| Ok(task.payload().clone())).collect::<Vec<_>>()
    };
    // What waited for the agent comes to it sixteen at a time.
    let agent = broker.agent("a").skill("s", batch(16, echo)).workers(1..=1);
    let agent = agent.start().await.unwrap();
    for (number, id) in ids.into_iter().enumerate() {
        loop {
            if let Some(outcome) = session.task(id).await.unwrap().outcome() {
                assert_eq!(outcome.unwrap().to_text(), number.to_string());
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let stats = agent.stats();
    assert_eq!(stats.completed, 64);
    assert!(stats.batches < 64, "{} batches", stats.batches);
    agent.stop().await;
}
