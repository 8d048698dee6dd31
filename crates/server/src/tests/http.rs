//! Probes, metrics, health, reflection, and what keeps strangers out.

use super::bench::{Bench, config, soon};
use super::scripted::broker;
use crate::{BindError, Server, ServerConfig};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use trunkline_broker::BrokerState;

#[tokio::test]
async fn ready_only_while_the_broker_takes_work() {
    let bench = Bench::without_broker(config());
    assert!(bench.get("/healthz").await.starts_with("HTTP/1.1 200"));
    let answer = bench.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.ends_with("recovering\n"), "{answer}");
    assert!(bench.get("/metrics").await.starts_with("HTTP/1.1 503"));

    let (broker, _script) = broker();
    assert!(bench.handle.set_backend(broker.clone()));
    assert!(!bench.handle.set_backend(broker.clone()));
    let answer = bench.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ready\n"), "{answer}");
    broker.set_state(BrokerState::Failed("no disk".into()));
    let answer = bench.get("/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("failed: no disk"), "{answer}");
    assert!(bench.get("/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn metrics_and_stats_show_what_the_broker_counted() {
    let (bench, broker, _script) = Bench::start(config());
    let metrics = bench.get("/metrics").await;
    // Figures cost a walk over all inboxes.
    assert_eq!(broker.figures_asked(), 1);
    for line in [
        "trunkline_messages_accepted_total 7\n",
        "trunkline_tasks_completed_total 5\n",
        "trunkline_dead_letters 0\n",
        "trunkline_inboxes 1002\n",
        "trunkline_redriven_total 11\n",
        "trunkline_purged_total 12\n",
        "trunkline_scheduled_total 13\n",
        "trunkline_keys 14\n",
        "trunkline_waiting_outside 15\n",
        "trunkline_breakers_opened_total 16\n",
        "trunkline_overran_total 17\n",
        "trunkline_dead_letters_forgotten_total 18\n",
        "trunkline_dead_letters_indexed 19\n",
        "trunkline_keys_indexed 20\n",
        "trunkline_history_since_milliseconds 21\n",
        "trunkline_turns_total 4\n",
        "trunkline_operations_total 22\n",
        "trunkline_hand_overs_total 8\n",
        "trunkline_items_total 10\n",
        "trunkline_connections 1\n",
        "trunkline_entries_total{inbox=\"all\",end=\"settled\"} 0\n",
        "trunkline_entries_now{inbox=\"all\",place=\"waiting\"} 0\n",
        "# EOF\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let stats = bench.get("/api/v1/stats").await;
    let (_, body) = stats.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["messages_accepted"], 7);
    assert_eq!(body["tasks_completed"], 5);
    assert_eq!(body["inboxes_total"], 1_002);
    for (name, value) in [
        ("redriven", 11),
        ("purged", 12),
        ("scheduled", 13),
        ("keys", 14),
        ("waiting_outside", 15),
        ("breakers_opened", 16),
        ("overran", 17),
        ("dead_letters_forgotten", 18),
        ("dead_letters_indexed", 19),
        ("keys_indexed", 20),
        ("history_since_ms", 21),
    ] {
        assert_eq!(body[name], value, "{name}");
    }
    let batches = &body["batches"];
    assert_eq!(
        (&batches["operations_per_turn"], &batches["items_per_hand_over"]),
        (&5.5.into(), &1.25.into())
    );
    assert_eq!(broker.figures_asked(), 2);
}

#[tokio::test]
async fn pages_of_others_are_refused() {
    let (bench, _, _script) = Bench::start(config());
    let own = bench.address.to_string();
    let answer = bench.http("/metrics", &[("Host", "evil.example")]).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("evil.example"), "{answer}");
    let foreign = [("Host", own.as_str()), ("Origin", "http://evil.example")];
    let answer = bench.http("/metrics", &foreign).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("evil.example"), "{answer}");
    let origin = format!("http://{own}");
    let same = [("Host", own.as_str()), ("Origin", origin.as_str())];
    assert!(bench.http("/metrics", &same).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_callers_protocol() {
    let (bench, _, _script) = Bench::start(config());
    let answer = bench.get("/nowhere").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("/readyz"), "{answer}");
    let host = bench.address.to_string();
    let grpc = [("Host", host.as_str()), ("Content-Type", "application/grpc")];
    let answer = bench.http("/other.Service/Method", &grpc).await;
    assert!(answer.contains("grpc-status: 12"), "{answer}");
}

#[tokio::test]
async fn health_follows_the_broker() {
    let bench = Bench::without_broker(config());
    let mut health = HealthClient::new(bench.channel().await);
    let request = |service: &str| HealthCheckRequest { service: service.into() };
    let mut news = health.watch(request("")).await.unwrap().into_inner();
    let status = |answer: i32| ServingStatus::try_from(answer).unwrap();
    let first = soon(news.message()).await.unwrap().unwrap();
    assert_eq!(status(first.status), ServingStatus::NotServing);

    let (broker, _script) = broker();
    bench.handle.set_backend(broker);
    let second = soon(news.message()).await.unwrap().unwrap();
    assert_eq!(status(second.status), ServingStatus::Serving);
    let now = health.check(request("trunkline.v1.Broker")).await.unwrap().into_inner();
    assert_eq!(status(now.status), ServingStatus::Serving);

    let unknown = health.check(request("no.Such")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut unknown = health.watch(request("no.Such")).await.unwrap().into_inner();
    let told = soon(unknown.message()).await.unwrap().unwrap();
    assert_eq!(status(told.status), ServingStatus::ServiceUnknown);
}

#[tokio::test]
async fn reflection_lists_the_services() {
    let (bench, _, _script) = Bench::start(config());
    let mut reflection = ServerReflectionClient::new(bench.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let asked = futures_util::stream::iter([request]);
    let mut answers = reflection.server_reflection_info(asked).await.unwrap().into_inner();
    let answer = soon(answers.message()).await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&"trunkline.v1.Broker"), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
    assert!(names.contains(&"lf.a2a.v1.A2AService"), "{names:?}");
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_way_out() {
    let first = Server::bind(config()).unwrap();
    let taken = ServerConfig { listen: first.local_addr(), ..config() };
    let error = Server::bind(taken).unwrap_err();
    assert!(matches!(error, BindError::PortTaken { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&first.local_addr().to_string()), "{text}");
    assert!(text.contains("--listen 127.0.0.1:0"), "{text}");
}

#[tokio::test]
async fn beyond_loopback_needs_permission() {
    let open = ServerConfig { listen: ([0, 0, 0, 0], 0).into(), ..config() };
    let error = Server::bind(open).unwrap_err();
    assert!(matches!(error, BindError::BeyondLoopback { .. }), "{error:?}");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_counted() {
    let (bench, _, _script) = Bench::start(ServerConfig { max_connections: 1, ..config() });
    let client = bench.channel().await;
    let mut health = HealthClient::new(client);
    health.check(HealthCheckRequest::default()).await.unwrap();
    assert!(!bench.http_or_nothing("/healthz").await.contains("200"));
    drop(health);
    // The place is free again as soon as the server has seen the end of the first connection.
    let metrics = soon(async {
        loop {
            let answer = bench.http_or_nothing("/metrics").await;
            if answer.starts_with("HTTP/1.1 200") {
                return answer;
            }
        }
    })
    .await;
    assert!(!metrics.contains("trunkline_connections_refused_total 0\n"), "{metrics}");
}
