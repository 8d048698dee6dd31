//! A time to live counts in the queue, and is the deadline of the handler.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::FailureCode;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let skill = Destination::skill("ponder")?;
    let ask = || broker.send(skill.clone(), "").ttl(Duration::from_millis(200));

    // Nobody is there to do it in time.
    let Err(RequestError::Failed(failure)) = ask().wait().await else { return Err("done?".into()) };
    println!("without an agent: {failure}");
    assert_eq!(failure.code, FailureCode::Expired);

    let agent = broker.agent("thinker").skill("ponder", |task: Task| async move {
        let remaining = task.remaining().ok_or_else(|| HandlerError::fail("no deadline"))?;
        println!("the handler has {remaining:?}");
        std::future::pending::<()>().await; // dropped at the deadline
        Ok(())
    });
    let agent = agent.start().await?;
    let Err(RequestError::Failed(failure)) = ask().wait().await else { return Err("done?".into()) };
    println!("with an agent: {failure}");
    assert_eq!(failure.code, FailureCode::Expired);
    assert_eq!(broker.session().await?.stats().await?.counters.expired, 2);
    agent.stop().await; // nothing is at work any more
    Ok(())
}
