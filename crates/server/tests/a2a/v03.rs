//! Clients of version 0.3, which say no version or that one.

use super::bench::{Answer, Bench, Event, always};
use serde_json::{Value, json};
use trunkline_agent::Host;

/// What such a client posts to JSON-RPC.
async fn call(bench: &Bench, method: &str, params: Value) -> Value {
    let body = json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params});
    let headers = [("Content-Type", "application/json")];
    let answer = bench.raw("POST", "/agents/helper", &headers, body.to_string()).await;
    assert_eq!((answer.status, &answer.json()["id"]), (200, &json!("a")));
    answer.json()
}

async fn rest(bench: &Bench, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json"), ("A2A-Version", "0.3")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    bench.raw(method, &format!("/agents/helper/v1{path}"), &headers, body).await
}

fn said(text: &str) -> Value {
    let parts = json!([{"kind": "text", "text": text}]);
    json!({"kind": "message", "messageId": "m-1", "role": "user", "parts": parts})
}

fn in_proto(text: &str) -> Value {
    json!({"message_id": "m-1", "role": "ROLE_USER", "content": [{ "text": text }]})
}

/// The events of a stream that is opened as such a client does.
async fn streamed(bench: &Bench, path: &str, headers: &[(&str, &str)], body: &Value) -> Vec<Event> {
    let mut all = vec![("A2A-Version", "0.3")];
    all.extend(headers);
    bench.stream_as("POST", &format!("/agents/helper{path}"), &all, body).await.rest().await
}

fn rpc(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": "a", "method": method, "params": params})
}

#[tokio::test]
async fn a_message_over_json_rpc_is_answered_with_kinds() {
    let bench = Bench::start().await;
    let task =
        call(&bench, "message/send", json!({ "message": said("hi") })).await["result"].clone();
    assert_eq!((&task["kind"], &task["status"]["state"]), (&json!("task"), &json!("completed")));
    let message = &task["status"]["message"];
    assert_eq!((&message["kind"], &message["role"]), (&json!("message"), &json!("agent")));
    assert_eq!(message["parts"], json!([{"kind": "text", "text": "hi"}]));
    assert_eq!(task["history"][0]["messageId"], "m-1");

    let params = json!({"id": task["id"], "historyLength": 0});
    assert_eq!(call(&bench, "tasks/get", params).await["result"], task);
    let configuration = json!({"blocking": false});
    let params = json!({"message": said("hold"), "configuration": configuration});
    let held = call(&bench, "message/send", params).await["result"]["id"].clone();
    bench.until(held.as_str().unwrap(), "WORKING").await;
    let cancelled = call(&bench, "tasks/cancel", json!({ "id": held })).await;
    assert_eq!(cancelled["result"]["status"]["state"], "canceled");
}

#[tokio::test]
async fn a_task_that_asks_is_answered_over_json_rpc() {
    let bench = Bench::start().await;
    let asked = call(&bench, "message/send", json!({ "message": said("ask") })).await;
    assert_eq!(asked["result"]["status"]["state"], "input-required");
    let mut answer = said("this one");
    answer["taskId"] = asked["result"]["id"].clone();
    answer["contextId"] = asked["result"]["contextId"].clone();
    let done = call(&bench, "message/send", json!({ "message": answer })).await;
    let text = &done["result"]["status"]["message"]["parts"][0]["text"];
    assert_eq!(text, "ask: this one");
}

#[tokio::test]
async fn a_stream_over_json_rpc_says_which_event_is_the_last_and_is_resumed() {
    let bench = Bench::start().await;
    let body = rpc("message/stream", &json!({ "message": said("write") }));
    let events = streamed(&bench, "", &[], &body).await;
    let told: Vec<&Value> = events.iter().map(|event| &event.data["result"]).collect();
    assert_eq!(told[0]["kind"], "task");
    let artifact = told.iter().find(|told| told["kind"] == "artifact-update");
    let in_task = &told[0]["artifacts"][0];
    let artifact = artifact.map_or(in_task, |told| &told["artifact"]);
    assert_eq!(artifact["parts"], json!([{"kind": "text", "text": "one"}]));
    let last = told.last().unwrap();
    assert_eq!((&last["kind"], &last["final"]), (&json!("status-update"), &json!(true)));
    assert_eq!(last["status"]["state"], "input-required");
    let finals: Vec<_> = told.iter().filter(|told| told["final"] == true).collect();
    assert_eq!(finals.len(), 1);

    let mut answer = said("go");
    answer["taskId"] = told[0]["id"].clone();
    call(&bench, "message/send", json!({ "message": answer })).await;
    let body = rpc("tasks/resubscribe", &json!({ "id": told[0]["id"] }));
    let events = streamed(&bench, "", &[("Last-Event-ID", "4")], &body).await;
    assert_eq!(events[0].data["result"]["status"]["state"], "input-required");
    assert_eq!(events.last().unwrap().data["result"]["status"]["state"], "completed");
}

#[tokio::test]
async fn http_and_json_are_those_of_the_proto_file() {
    let bench = Bench::start().await;
    let body = json!({"request": in_proto("hi"), "configuration": {"blocking": true}});
    let answer = rest(&bench, "POST", "/message:send", &body).await;
    assert_eq!((answer.status, answer.kind()), (200, "application/json"));
    let task = answer.json()["task"].clone();
    assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED");
    let message = &task["status"]["message"];
    assert_eq!(
        (&message["role"], &message["content"][0]["text"]),
        (&json!("ROLE_AGENT"), &json!("hi"))
    );
    let id = task["id"].as_str().unwrap();
    let read = rest(&bench, "GET", &format!("/tasks/{id}?historyLength=0"), &json!(null)).await;
    assert_eq!(read.json(), task);
    // Protobuf leaves out what is false.
    let body = json!({"request": in_proto("hold"), "configuration": {}});
    let held = rest(&bench, "POST", "/message:send", &body).await.json()["task"]["id"].clone();
    let held = held.as_str().unwrap().to_owned();
    bench.until(&held, "WORKING").await;
    let cancelled = rest(&bench, "POST", &format!("/tasks/{held}:cancel"), &json!(null)).await;
    assert_eq!(cancelled.json()["status"]["state"], "TASK_STATE_CANCELLED");
    let card = rest(&bench, "GET", "/card", &json!(null)).await.json();
    assert_eq!((&card["name"], &card["preferredTransport"]), (&json!("helper"), &json!("JSONRPC")));
}

#[tokio::test]
async fn a_stream_over_http_has_the_events_of_the_proto_file() {
    let bench = Bench::start().await;
    let body = json!({ "request": in_proto("write") });
    let events = streamed(&bench, "/v1/message:stream", &[], &body).await;
    let id = events[0].data["task"]["id"].as_str().unwrap().to_owned();
    let last = &events.last().unwrap().data["statusUpdate"];
    assert_eq!(last["status"]["state"], "TASK_STATE_INPUT_REQUIRED");
    assert_eq!(last["final"], true);
    let path = format!("/v1/tasks/{id}:subscribe");
    let follow = bench.stream_as("GET", &format!("/agents/helper{path}"), &[], &json!(null)).await;
    call(&bench, "tasks/cancel", json!({ "id": id })).await;
    let events = follow.rest().await;
    let last = &events.last().unwrap().data["statusUpdate"]["status"]["state"];
    assert_eq!(last, "TASK_STATE_CANCELLED");
}

#[tokio::test]
async fn errors_are_those_that_it_knew() {
    let bench = Bench::start().await;
    let strict = bench.broker.agent("strict").skill("s", always);
    let strict = strict.label("a2a-required-extensions", "urn:x").start().await.unwrap();
    let code = async |method: &str, params: Value| {
        call(&bench, method, params).await["error"]["code"].as_i64().unwrap()
    };
    assert_eq!(code("tasks/get", json!({"id": "x"})).await, -32001);
    let done = bench.task("x").await["id"].clone();
    assert_eq!(code("tasks/cancel", json!({ "id": done })).await, -32002);
    assert_eq!(code("tasks/resubscribe", json!({ "id": done })).await, -32004);
    assert_eq!(code("message/send", json!({"message": {"kind": "message"}})).await, -32602);
    assert_eq!(code("message/fly", json!({})).await, -32601);
    let send = rpc("message/send", &json!({ "message": said("x") })).to_string();
    let headers = [("Content-Type", "application/json")];
    let refused = bench.raw("POST", "/agents/strict", &headers, send.clone()).await.json();
    assert_eq!(refused["error"]["code"], -32600);
    // The header had another name.
    let declared = [("Content-Type", "application/json"), ("X-A2A-Extensions", "urn:x")];
    let taken = bench.raw("POST", "/agents/strict", &declared, send).await.json();
    assert_eq!(taken["result"]["status"]["state"], "completed");
    drop(strict);

    let answer = rest(&bench, "GET", "/tasks/x", &json!(null)).await;
    assert_eq!((answer.status, &answer.json()["type"]), (404, &json!("TaskNotFoundError")));
    assert_eq!(answer.json()["code"], -32001);
}
