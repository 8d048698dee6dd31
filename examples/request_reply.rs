//! A handler that itself asks, even the agent that it belongs to: while it awaits the reply it
//! lends its only worker, so nothing waits for ever.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let agent =
        broker.agent("calculator").workers(1..=1).skill("factorial", |task: Task| async move {
            let n: u64 = task.text().parse()?;
            if n > 20 {
                // Trying again would not help.
                return Err(HandlerError::fail(format!("{n}! needs more than 64 bits")));
            }
            if n < 2 {
                return Ok("1".to_owned());
            }
            let smaller = task.request(Destination::skill("factorial")?, (n - 1).to_string());
            let smaller: u64 = smaller.await?.text().parse()?;
            Ok((n * smaller).to_string())
        });
    let _agent = agent.start().await?;
    let ask = |n: &str| {
        let skill = Destination::skill("factorial").expect("a name");
        broker.request(skill, n.to_owned()).timeout(Duration::from_mins(1))
    };
    println!("10! is {}", ask("10").await?.text());
    assert_eq!(ask("10").await?.text(), "3628800");
    let error = ask("21").await.expect_err("21! does not fit");
    println!("{error}");
    assert!(error.to_string().contains("more than 64 bits"));
    Ok(())
}
