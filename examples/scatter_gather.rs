//! One request, several answers: all of them, the first, or a quorum, by a deadline. Who is missing
//! is named.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::GatherRule;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let mut agents = Vec::new();
    for (id, price, takes) in [("ann", "12", 1), ("bob", "11", 20), ("eve", "10", 3_600_000)] {
        let agent = broker.agent(id).skill("quote", move |_: Task| async move {
            tokio::time::sleep(Duration::from_millis(takes)).await;
            Ok(price)
        });
        agents.push(agent.start().await?);
    }
    for rule in [GatherRule::First, GatherRule::Quorum(2), GatherRule::All] {
        let seconds = if rule == GatherRule::All { 1 } else { 60 };
        let gather = broker.gather(Destination::skill("quote")?, "a lamp").rule(rule);
        let gathered = gather.timeout(Duration::from_secs(seconds)).await?;
        println!("{rule:?}: complete: {}", gathered.complete);
        for (agent, answer) in gathered.answers() {
            println!("  {agent} wants {}", answer.to_text());
        }
        for (agent, failure) in gathered.missing() {
            println!("  {agent} is missing: {failure}");
        }
        assert_eq!(gathered.complete, rule != GatherRule::All);
        assert!(gathered.missing().any(|(agent, _)| agent.as_str() == "eve"));
    }
    Ok(())
}
