//! The directory: who is there by what they say of themselves, and news of who joins, changes,
//! leaves. Whoever comes late gets a snapshot first.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::time::timeout;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::AgentEvent::{Changed, Gone, Joined, Left, Present};
use trunkline_types::{AgentChange, AgentFilter};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let card = |id| broker.agent(id).agent_type("biller").capability("refunds");
    let ann = card("ann").label("tier", "gold").region("north").start().await?;
    let filter = AgentFilter { agent_type: Some("biller".into()), ..AgentFilter::default() };
    let mut watch = broker.watch_agents(filter.clone()).await?;
    let bob = card("bob").label("tier", "basic").start().await?;
    let gold = AgentFilter { labels: vec![("tier".into(), "gold".into())], ..filter };
    assert_eq!(broker.agents(gold).await?.agents[0].card.id.as_str(), "ann");

    let weight = AgentChange::default().weight(7);
    broker.set_agent(ann.id().clone(), weight).await?;
    drop(bob); // it leaves
    broker.unregister("bob".parse()?).await?;
    for expected in
        [("ann", Present), ("bob", Joined), ("ann", Changed), ("bob", Left), ("bob", Gone)]
    {
        let news = timeout(Duration::from_mins(1), watch.next()).await?.ok_or("no more")?;
        println!("{}: {}, now {}", news.event, news.agent.card.id, news.agent.presence);
        assert_eq!((news.agent.card.id.as_str(), news.event), expected);
    }
    Ok(())
}
