//! The beginning and the end of a server.

use super::agent::Agent;
use super::messages::request;
use super::running::{Running, soon};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use trunkline_proto::v1;
use trunkline_types::session::SessionItem;
use trunkline_types::{Outcome, RefusalCode};

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
    server.drains().await;
    agent.settle(delivery.token, Outcome::Complete { reply: None });
    agent.answered(1).await;
    // Not before: until then it kept its connection.
    while !matches!(agent.item().await, SessionItem::GoAway { reconnect: true, .. }) {}
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
    server.drains().await;
    agent.settle(delivery.token, Outcome::Complete { reply: None });
    assert!(soon(asked).await.unwrap().unwrap().into_inner().result.is_some());
    drop(agent);
    soon(&mut server.serving).await.unwrap();
}

#[tokio::test]
async fn whoever_calls_while_the_broker_drains_is_told_so() {
    let mut server = Running::start().await;
    let mut agent = Agent::connect(&server, "counter", "count").await;
    let mut client = server.client().await;
    let publish = Some(request("count", "a", true));
    client.send(v1::SendRequest { publish: publish.clone() }).await.unwrap();
    let delivery = agent.delivery().await;
    server.shutdown.cancel();
    server.drains().await;

    // Over a connection from before and over a new one.
    for mut client in [client, server.client().await] {
        let told = [
            client.send(v1::SendRequest { publish: publish.clone() }).await.err(),
            client.get_stats(v1::GetStatsRequest {}).await.err(),
            client.connect(futures_util::stream::pending()).await.err(),
        ];
        for status in told {
            let status = status.expect("nothing new is taken");
            assert_eq!(status.code(), Code::Unavailable, "{status}");
            let refusal = trunkline_proto::status::to_refusal(&status);
            assert_eq!(refusal.code, RefusalCode::Draining, "{refusal}");
            assert!(refusal.retry_after.is_some(), "{refusal}");
        }
    }
    assert!(server.get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(server.get("/readyz").await.ends_with("draining\n"));
    let mut health = HealthClient::new(server.channel().await);
    let health = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.status(), ServingStatus::NotServing);

    agent.settle(delivery.token, Outcome::Complete { reply: None });
    agent.answered(1).await;
    drop(agent);
    soon(&mut server.serving).await.unwrap();
}
