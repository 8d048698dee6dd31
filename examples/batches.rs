//! A handler that takes several deliveries at once, and lingers for fuller batches. Each delivery
//! has a result of its own.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::{Handler, batch, prelude::*};
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let insert = batch(10, |tasks: Vec<Task>| async move {
        println!("inserts {} rows at once", tasks.len());
        let insert = |task: &Task| match task.text().parse::<u32>()? {
            13 => Err(HandlerError::fail("13 is not allowed")),
            row => Ok(format!("row {row}")),
        };
        tasks.iter().map(insert).collect()
    });
    // One batch at a time, however many workers there are.
    let insert = insert.linger(Duration::from_millis(200)).parallel(1);
    let agent = broker.agent("database").skill("insert", insert).start().await?;

    let send =
        |row: u32| broker.send(Destination::skill("insert").expect("a name"), row.to_string());
    let results: Vec<_> = (1..=25).map(|row| tokio::spawn(send(row).wait())).collect();
    let mut failed = 0;
    for result in results {
        failed += usize::from(result.await?.is_err());
    }
    let stats = agent.stats();
    println!("{} rows in {} batches, {failed} failed", stats.handled, stats.batches);
    assert_eq!((stats.handled, failed), (25, 1));
    assert!(stats.batches < 25);
    Ok(())
}
