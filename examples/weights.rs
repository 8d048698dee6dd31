//! Weights, health and draining, set from outside while agents are at work.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{AgentChange, RefusalCode, Routing};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = BrokerConfig::ephemeral();
    config.engine.routing = Routing::Weighted;
    let broker = Broker::open(config).await?;
    let start = |id| broker.agent(id).skill("work", move |_: Task| async move { Ok(id) }).start();
    let (_big, small) = (start("big").await?, start("small").await?);
    let share = async |of: &str| -> Result<usize, Box<dyn std::error::Error>> {
        let mut count = 0;
        for _ in 0..200 {
            let request = broker.request(Destination::skill("work")?, "");
            count += usize::from(request.timeout(Duration::from_mins(1)).await?.text() == of);
        }
        println!("{of} has {count} of 200");
        Ok(count)
    };
    let set = |id: &str, change| broker.set_agent(id.parse().expect("a name"), change);
    set("big", AgentChange::default().weight(900)).await?; // 100 is usual
    assert!((120..200).contains(&share("big").await?));
    set("big", AgentChange::default().healthy(false)).await?;
    assert_eq!(share("small").await?, 200);
    set("big", AgentChange::default().healthy(true)).await?;
    set("small", AgentChange::default().draining(true)).await?;
    let reason = tokio::time::timeout(Duration::from_mins(1), small.ended()).await?;
    println!("small leaves: {reason}");
    assert_eq!((reason.code, share("big").await?), (RefusalCode::Draining, 200));
    Ok(())
}
