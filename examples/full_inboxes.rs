//! What happens when an inbox is full: it refuses, drops the oldest event, or has the sender wait.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use tokio::time::{Duration, timeout};
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{CopyState, InboxAddress, InboxChange, RefusalCode, WhenFull};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let inbox: InboxAddress = "skill:log".parse()?;
    let tell = |text: &str| broker.tell(Destination::skill("log").expect("a name"), text);
    let set = |when_full| {
        let change = InboxChange::default().when_full(when_full).limit(2);
        broker.set_inbox(inbox.clone(), change)
    };
    set(WhenFull::Reject).await?;
    let oldest = tell("one").await?.id;
    tell("two").await?;
    let refusal = tell("three").await.expect_err("two is the limit");
    println!("{refusal}; come back in {:?}", refusal.retry_after);
    assert_eq!(refusal.code, RefusalCode::InboxFull);

    set(WhenFull::DropOldest).await?;
    tell("three").await?;
    println!("'one' is {}", broker.message(oldest).await?.copies[0].state);
    assert_eq!(broker.message(oldest).await?.copies[0].state, CopyState::Dropped);

    set(WhenFull::Wait).await?;
    let mut waits = tokio::spawn(tell("four").into_future());
    assert!(timeout(Duration::from_millis(100), &mut waits).await.is_err());
    println!("'four' waits outside until somebody makes room");
    let agent = broker.agent("logger").skill("log", |_: Task| async { Ok(()) });
    let _agent = agent.start().await?;
    assert_eq!(waits.await??.targets, 1);
    Ok(())
}
