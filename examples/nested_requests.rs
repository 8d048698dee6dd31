//! A handler that asks lends its worker meanwhile, so that agents may ask each other in circles.
//! Only a request that would wait for itself is refused, at once and with the chain that led to it.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let mut agents = Vec::new();
    for (own, other) in [("ping", "pong"), ("pong", "ping")] {
        let agent = broker.agent(own).workers(1..=1).skill(own, move |task: Task| async move {
            let rest = task.text().split_once(' ').map(|(_, rest)| rest.to_owned());
            let Some(rest) = rest else { return Ok(own.to_owned()) };
            let mut request = task.request(Destination::skill(other)?, rest);
            if let Some(key) = &task.envelope().ordering_key {
                request = request.ordering_key(key.clone());
            }
            Ok(format!("{own} {}", request.await?.text()))
        });
        agents.push(agent.start().await?);
    }
    let ask = || broker.request(Destination::skill("ping").expect("a name"), "1 2 3 4");
    let reply = ask().timeout(Duration::from_mins(1)).await?;
    println!("{}", reply.text());
    assert_eq!(reply.text(), "ping pong ping pong");

    // With one key the third would wait for the first, which waits for it.
    let keyed = ask().ordering_key("k".parse()?).timeout(Duration::from_mins(1)).await;
    let error = keyed.expect_err("it waits for itself");
    println!("{error}");
    assert!(error.to_string().contains("would wait for itself: ping"));
    Ok(())
}
