//! A bound on how long a handler may run, although its lease is kept alive all the while. Then it is
//! dropped, and the attempt has failed.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let agent = broker.agent("dreamer").skill("dream", |task: Task| async move {
        println!("attempt {} begins", task.attempt());
        if task.attempt() == 1 {
            std::future::pending::<()>().await;
        }
        Ok("awake")
    });
    let _agent = agent.start().await?;
    let session = broker.session().await?;
    let send = session.send(Destination::skill("dream")?, "").max_run(Duration::from_millis(500));
    let id = send.id();
    let reply = send.wait_at_most(Duration::from_mins(1)).wait().await?;
    let task = session.task(id).await?;
    let failed = &task.notes[0];
    println!("attempt {} ended: {}; then: {}", failed.attempt, failed.reason, reply.text());
    assert!(reply.text() == "awake" && task.attempts > 1);
    assert!(failed.reason.contains("500ms"));
    Ok(())
}
