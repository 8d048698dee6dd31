//! Where messages go: to one agent, to several, to whoever has a skill, to all but the sender.
//! Topics are in `publish_subscribe.rs`.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let (heard, mut hears) = mpsc::unbounded_channel();
    let mut agents = Vec::new();
    for id in ["ann", "bob", "eve"] {
        let heard = heard.clone();
        let hear = move |task: Task| {
            let heard = heard.clone();
            async move { Ok(heard.send((id, task.text().into_owned()))?) }
        };
        let agent = broker.agent(id).on_message(hear.clone()).skill("listen", hear);
        agents.push(agent.start().await?);
    }
    let ann = agents[0].session();
    let one = ann.tell(Destination::agent("bob")?, "one").await?;
    let two = ann.tell("agents:bob,eve".parse::<Destination>()?, "two").await?;
    let any = ann.tell(Destination::skill("listen")?, "anyone").await?;
    let all = ann.broadcast("all").await?;
    assert_eq!([one, two, any, all].map(|acceptance| acceptance.targets), [1, 2, 1, 2]);
    for _ in 0..6 {
        let (id, text) = timeout(Duration::from_mins(1), hears.recv()).await?.ok_or("no more")?;
        println!("{id} hears '{text}'");
        assert!(id != "ann" || text == "anyone", "a broadcast does not come back");
    }
    Ok(())
}
