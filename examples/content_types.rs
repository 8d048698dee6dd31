//! Payloads say what they are. `Json` and `MsgPack` turn values into payloads and back, for requests
//! and replies alike.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::{collections::BTreeMap, time::Duration};
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

/// What is ordered, and how many of it.
type Order = BTreeMap<String, u32>;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let count = |order: &Order| order.values().sum::<u32>();
    let agent = broker
        .agent("counter")
        .skill("json", move |task: Task| async move { Ok(Json(count(&task.json::<Order>()?))) })
        .skill("msgpack", move |task: Task| async move { Ok(MsgPack(count(&task.msgpack()?))) })
        .skill("what", |task: Task| async move { Ok(task.payload().content_type.to_string()) });
    let _agent = agent.start().await?;
    let order = Order::from([("lamp".into(), 2), ("chair".into(), 4)]);
    let (json, packed) = (Json(&order).encode()?, MsgPack(&order).encode()?);
    let ask = async |skill, payload: &Payload| {
        let request = broker.request(Destination::skill(skill)?, payload.clone());
        request.timeout(Duration::from_mins(1)).await.map_err(Box::<dyn std::error::Error>::from)
    };
    for payload in [&json, &packed, &Payload::text("hi"), &Payload::new("image/png", vec![0x89])] {
        println!("{} bytes of {}", payload.data.len(), ask("what", payload).await?.text());
    }
    assert_eq!(ask("json", &json).await?.json::<u32>()?, 6);
    assert_eq!(ask("msgpack", &packed).await?.msgpack::<u32>()?, 6);
    Ok(())
}
