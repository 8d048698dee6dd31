//! Priorities share deliveries by their weights while all have work, so that the urgent goes first
//! and nothing starves.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = BrokerConfig::ephemeral();
    config.engine.priority_weights = [1, 2, 3, 6]; // low, normal, high, urgent
    let broker = Broker::open(config).await?;
    for &priority in Priority::ALL {
        for _ in 0..12 {
            let send = broker.send(Destination::skill("work")?, priority.as_str());
            send.priority(priority).await?;
        }
    }
    let (done, mut order) = mpsc::unbounded_channel();
    let agent = broker.agent("worker").workers(1..=1).skill("work", move |task: Task| {
        let done = done.clone();
        async move { Ok(done.send(task.text().into_owned())?) }
    });
    let _agent = agent.start().await?;
    let mut first = Vec::new();
    while first.len() < 12 {
        first.push(timeout(Duration::from_mins(1), order.recv()).await?.ok_or("no more")?);
    }
    println!("the first twelve: {}", first.join(" "));
    let share = |word| first.iter().filter(|said| *said == word).count();
    assert_eq!(["low", "normal", "high", "urgent"].map(share), [1, 2, 3, 6]);
    Ok(())
}
