//! Nobody is there: what is sent is parked until somebody comes, or refused, as the sender likes;
//! either way the sender is told.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{Absent, RefusalCode};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let tell = |text| broker.tell(Destination::agent("ann").expect("a name"), text);
    let refusal = tell("now or never").absent(Absent::Fail).await.expect_err("she is not there");
    println!("{refusal}");
    assert_eq!(refusal.code, RefusalCode::NobodyThere);
    assert_eq!(tell("a message").await?.parked, 1);

    // An event goes nowhere if nobody wants it, unless it is to wait for its first subscriber.
    let news = || broker.publish("news".parse().expect("a topic"), "an event");
    assert_eq!((news().await?.targets, news().await?.parked), (0, 0));
    assert_eq!(news().absent(Absent::Park).ttl(Duration::from_mins(1)).await?.parked, 1);

    let (heard, mut hears) = mpsc::unbounded_channel();
    let hear = move |task: Task| {
        let heard = heard.clone();
        async move { Ok(heard.send(task.text().into_owned())?) }
    };
    let ann = broker.agent("ann").on_message(hear.clone()).on_event("news", hear).start().await?;
    let soon = Duration::from_mins(1);
    let two = [timeout(soon, hears.recv()).await?, timeout(soon, hears.recv()).await?];
    println!("{} hears {two:?}", ann.id());
    assert!(["a message", "an event"].iter().all(|text| two.contains(&Some((*text).to_owned()))));
    Ok(())
}
