//! A subscriber that is too slow misses events, and is told how many and among which numbers.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use trunkline_agent::SessionOptions;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::WhenFull;
use trunkline_types::session::Subscription;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = BrokerConfig::ephemeral();
    config.engine.inbox_ephemeral = 3; // events that wait for one session at the broker
    let broker = Broker::open(config).await?;
    let options = SessionOptions { events: 2, ..SessionOptions::default() };
    let session = broker.session_with(options).await?;
    let latest = Subscription {
        when_full: WhenFull::DropOldest, // the newest are the ones of interest
        ..Subscription::new("prices.>".parse()?)
    };
    let mut prices = session.subscribe_with(latest).await?;
    for price in 1..=10 {
        broker.publish("prices.paper".parse()?, price.to_string()).await?;
    }
    let (mut seen, mut missed) = (Vec::new(), 0);
    while seen.last().is_none_or(|last| last != "10") {
        let event = prices.next().await.ok_or("the session ended")?;
        if let Some(numbers) = event.numbers {
            println!("missed {} of numbers {} to {}", event.missed, numbers.first, numbers.last);
        }
        missed += event.missed;
        seen.push(event.text().into_owned());
    }
    println!("seen: {seen:?}");
    assert_eq!(seen.len() as u64 + missed, 10);
    assert!(missed > 0);
    Ok(())
}
