//! A task that takes a while: its progress and artifacts are watched, and another is cancelled.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{TaskEventBody, TaskState, TaskUpdate};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let writer = broker.agent("writer").skill("write", |task: Task| async move {
        for number in 1..=3_u8 {
            let chapter = format!("chapter {number}");
            task.progress(number * 30, chapter.as_str()).await?;
            task.artifact("book", chapter, number > 1, number == 3).await?;
        }
        if task.text() == "for ever" {
            std::future::pending::<()>().await; // dropped once the task is cancelled
        }
        Ok("three chapters")
    });
    let _writer = writer.start().await?;
    let session = broker.session().await?;
    let task = session.send(Destination::skill("write")?, "a book").await?.id;
    let mut updates = session.watch(task, 0).await?;
    while let Some(update) = updates.next().await {
        let TaskUpdate::Event(event) = update? else { continue };
        match event.body {
            TaskEventBody::Artifact(chunk) => println!("{}", chunk.payload.to_text()),
            other => println!("{other:?}"),
        }
    }
    assert_eq!(session.task(task).await?.result, Some("three chapters".into()));
    let endless = session.send(Destination::skill("write")?, "for ever").await?.id;
    session.cancel(endless, "changed my mind").await?;
    assert_eq!(session.task(endless).await?.state, TaskState::Canceled);
    Ok(())
}
