//! Which agent gets what: a policy for each skill, which can be changed while it is at work.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::{collections::BTreeMap, time::Duration};
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{InboxChange, Routing};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let mut agents = Vec::new();
    for id in ["ann", "bob", "eve"] {
        let agent = broker.agent(id).skill("work", move |_: Task| async move { Ok(id) });
        agents.push(agent.start().await?);
    }
    for &policy in Routing::ALL {
        let change = InboxChange::default().routing(policy);
        broker.set_inbox("skill:work".parse()?, change).await?;
        let mut shares = BTreeMap::<String, usize>::new();
        for _ in 0..60 {
            let request = broker.request(Destination::skill("work")?, "");
            let request = request.ordering_key("customer-9".parse()?);
            let reply = request.timeout(Duration::from_mins(1)).await?;
            *shares.entry(reply.text().into_owned()).or_default() += 1;
        }
        println!("{policy}: {shares:?}");
        match policy {
            Routing::RoundRobin => assert!(shares.values().all(|&share| share == 20)),
            Routing::ConsistentHash => assert_eq!(shares.len(), 1, "a key stays with its agent"),
            _ => assert_eq!(shares.values().sum::<usize>(), 60),
        }
    }
    Ok(())
}
