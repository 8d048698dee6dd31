//! Any message is found by its id, where each copy of it is and how it ended, and can be called off.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::time::sleep;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::CopyState::{self, Canceled, Completed, Leased, Parked};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let id = broker.tell("agents:quick,slow".parse::<Destination>()?, "a message").await?.id;
    let is = async |wanted: [CopyState; 2]| -> Result<(), Box<dyn std::error::Error>> {
        for _ in 0..10_000 {
            let copies = broker.message(id).await?.copies;
            if copies.iter().map(|copy| copy.state).eq(wanted) {
                println!("in its inboxes it is {} and {}", wanted[0], wanted[1]);
                return Ok(());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Err(format!("it never was {wanted:?}").into())
    };
    is([Parked, Parked]).await?;
    let quick = broker.agent("quick").on_message(|_: Task| async { Ok(()) });
    let _quick = quick.start().await?;
    is([Completed, Parked]).await?;
    let slow = broker.agent("slow").on_message(|_: Task| async {
        std::future::pending::<HandlerResult<()>>().await // dropped when it is called off
    });
    let _slow = slow.start().await?;
    is([Completed, Leased]).await?;
    broker.cancel(id, "takes too long").await?;
    is([Completed, Canceled]).await?;
    Ok(())
}
