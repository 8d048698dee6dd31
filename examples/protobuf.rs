//! Payloads in protobuf: the sender encodes its own messages and says so by the content type; they
//! travel as they are, and whoever takes them decodes them.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use prost::Message;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

/// As a file of one's own, compiled with `prost-build`, would define it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Order {
    #[prost(string, tag = "1")]
    item: String,
    #[prost(uint32, tag = "2")]
    count: u32,
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let protobuf = |order: &Order| Payload::new("application/protobuf", order.encode_to_vec());
    let double = move |task: Task| async move {
        let Order { item, count } = Order::decode(task.payload().data.clone())?;
        Ok(protobuf(&Order { item, count: 2 * count }))
    };
    let _agent = broker.agent("doubler").skill("double", double).start().await?;
    let order = Order { item: "lamp".into(), count: 2 };
    let reply = broker.request(Destination::skill("double")?, protobuf(&order)).await?;
    assert_eq!(reply.payload.content_type, "application/protobuf");
    let doubled = Order::decode(reply.payload.data.clone())?;
    println!("{} {}s became {}", order.count, order.item, doubled.count);
    assert_eq!(doubled.count, 4);
    Ok(())
}
