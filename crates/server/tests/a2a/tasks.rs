//! Reading and cancelling tasks.

use super::bench::{Bench, always, said};
use serde_json::json;
use std::time::Duration;
use trunkline_agent::Host;
use trunkline_types::InboxChange;

#[tokio::test]
async fn a_task_is_read_over_both_bindings_alike() {
    let bench = Bench::start().await;
    let task = bench.task("x").await;
    let id = task["id"].as_str().unwrap();
    let read = bench.rpc("GetTask", json!({ "id": id })).await;
    assert_eq!(read["result"], task);
    let answer = bench.rest("GET", &format!("/agents/helper/tasks/{id}"), &json!(null)).await;
    assert_eq!((answer.status, answer.kind()), (200, "application/a2a+json"));
    assert_eq!(answer.json(), task);
    // The broker at the root knows all tasks.
    assert_eq!(bench.rest("GET", &format!("/tasks/{id}"), &json!(null)).await.json(), task);
}

#[tokio::test]
async fn a_cancel_reaches_the_task_and_a_second_one_is_told_so() {
    let bench = Bench::start().await;
    let id = bench.begun("hold").await;
    bench.until(&id, "WORKING").await;
    let path = format!("/agents/helper/tasks/{id}:cancel");
    let task = bench.rest("POST", &path, &json!(null)).await.json();
    assert_eq!(task["status"]["state"], "TASK_STATE_CANCELED");
    let again = bench.rest("POST", &path, &json!(null)).await;
    assert_eq!(again.status, 400);
    assert_eq!(again.json()["error"]["details"][0]["reason"], "TASK_NOT_CANCELABLE");
}

#[tokio::test]
async fn a_task_of_another_agent_or_tenant_is_not_found() {
    let bench = Bench::start().await;
    let other = bench.broker.agent("other").skill("else", always).start().await.unwrap();
    let id = bench.task("x").await["id"].as_str().unwrap().to_owned();
    for path in [format!("/agents/other/tasks/{id}"), format!("/acme/tasks/{id}")] {
        let answer = bench.rest("GET", &path, &json!(null)).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.json()["error"]["details"][0]["reason"], "TASK_NOT_FOUND");
    }
    let answer = bench.rpc("GetTask", json!({"id": id, "tenant": "acme"})).await;
    assert_eq!(answer["error"]["code"], -32001, "{answer}");
    let answer = bench.rpc("ListTasks", json!({"tenant": "acme"})).await;
    assert_eq!(answer["error"]["message"], "there is no agent 'helper' at this broker");
    drop(other);
}

#[tokio::test]
async fn the_own_tenant_may_be_named_in_the_path() {
    let bench = Bench::start().await;
    let body = json!({ "message": said("x") });
    for path in ["/default/message:send", "/agents/helper/default/message:send"] {
        let answer = bench.rest("POST", path, &body).await;
        assert_eq!(answer.json()["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{path}");
    }
    let body = json!({"tenant": "acme", "message": said("x")});
    let answer = bench.rest("POST", "/default/message:send", &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("the path names 'default'"), "{}", answer.text());
}

#[tokio::test]
async fn what_is_sent_to_an_agent_that_is_away_waits_as_long_as_its_inbox_says() {
    let bench = Bench::start().await;
    let away = bench.broker.agent("away").skill("rest", always).start().await.unwrap();
    away.stop().await;
    let lives = async |span: Duration| {
        let (inbox, change) = ("agent:away".parse().unwrap(), InboxChange::default().ttl(span));
        bench.broker.set_inbox(inbox, change).await.unwrap();
    };
    let send = async |at_once: bool| {
        let configuration = json!({ "returnImmediately": at_once });
        let body = json!({ "message": said("x"), "configuration": configuration });
        let answer = bench.rest("POST", "/agents/away/message:send", &body).await;
        answer.json()["task"].clone()
    };
    lives(Duration::from_hours(1)).await;
    let waits = send(true).await;
    assert_eq!(waits["status"]["state"], "TASK_STATE_SUBMITTED", "{waits}");
    lives(Duration::from_millis(1)).await;
    let over = send(false).await;
    assert_eq!(over["status"]["state"], "TASK_STATE_FAILED", "{over}");
    let path = format!("/agents/away/tasks/{}", waits["id"].as_str().unwrap());
    let still = bench.rest("GET", &path, &json!(null)).await.json();
    assert_eq!(still["status"]["state"], "TASK_STATE_SUBMITTED", "{still}");
}

#[tokio::test]
async fn the_field_tenant_names_an_agent_in_every_binding() {
    let bench = Bench::start().await;
    let other = bench.broker.agent("other").skill("else", always).start().await.unwrap();
    let send = json!({"tenant": "agents/helper", "message": said("x")});
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": send});
    let headers = [("A2A-Version", "1.0"), ("Content-Type", "application/json")];
    let task = bench.raw("POST", "/", &headers, call.to_string()).await.json();
    assert_eq!(task["result"]["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{task}");
    let id = task["result"]["task"]["id"].as_str().unwrap().to_owned();
    let sent = bench.rest("POST", "/message:send", &send).await;
    assert_eq!(sent.status, 200, "{}", sent.text());
    for (agent, total) in [("helper", 2), ("helper/default", 2), ("other", 0)] {
        let list = format!("/tasks?tenant=agents/{agent}");
        assert_eq!(bench.rest("GET", &list, &json!(null)).await.json()["totalSize"], total);
    }
    let read = bench.rest("GET", &format!("/tasks/{id}?tenant=agents/other"), &json!(null)).await;
    assert_eq!(read.status, 404);
    let beside = json!({"tenant": "agents/other", "message": said("x")});
    let refused = bench.rest("POST", "/agents/helper/message:send", &beside).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("but the path names 'helper'"), "{}", refused.text());
    drop(other);
}
