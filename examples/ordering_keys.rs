//! What has the same ordering key is handled strictly in order, one at a time, while other keys go
//! on beside it.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::{collections::BTreeMap, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let (done, mut order) = mpsc::unbounded_channel();
    let agent = broker.agent("teller").workers(1..=8).skill("book", move |task: Task| {
        let done = done.clone();
        async move {
            let (customer, number): (String, u64) = task.json()?;
            tokio::time::sleep(Duration::from_millis(50 / number)).await; // ever quicker
            Ok(done.send((customer, number))?)
        }
    });
    let _agent = agent.start().await?;
    for number in 1..=5 {
        for customer in ["ann", "bob", "eve"] {
            let booking = Json((customer, number)).encode()?;
            let send = broker.send(Destination::skill("book")?, booking);
            send.ordering_key(customer.parse()?).await?;
        }
    }
    let mut booked = BTreeMap::<String, Vec<u64>>::new();
    for _ in 0..15 {
        let next = timeout(Duration::from_mins(1), order.recv()).await?.ok_or("no more")?;
        booked.entry(next.0).or_default().push(next.1);
    }
    println!("{booked:?}");
    assert!(booked.values().all(|numbers| *numbers == [1, 2, 3, 4, 5]));
    Ok(())
}
