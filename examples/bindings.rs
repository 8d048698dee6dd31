//! A priority bound to a label: what is urgent goes only to the agents that carry it, and waits for
//! them if there are none.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{Binding, InboxChange};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let urgent = Binding { priority: Priority::Urgent, key: "tier".into(), value: "gold".into() };
    let change = InboxChange::default().bindings([urgent]);
    broker.set_inbox("skill:help".parse()?, change).await?;

    let answer =
        |id: &'static str| broker.agent(id).skill("help", move |_: Task| async move { Ok(id) });
    let _trainee = answer("trainee").label("tier", "basic").start().await?;
    let ask = |priority| {
        let request = broker.request(Destination::skill("help").expect("a name"), "");
        request.priority(priority)
    };
    assert_eq!(ask(Priority::Normal).await?.text(), "trainee");
    let nobody = ask(Priority::Urgent).timeout(Duration::from_millis(500)).await;
    let nobody = nobody.expect_err("there is no gold");
    println!("urgent, with the trainee alone: {nobody}");

    let _expert = answer("expert").label("tier", "gold").start().await?;
    for _ in 0..20 {
        assert_eq!(ask(Priority::Urgent).await?.text(), "expert");
    }
    println!("urgent, with the expert there: answered");
    Ok(())
}
