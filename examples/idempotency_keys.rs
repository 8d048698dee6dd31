//! A key under which something is accepted once, however often it is sent: also after a restart of
//! the broker. With other content the key is refused.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::RefusalCode;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let skill = Destination::skill("charge")?;
    let mut ids = Vec::new();
    for start in 1..=2 {
        let broker = Broker::open(BrokerConfig::durable(directory.path())).await?;
        for _ in 0..2 {
            let send = broker.send(skill.clone(), "12 EUR").key("order-7".parse()?);
            let accepted = send.await?;
            println!("start {start}: {}, a repeat: {}", accepted.id, accepted.duplicate);
            assert_eq!(accepted.duplicate, !ids.is_empty());
            ids.push(accepted.id);
        }
        let other = broker.send(skill.clone(), "99 EUR").key("order-7".parse()?).await;
        let refusal = other.expect_err("the key stands for 12 EUR");
        println!("start {start}: {refusal}");
        assert_eq!(refusal.code, RefusalCode::KeyReused);
        broker.drain(Duration::ZERO).await;
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    Ok(())
}
