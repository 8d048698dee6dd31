//! A subscription that wants only some events of its topics, as an expression in CEL says.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::session::Subscription;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let orders = Subscription::new("orders.>".parse()?);
    let filter = "payload.total > 100 && headers.env == 'prod'".parse()?;
    let mut large = broker.subscribe_with(orders.clone().filter(filter)).await?;

    for (env, total, wanted) in [("prod", 50, 0), ("test", 500, 0), ("prod", 500, 1)] {
        let order = Json(BTreeMap::from([("total", total)])).encode()?;
        let accepted = broker.publish("orders.new".parse()?, order).header("env", env).await?;
        println!("an order of {total} in {env} goes to {} subscriber(s)", accepted.targets);
        assert_eq!(accepted.targets, wanted);
    }
    let event = timeout(Duration::from_mins(1), large.next()).await?.ok_or("no more")?;
    assert_eq!(event.json::<BTreeMap<String, u32>>()?["total"], 500);

    // What does not compile is refused when it is asked for, with what is wrong.
    let refusal = broker.subscribe_with(orders.filter("payload.total >".parse()?)).await;
    println!("{}", refusal.expect_err("half an expression is none"));
    Ok(())
}
