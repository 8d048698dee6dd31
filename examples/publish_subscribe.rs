//! Events: a session that listens, and an agent whose subscription is kept while it is away.
//!
//! `cargo run -p trunkline-agent --example publish_subscribe`

use tokio::sync::mpsc;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;

    // Belongs to the session: events come as they are, and are gone with it.
    let session = broker.session().await?;
    let mut done = session.subscribe("build.*.done".parse()?).await?;

    // Belongs to the agent: events come to its inbox like any other work.
    let (heard, mut hears) = mpsc::unbounded_channel();
    let agent = broker
        .agent("archivist")
        .on_event("build.>", move |task: Task| {
            let heard = heard.clone();
            async move {
                heard.send(task.text().into_owned())?;
                Ok(())
            }
        })
        .start()
        .await?;

    broker.publish("build.linux.started".parse()?, "first").await?;
    let accepted = broker.publish("build.linux.done".parse()?, "second").await?;
    assert_eq!(accepted.targets, 2);

    let event = done.next().await.ok_or("the session ended")?;
    assert_eq!(event.topic().map(Topic::as_str), Some("build.linux.done"));
    assert_eq!((event.payload().to_text().as_ref(), event.missed), ("second", 0));
    assert_eq!(hears.recv().await.as_deref(), Some("first"));
    assert_eq!(hears.recv().await.as_deref(), Some("second"));

    agent.stop().await;
    Ok(())
}
