//! Workers that become more while work waits, what each of them has done, and one that panics
//! without losing anything.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::time::sleep;
use trunkline_agent::{Profile, prelude::*};
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let agent = broker.agent("painter").skill("paint", |task: Task| async move {
        assert!(task.text() != "7" || task.attempt() > 1, "the paint is spilt");
        sleep(Duration::from_millis(20)).await;
        Ok(())
    });
    // The settings of a profile go together; what is set after it goes before.
    let agent = agent.profile(Profile::Remote).workers(1..=4).start().await?;
    assert_eq!(agent.stats().workers.len(), 1);
    for number in 1..=40 {
        broker.send(Destination::skill("paint")?, number.to_string()).await?;
    }
    for _ in 0..10_000 {
        if agent.stats().completed < 40 {
            sleep(Duration::from_millis(5)).await;
        }
    }
    let stats = agent.stats();
    for it in &stats.workers {
        let (done, errors, busy) = (it.messages, it.errors, it.busy_share() * 100.0);
        println!("worker {}: {done} done, {errors} errors, {busy:.0} % busy", it.number);
    }
    assert_eq!((stats.workers.len(), stats.panics, stats.retried), (4, 1, 1));
    Ok(())
}
