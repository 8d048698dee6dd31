//! Events: a session that listens, and an agent whose subscription is kept while it is away.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    // Belongs to the session: events come as they are, and are gone with it.
    let mut done = broker.subscribe("build.*.done".parse()?).await?;
    // Belongs to the agent: events come to its inbox like any other work.
    let (heard, mut hears) = mpsc::unbounded_channel();
    let agent = broker.agent("archivist").on_event("build.>", move |task: Task| {
        let heard = heard.clone();
        async move { Ok(heard.send(task.text().into_owned())?) }
    });
    let _agent = agent.workers(1..=1).start().await?;
    broker.publish("build.linux.started".parse()?, "first").await?;
    let accepted = broker.publish("build.linux.done".parse()?, "second").await?;
    assert_eq!(accepted.targets, 2);

    let soon = Duration::from_mins(1);
    let event = timeout(soon, done.next()).await?.ok_or("the session ended")?;
    println!("the session has '{}'", event.payload().to_text());
    assert_eq!(event.topic().map(Topic::as_str), Some("build.linux.done"));
    for expected in ["first", "second"] {
        let text = timeout(soon, hears.recv()).await?.ok_or("no more")?;
        println!("the agent has '{text}'");
        assert_eq!(text, expected);
    }
    Ok(())
}
