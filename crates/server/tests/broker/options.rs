//! Settings of the edges, seen to act over real sockets.

use super::messages::request;
use super::running::soon;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_proto::v1;
use trunkline_proto::v1::broker_client::BrokerClient;
use trunkline_server::{Server, ServerConfig};

#[tokio::test]
async fn no_more_calls_are_under_way_over_one_connection_than_are_set() {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = ServerConfig { listen, max_streams: 1, ..ServerConfig::default() };
    let bound = Server::bind(config).unwrap();
    let (address, handle) = (bound.local_addr(), bound.handle());
    let shutdown = CancellationToken::new();
    let _stop = shutdown.clone().drop_guard();
    tokio::spawn(bound.serve(shutdown));
    handle.set_broker(Broker::open(BrokerConfig::ephemeral()).await.unwrap());
    let connect = async || {
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await;
        BrokerClient::new(channel.unwrap())
    };

    let (first, mut other) = (connect().await, connect().await);
    // The connection knows the bound once it has heard of the server.
    let mut warm = first.clone();
    soon(warm.get_stats(v1::GetStatsRequest {})).await.unwrap();
    let mut asking = first.clone();
    let asked = tokio::spawn(async move {
        let publish = Some(request("nobody", "?", false));
        asking.request(v1::RequestRequest { publish }).await
    });
    soon(async {
        while other.get_stats(v1::GetStatsRequest {}).await.unwrap().into_inner().messages_accepted
            == 0
        {}
    })
    .await;
    let mut waiting = first.clone();
    let mut second = tokio::spawn(async move { waiting.get_stats(v1::GetStatsRequest {}).await });
    // Others have their answers meanwhile.
    for _ in 0..20 {
        soon(other.get_stats(v1::GetStatsRequest {})).await.unwrap();
    }
    assert!(!second.is_finished(), "there is one call already");
    asked.abort();
    soon(&mut second).await.unwrap().unwrap();
}
