//! A broker elsewhere: a `Client` over gRPC has the same calls as a broker in this process, and
//! comes back by itself when the connection breaks.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio_util::sync::CancellationToken;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_client::{Client, ClientConfig};
use trunkline_server::{Server, ServerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // What `trunkline serve` does; normally it is another program on another machine.
    let server =
        Server::bind(ServerConfig { listen: "127.0.0.1:0".parse()?, ..Default::default() })?;
    let (url, handle) = (format!("http://{}", server.local_addr()), server.handle());
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(server.serve(shutdown.clone()));
    handle.set_broker(Broker::open(BrokerConfig::ephemeral()).await?);

    let client = Client::new(&ClientConfig {
        principal: Some("ann".into()),
        connect_timeout: Duration::from_secs(10),
        ..ClientConfig::new(&url)
    })?;
    let count = |task: Task| async move { Ok(task.text().split_whitespace().count().to_string()) };
    let agent = client.agent("counter").skill("count", count).start().await?;
    let request = client.request(Destination::skill("count")?, "one two three");
    let reply = request.timeout(Duration::from_mins(1)).await?;
    println!("{} words, by way of {url}", reply.text());
    assert_eq!(reply.text(), "3");
    agent.stop().await;
    shutdown.cancel();
    Ok(serving.await?)
}
