//! A group of subscriptions shares the events: each goes to one of its members, and to everybody
//! who is in no group.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::time::timeout;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::session::Subscription;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let alone = Subscription::new("jobs.>".parse()?);
    let member = alone.clone().group("workers".parse()?);
    let mut one = broker.subscribe_with(member.clone()).await?;
    let mut two = broker.subscribe_with(member).await?;
    let mut audit = broker.subscribe_with(alone).await?;

    for number in 1..=10 {
        let accepted = broker.publish("jobs.new".parse()?, number.to_string()).await?;
        assert_eq!(accepted.targets, 2, "one of the group, and the one that is alone");
    }
    for number in 1..=10 {
        let event = timeout(Duration::from_mins(1), audit.next()).await?.ok_or("no more")?;
        assert_eq!(event.text(), number.to_string());
        let (member, event) = tokio::select! {
            event = one.next() => ("one", event),
            event = two.next() => ("two", event),
            () = tokio::time::sleep(Duration::from_mins(1)) => return Err("one is missing".into()),
        };
        println!("{member} has job {}", event.ok_or("no more")?.text());
    }
    assert!(one.try_next().is_none() && two.try_next().is_none());
    Ok(())
}
