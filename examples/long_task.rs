//! A task that takes a while: its progress and artifacts are watched, and another is cancelled.
//!
//! `cargo run -p trunkline-agent --example long_task`

use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{TaskEventBody, TaskState, TaskUpdate};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let agent = broker
        .agent("writer")
        .skill("write", |task: Task| async move {
            for chapter in 1..=3_u8 {
                task.progress(chapter * 30, format!("chapter {chapter}")).await?;
                task.artifact("book", format!("chapter {chapter}\n"), chapter > 1, chapter == 3)
                    .await?;
            }
            if task.text() == "for ever" {
                // Dropped here once the task is cancelled.
                std::future::pending::<()>().await;
            }
            Ok("three chapters")
        })
        .start()
        .await?;

    let session = broker.session().await?;
    let task = session.send(Destination::skill("write")?, "a book").await?.id;
    let (mut book, mut states) = (String::new(), Vec::new());
    let mut updates = session.watch(task, 0).await?;
    while let Some(update) = updates.next().await {
        if let TaskUpdate::Event(event) = update? {
            match event.body {
                TaskEventBody::Status { state, .. } => states.push(state),
                TaskEventBody::Artifact(chunk) => book += &chunk.payload.to_text(),
                TaskEventBody::Message { .. } => {}
            }
        }
    }
    assert_eq!(states.last(), Some(&TaskState::Completed));
    assert_eq!(book, "chapter 1\nchapter 2\nchapter 3\n");
    let result = session.task(task).await?.result.ok_or("a completed task has a result")?;
    assert_eq!(result.to_text(), "three chapters");

    let endless = session.send(Destination::skill("write")?, "for ever").await?.id;
    session.cancel(endless, "changed my mind").await?;
    assert_eq!(session.task(endless).await?.state, TaskState::Canceled);

    agent.stop().await;
    Ok(())
}
