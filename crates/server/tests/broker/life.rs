//! The beginning and the end of a server.

use super::agent::Agent;
use super::messages::request;
use super::running::{Running, soon};
use tonic::Code;
use trunkline_proto::v1;
use trunkline_types::Outcome;
use trunkline_types::session::SessionItem;

#[tokio::test]
async fn ready_once_the_broker_is_open() {
    let server = Running::without_broker();
    let client = server.client().await;
    let mut unready = client.clone();
    let status = unready.get_stats(v1::GetStatsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(server.get("/readyz").await.starts_with("HTTP/1.1 503"));
    let server = server.with_broker().await;
    assert!(server.get("/readyz").await.starts_with("HTTP/1.1 200"));
    unready.get_stats(v1::GetStatsRequest {}).await.unwrap();
}

#[tokio::test]
async fn shutdown_tells_sessions_to_go_away() {
    let mut server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    server.shutdown.cancel();
    loop {
        if let SessionItem::GoAway { .. } = agent.item().await {
            break;
        }
    }
    drop(agent);
    soon(&mut server.serving).await.unwrap();
}

#[tokio::test]
async fn held_work_is_finished_during_shutdown() {
    let mut server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    let mut client = server.client().await;
    let publish = Some(request("count", "a", true));
    client.send(v1::SendRequest { publish }).await.unwrap();
    let delivery = agent.delivery().await;
    server.shutdown.cancel();
    while !matches!(agent.item().await, SessionItem::GoAway { .. }) {}
    agent.settle(delivery.token, Outcome::Complete { reply: None });
    agent.answered(1).await;
    drop(agent);
    soon(&mut server.serving).await.unwrap();
}

#[tokio::test]
async fn a_call_in_flight_is_answered_during_shutdown() {
    let mut server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    let mut client = server.client().await;
    let asked = tokio::spawn(async move {
        let publish = Some(request("count", "a", false));
        client.request(v1::RequestRequest { publish }).await
    });
    let delivery = agent.delivery().await;
    server.shutdown.cancel();
    while !matches!(agent.item().await, SessionItem::GoAway { .. }) {}
    agent.settle(delivery.token, Outcome::Complete { reply: None });
    assert!(soon(asked).await.unwrap().unwrap().into_inner().result.is_some());
    drop(agent);
    soon(&mut server.serving).await.unwrap();
}
