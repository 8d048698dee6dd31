//! Trace context carried through: who sends a request names its W3C `traceparent`, and every
//! message that comes of it has the same, however many handlers are in between.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let shop = broker.agent("shop").skill("buy", |task: Task| async move {
        // Nothing is said of the trace here: the runtime carries it on.
        Ok(task.request(Destination::skill("pay")?, task.payload().clone()).await?.payload)
    });
    let bank = broker.agent("bank").skill("pay", |task: Task| async move {
        Ok(task.envelope().traceparent.as_deref().unwrap_or("no trace").to_owned())
    });
    let _agents = (shop.start().await?, bank.start().await?);
    let buy = || broker.request(Destination::skill("buy").expect("a name"), "paper");
    for (request, expected) in [(buy().traceparent(TRACE), TRACE), (buy(), "no trace")] {
        let reply = request.timeout(Duration::from_mins(1)).await?;
        println!("the bank saw {}", reply.text());
        assert_eq!(reply.text(), expected);
    }
    // What is no trace context is refused by the broker rather than carried to somebody.
    let refused = buy().traceparent("abc").await.expect_err("it has another form");
    println!("{refused}");
    Ok(())
}
