//! A broker in this process, an agent that counts words, and a request to it.
//!
//! `cargo run -p trunkline-agent --example in_process`

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

fn word_count(payload: &Payload) -> usize {
    payload.to_text().split_whitespace().count()
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let counter = broker
        .agent("counter")
        .description("Counts the words of a text")
        .skill(
            "count-words",
            |task: Task| async move { Ok(word_count(task.payload()).to_string()) },
        )
        .workers(1..=8)
        .start()
        .await?;

    let text = "the quick brown fox jumps over the lazy dog";
    let reply = broker
        .request(Destination::skill("count-words")?, text)
        .timeout(Duration::from_mins(1))
        .await?;
    println!("{} words", reply.text());
    assert_eq!(reply.text(), "9");

    counter.stop().await;
    Ok(())
}
