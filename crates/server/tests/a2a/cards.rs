//! Agent cards.

use super::bench::{Bench, always};
use super::grpc::v1;
use serde_json::{Value, json};
use trunkline_a2a::wire::a2a_service_client::A2aServiceClient;
use trunkline_a2a::wire::{
    GetExtendedAgentCardRequest, Message, Part, Role, SendMessageRequest, part,
    send_message_response,
};
use trunkline_agent::Host;
use trunkline_types::Principal;

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
    let other = bench.broker.agent("other").skill("else", always).skill("help", always);
    let other = other.description("Does more.").capability("fast");
    let other = other.label("a2a-input-modes", "text/plain").start().await.unwrap();
    let card = bench.raw("GET", CARD, &[], "").await.json();
    let skills = card["skills"].as_array().unwrap();
    let ids: Vec<_> = skills.iter().map(|skill| skill["id"].clone()).collect();
    assert_eq!(ids, ["else", "help"]);
    let of = |at: usize, name: &str| skills[at][name].clone();
    assert_eq!((of(0, "description"), of(0, "tags")), (json!("Does more."), json!(["fast"])));
    assert_eq!(of(0, "inputModes"), json!(["text/plain"]));
    // What two offer has the tags of both, and takes what either takes: one of them anything.
    assert_eq!((of(1, "description"), of(1, "tags")), (json!("Helps."), json!(["helper", "fast"])));
    assert_eq!(of(1, "inputModes"), json!(null));
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
    let date = answer.header("last-modified").to_owned();
    let again = bench.raw("GET", &path, &[("If-Modified-Since", &date)], "").await;
    assert_eq!((again.status, again.header("last-modified")), (304, date.as_str()));
    let old = "Thu, 01 Jan 2015 00:00:00 GMT";
    assert_eq!(bench.raw("GET", &path, &[("If-Modified-Since", old)], "").await.status, 200);
    // The tag says it better.
    let both = [("If-None-Match", "\"x\""), ("If-Modified-Since", &date)];
    assert_eq!(bench.raw("GET", &path, &both, "").await.status, 200);
}

#[tokio::test]
async fn the_card_of_a_tenant_leads_to_its_agents_and_is_not_mixed_up_with_others() {
    let bench = Bench::start().await;
    let tenant = "acme".parse().unwrap();
    let acme = bench.broker.as_principal(Principal { tenant, ..Principal::default() });
    let agent = acme.agent("theirs").skill("help", always).start().await.unwrap();
    let paths = [
        (format!("/acme{CARD}"), &[][..]),
        (CARD.to_owned(), &[("trunkline-tenant", "acme")][..]),
        (format!("/agents/theirs/acme{CARD}"), &[]),
        (format!("/agents/theirs{CARD}"), &[("trunkline-tenant", "acme")]),
    ];
    for (path, headers) in &paths {
        let answer = bench.raw("GET", path, headers, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        // One path has the cards of several tenants.
        assert_eq!(answer.header("vary"), "Host, trunkline-tenant", "{path}");
        let card = answer.json();
        let interface = |binding: &str| {
            let all = card["supportedInterfaces"].as_array().unwrap();
            all.iter().find(|it| it["protocolBinding"] == binding).unwrap().clone()
        };
        let rpc = interface("JSONRPC");
        let host = format!("http://{}", bench.address);
        let place = rpc["url"].as_str().unwrap().strip_prefix(&host).unwrap();
        let place = if place.is_empty() { "/" } else { place };
        let params = json!({"tenant": rpc["tenant"], "message": super::bench::said("x")});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params});
        let headers = [("A2A-Version", "1.0"), ("Content-Type", "application/json")];
        let answer = bench.raw("POST", place, &headers, call.to_string()).await.json();
        let state = &answer["result"]["task"]["status"]["state"];
        assert_eq!(*state, "TASK_STATE_COMPLETED", "{path}: {answer}");

        let grpc = interface("GRPC");
        let url = format!("http://{}", grpc["url"].as_str().unwrap());
        let channel = tonic::transport::Endpoint::from_shared(url).unwrap();
        let mut client = A2aServiceClient::new(channel.connect().await.unwrap());
        let content = Some(part::Content::Text("x".into()));
        let message = Message {
            message_id: "m".into(),
            role: Role::User.into(),
            parts: vec![Part { content, ..Part::default() }],
            ..Message::default()
        };
        let tenant = grpc["tenant"].as_str().unwrap().to_owned();
        let message = Some(message);
        let request = SendMessageRequest { tenant, message, ..Default::default() };
        let answer = client.send_message(v1(request)).await.unwrap().into_inner();
        let Some(send_message_response::Payload::Task(task)) = answer.payload else {
            panic!("{path}: {answer:?}")
        };
        let read = bench.rest("GET", &format!("/acme/tasks/{}", task.id), &Value::Null).await;
        assert_eq!(read.status, 200, "{path}: {}", read.text());
    }
    // What is there for one tenant is not there for another.
    let none = bench.raw("GET", &format!("/agents/theirs{CARD}"), &[], "").await;
    assert_eq!((none.status, none.header("vary")), (404, "Host, trunkline-tenant"));
    drop(agent);
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

#[tokio::test]
async fn what_skills_take_and_give_is_an_extension_of_the_card_in_every_binding() {
    let bench = Bench::start().await;
    // As deep as a schema may be.
    let deep = format!("{}1{}", r#"{"a":"#.repeat(28), "}".repeat(28));
    let agent = bench.broker.agent("typed").skill("count", always).skill("sum", always);
    let agent = agent
        .skill("plain", always)
        .schemas("count", Some(r#"{"type":"array"}"#.parse().unwrap()), Some(deep.parse().unwrap()))
        .schemas("sum", None, Some(r#"{"type":"integer"}"#.parse().unwrap()))
        .start()
        .await
        .unwrap();
    let deep: Value = serde_json::from_str(&deep).unwrap();
    let expected = json!({
        "uri": "urn:trunkline:skill-schemas:v1",
        "description": "JSON Schemas of what skills take and give",
        "params": {"skills": {
            "count": {"input": {"type": "array"}, "output": deep},
            "sum": {"output": {"type": "integer"}},
        }},
    });
    let card = bench.raw("GET", &format!("/agents/typed{CARD}"), &[], "").await.json();
    assert_eq!(card["capabilities"]["extensions"], json!([expected]));
    let card = bench.rest("GET", "/agents/typed/extendedAgentCard", &json!(null)).await.json();
    assert_eq!(card["capabilities"]["extensions"][0], expected);

    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", bench.address));
    let mut client = A2aServiceClient::new(channel.unwrap().connect().await.unwrap());
    let request = GetExtendedAgentCardRequest { tenant: "agents/typed".to_owned() };
    let card = client.get_extended_agent_card(v1(request)).await.unwrap().into_inner();
    let extension = &card.capabilities.unwrap().extensions[0];
    let params = serde_json::to_value(&extension.params).unwrap();
    // Numbers are doubles there.
    assert_eq!(params["skills"]["count"]["input"], json!({"type": "array"}));

    // Who offers a skill besides may take something else.
    for path in [CARD.to_owned(), format!("/agents/helper{CARD}")] {
        let card = bench.raw("GET", &path, &[], "").await.json();
        assert!(card["capabilities"].get("extensions").is_none(), "{path}");
    }
    drop(agent);
}

#[tokio::test]
async fn agents_are_found_by_skill_tag_and_state() {
    let bench = Bench::start().await;
    let agent = bench.broker.agent("other").skill("else", always).capability("fast");
    let agent = agent.agent_type("kind").name("Other").start().await.unwrap();
    let found = async |query: &str| {
        let answer = bench.raw("GET", &format!("/api/v1/agents{query}"), &[], "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let ids = |page: &Value| -> Vec<String> {
        let agents = page["agents"].as_array().unwrap();
        agents.iter().map(|agent| agent["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&found("").await), ["helper", "other"]);
    for query in ["?skill=else", "?tag=fast", "?tag=kind", "?skill=else&tag=fast&state=ready"] {
        assert_eq!(ids(&found(query).await), ["other"], "{query}");
    }
    for query in ["?skill=none", "?tag=slow", "?state=offline", "?skill=help&tag=fast"] {
        assert_eq!(found(query).await, json!({"agents": [], "next": null}), "{query}");
    }
    let first = found("?limit=1").await;
    assert_eq!((ids(&first), &first["next"]), (vec!["helper".to_owned()], &json!("helper")));
    let second = found("?limit=1&after=helper").await;
    assert_eq!((ids(&second), &second["next"]), (vec!["other".to_owned()], &json!(null)));
    let shown = &second["agents"][0];
    assert_eq!((&shown["name"], &shown["tags"]), (&json!("Other"), &json!(["kind", "fast"])));
    let card = bench.raw("GET", shown["card"].as_str().unwrap(), &[], "").await.json();
    assert_eq!(card["name"], "Other");
    for query in ["?state=asleep", "?limit=0", "?skill=a%20b", "?colour=red"] {
        let answer = bench.raw("GET", &format!("/api/v1/agents{query}"), &[], "").await;
        assert_eq!(answer.status, 400, "{query}");
    }
    drop(agent);
}
