//! Agent cards.

use super::bench::{Bench, always};
use serde_json::json;
use trunkline_agent::Host;

const CARD: &str = "/.well-known/agent-card.json";

#[tokio::test]
async fn every_agent_has_a_card_with_all_bindings() {
    let bench = Bench::start().await;
    let answer = bench.raw("GET", &format!("/agents/helper{CARD}"), &[], "").await;
    assert_eq!((answer.status, answer.kind()), (200, "application/json"));
    let card = answer.json();
    assert_eq!((&card["name"], &card["description"]), (&json!("helper"), &json!("Helps.")));
    let (url, host) =
        (format!("http://{}/agents/helper", bench.address), bench.address.to_string());
    let interface = |url: &str, binding: &str, version: &str| json!({"url": url, "protocolBinding": binding, "protocolVersion": version});
    let mut over_grpc = interface(&host, "GRPC", "1.0");
    over_grpc["tenant"] = json!("agents/helper");
    let expected = json!([
        interface(&url, "JSONRPC", "1.0"),
        interface(&url, "HTTP+JSON", "1.0"),
        over_grpc,
        interface(&url, "JSONRPC", "0.3"),
        interface(&url, "HTTP+JSON", "0.3"),
    ]);
    assert_eq!(card["supportedInterfaces"], expected);
    // Where clients of 0.3 look.
    assert_eq!((&card["url"], &card["preferredTransport"]), (&json!(url), &json!("JSONRPC")));
    assert_eq!(card["protocolVersion"], "0.3.0");
    assert_eq!(card["supportsAuthenticatedExtendedCard"], true);
    let second = json!({"url": url, "transport": "HTTP+JSON"});
    assert_eq!(card["additionalInterfaces"][1], second);
    let capabilities = &card["capabilities"];
    assert_eq!(capabilities["streaming"], true);
    assert_eq!(capabilities["pushNotifications"], true);
    assert_eq!(card["skills"][0]["id"], "help");
    for field in ["version", "defaultInputModes", "defaultOutputModes"] {
        assert!(!card[field].is_null(), "{field}");
    }
    assert_eq!(bench.raw("GET", &format!("/agents/nobody{CARD}"), &[], "").await.status, 404);
}

#[tokio::test]
async fn the_brokers_card_has_the_skills_of_all_agents() {
    let bench = Bench::start().await;
    let other = bench.broker.agent("other").skill("else", always).start().await.unwrap();
    let card = bench.raw("GET", CARD, &[], "").await.json();
    let skills: Vec<_> =
        card["skills"].as_array().unwrap().iter().map(|skill| skill["id"].clone()).collect();
    assert_eq!(skills, ["else", "help"]);
    drop(other);
}

#[tokio::test]
async fn a_card_may_be_kept_until_it_changes() {
    let bench = Bench::start().await;
    let path = format!("/agents/helper{CARD}");
    let answer = bench.raw("GET", &path, &[], "").await;
    assert!(answer.header("cache-control").contains("max-age"));
    let tag = answer.header("etag").to_owned();
    let weak = format!("\"x\", W/{tag}");
    for known in [tag.as_str(), weak.as_str(), "*"] {
        let again = bench.raw("GET", &path, &[("If-None-Match", known)], "").await;
        assert_eq!((again.status, again.text(), again.header("etag")), (304, "", tag.as_str()));
    }
    let other = bench.raw("GET", &path, &[("If-None-Match", "\"x\"")], "").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn the_extended_card_says_what_the_directory_knows_besides() {
    let bench = Bench::start().await;
    let agent = bench.broker.agent("far").region("north").label("tier", "gold");
    let agent = agent.skill("s", always).start().await.unwrap();
    let card = bench.rest("GET", "/agents/far/extendedAgentCard", &json!(null)).await.json();
    let params = &card["capabilities"]["extensions"][0]["params"];
    assert_eq!((&params["region"], &params["labels"]["tier"]), (&json!("north"), &json!("gold")));
    let public = bench.raw("GET", &format!("/agents/far{CARD}"), &[], "").await.json();
    assert!(public["capabilities"].get("extensions").is_none());
    let card = bench.rpc("GetExtendedAgentCard", json!({})).await;
    assert_eq!(card["result"]["name"], "helper");
    drop(agent);
}
