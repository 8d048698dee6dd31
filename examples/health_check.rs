//! An agent that checks itself: while the check fails it gets no work, which waits or goes to
//! others, and when it passes again it does.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let disk = Arc::new(AtomicBool::new(false));
    let looked_at = Arc::clone(&disk);
    let check = move || {
        let there = looked_at.load(SeqCst);
        async move { if there { Ok(()) } else { Err("no disk".to_owned()) } }
    };
    let agent = broker.agent("store").skill("store", |_: Task| async { Ok("stored") });
    let agent = agent.health(check, Duration::from_millis(10)).start().await?;
    while agent.stats().healthy {
        tokio::task::yield_now().await; // until the first check
    }
    println!("fit for work: {}", agent.stats().healthy);
    let store = |span| {
        let request = broker.request(Destination::skill("store").expect("a name"), "");
        request.timeout(span)
    };
    println!("{}", store(Duration::from_millis(200)).await.expect_err("it gets no work"));
    assert_eq!(agent.stats().handled, 0);
    disk.store(true, SeqCst);
    println!("{}", store(Duration::from_mins(1)).await?.text());
    assert_eq!(agent.stats().handled, 1);
    Ok(())
}
