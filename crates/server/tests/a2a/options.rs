//! Settings of A2A, each by what it does.

use super::bench::{Bench, said};
use serde_json::json;
use trunkline_server::ServerConfig;

const CARD: &str = "/.well-known/agent-card.json";

#[tokio::test]
async fn a_switch_turns_it_off() {
    let bench = Bench::with(ServerConfig { a2a: false, ..ServerConfig::default() }).await;
    assert_eq!(bench.raw("GET", CARD, &[], "").await.status, 404);
    let answer = bench.rest("POST", "/message:send", &json!({ "message": said("x") })).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn an_agent_can_stand_at_the_root() {
    let a2a_agent = Some("helper".parse().unwrap());
    let bench = Bench::with(ServerConfig { a2a_agent, ..ServerConfig::default() }).await;
    assert_eq!(bench.raw("GET", CARD, &[], "").await.json()["name"], "helper");
    let task = bench.rest("POST", "/message:send", &json!({ "message": said("x") })).await.json();
    assert_eq!(task["task"]["status"]["state"], "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn cards_name_the_url_that_is_set() {
    let a2a_url = Some("https://agents.example.com/".to_owned());
    let bench = Bench::with(ServerConfig { a2a_url, ..ServerConfig::default() }).await;
    let card = bench.raw("GET", &format!("/agents/helper{CARD}"), &[], "").await.json();
    let url = &card["supportedInterfaces"][0]["url"];
    assert_eq!(url, "https://agents.example.com/agents/helper");
}
