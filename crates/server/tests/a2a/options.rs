//! Settings of A2A, each by what it does.

use super::bench::{Bench, said};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;
use serde_json::json;
use trunkline_server::{ServerConfig, SigningKey};

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
async fn the_earlier_version_can_be_left_out() {
    let bench = Bench::with(ServerConfig { a2a_03: false, ..ServerConfig::default() }).await;
    let card = bench.raw("GET", &format!("/agents/helper{CARD}"), &[], "").await.json();
    let interfaces = card["supportedInterfaces"].as_array().unwrap();
    assert!(interfaces.iter().all(|known| known["protocolVersion"] == "1.0"), "{card}");
    assert!(card.get("url").is_none() && card.get("protocolVersion").is_none(), "{card}");
    for version in [None, Some("0.3")] {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(version.map(|version| ("A2A-Version", version)));
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "message/send"}).to_string();
        let answer = bench.raw("POST", "/agents/helper", &headers, body).await.json();
        assert_eq!(answer["error"]["code"], -32009, "{answer}");
        let info = &answer["error"]["data"][0];
        assert_eq!(info["metadata"]["supportedVersions"], "1.0");
    }
    assert_eq!(bench.task("x").await["status"]["state"], "TASK_STATE_COMPLETED");
}

/// A key that is made for the test, in a file.
pub(crate) fn key() -> tempfile::NamedTempFile {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let encoded = STANDARD.encode(pkcs8.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), pem).unwrap();
    file
}

#[tokio::test]
async fn cards_are_signed_with_the_key_that_is_set() {
    let a2a_signing_key = Some(SigningKey::read(key().path()).unwrap());
    let bench = Bench::with(ServerConfig { a2a_signing_key, ..ServerConfig::default() }).await;
    let path = format!("/agents/helper{CARD}");
    let answer = bench.raw("GET", &path, &[], "").await;
    let card = answer.json();
    let protected = card["signatures"][0]["protected"].as_str().unwrap();
    let header = URL_SAFE_NO_PAD.decode(protected).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("JOSE")));
    // The key is where the header says.
    let url = format!("http://{}/.well-known/jwks.json", bench.address);
    assert_eq!(header["jku"], url);
    let keys = bench.raw("GET", "/.well-known/jwks.json", &[], "").await.json();
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
    assert!(keys["keys"][0].get("d").is_none());
    // It is the same card the next time, and in the extended one too.
    let tag = answer.header("etag");
    assert_eq!(bench.raw("GET", &path, &[("If-None-Match", tag)], "").await.status, 304);
    let extended = bench.rpc("GetExtendedAgentCard", json!({})).await;
    assert_eq!(extended["result"]["signatures"][0]["protected"], protected);

    let unsigned = Bench::start().await;
    let card = unsigned.raw("GET", &path, &[], "").await.json();
    assert!(card.get("signatures").is_none(), "{card}");
    let keys = unsigned.raw("GET", "/.well-known/jwks.json", &[], "").await;
    assert_eq!(keys.status, 404);
    assert!(keys.text().contains("server.a2a_signing_key"), "{}", keys.text());
}

#[tokio::test]
async fn cards_name_the_url_that_is_set() {
    let a2a_url = Some("https://agents.example.com/".to_owned());
    let bench = Bench::with(ServerConfig { a2a_url, ..ServerConfig::default() }).await;
    let card = bench.raw("GET", &format!("/agents/helper{CARD}"), &[], "").await.json();
    let url = &card["supportedInterfaces"][0]["url"];
    assert_eq!(url, "https://agents.example.com/agents/helper");
}
