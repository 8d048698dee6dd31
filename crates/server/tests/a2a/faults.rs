//! Every error of the standard's table, and bad input.

use super::bench::{Bench, always, answered, said};
use serde_json::{Value, json};
use trunkline_agent::{HandlerError, HandlerResult, Host, Task};
use trunkline_types::{InboxAddress, InboxChange, PauseReason, WhenFull};

/// What a call is refused with: code, reason and domain.
async fn refused(bench: &Bench, method: &str, params: Value) -> (i64, String) {
    let answer = bench.rpc(method, params).await;
    let error = &answer["error"];
    let info = &error["data"][0];
    assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo", "{answer}");
    if error["code"].as_i64().unwrap() > -32100 {
        assert_eq!(info["domain"], "a2a-protocol.org");
    }
    (error["code"].as_i64().unwrap(), info["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn errors_of_tasks_have_their_codes() {
    let bench = Bench::start().await;
    let unknown = "0192f0c1-2d3e-7000-8000-00000000002a";
    let done = bench.task("x").await["id"].as_str().unwrap().to_owned();
    let busy = bench.begun("hold").await;
    bench.until(&busy, "WORKING").await;
    let not_found = (-32001, "TASK_NOT_FOUND".to_owned());
    for id in [unknown, "no-id-of-ours"] {
        for (method, params) in [
            ("GetTask", json!({ "id": id })),
            ("CancelTask", json!({ "id": id })),
            ("SubscribeToTask", json!({ "id": id })),
            ("SendMessage", json!({ "message": answered(id, "x") })),
        ] {
            assert_eq!(refused(&bench, method, params).await, not_found, "{method} {id}");
        }
    }
    let cancel = refused(&bench, "CancelTask", json!({ "id": done })).await;
    assert_eq!(cancel, (-32002, "TASK_NOT_CANCELABLE".to_owned()));
    let unsupported = (-32004, "UNSUPPORTED_OPERATION".to_owned());
    for id in [&done, &busy] {
        let params = json!({ "message": answered(id, "x") });
        assert_eq!(refused(&bench, "SendMessage", params).await, unsupported);
    }
    assert_eq!(refused(&bench, "SubscribeToTask", json!({ "id": done })).await, unsupported);
}

#[tokio::test]
async fn media_types_extensions_and_nonsense_of_agents_have_their_errors() {
    let bench = Bench::start().await;
    let picky = bench.broker.agent("picky").skill("pick", always);
    let picky = picky.label("a2a-input-modes", "text/plain");
    let picky = picky.label("a2a-required-extensions", "urn:x").start().await.unwrap();
    let send = async |headers: &[(&str, &str)], parts: Value| {
        let mut all = vec![("A2A-Version", "1.0"), ("Content-Type", "application/json")];
        all.extend(headers);
        let message = json!({"messageId": "m", "role": "ROLE_USER", "parts": parts});
        let body = json!({ "message": message }).to_string();
        let answer = bench.raw("POST", "/agents/picky/message:send", &all, body).await;
        (answer.status, answer.json()["error"]["details"][0]["reason"].clone())
    };
    let declared = [("A2A-Extensions", "urn:y, urn:x")];
    assert_eq!(send(&[], json!([{"text": "x"}])).await, (400, json!("EXTENSION_SUPPORT_REQUIRED")));
    let data = json!([{"data": 1}]);
    assert_eq!(send(&declared, data).await, (400, json!("CONTENT_TYPE_NOT_SUPPORTED")));
    assert_eq!(send(&declared, json!([{"text": "x"}])).await.0, 200);
    drop(picky);

    let nonsense = refused(&bench, "SendMessage", json!({ "message": said("nonsense") })).await;
    assert_eq!(nonsense, (-32006, "INVALID_AGENT_RESPONSE".to_owned()));
}

#[tokio::test]
async fn what_an_agent_requires_is_required_at_the_root_too() {
    let bench = Bench::start().await;
    let picky = bench.broker.agent("picky").skill("pick", work_once);
    let picky = picky.label("a2a-input-modes", "text/plain");
    let picky = picky.label("a2a-required-extensions", "urn:x").start().await.unwrap();
    let send = async |headers: &[(&str, &str)], task: Option<&str>, parts: Value| {
        let mut all = vec![("A2A-Version", "1.0"), ("Content-Type", "application/json")];
        all.extend(headers);
        let mut message = json!({"messageId": "m", "role": "ROLE_USER", "parts": parts,
            "metadata": {"skill": "pick"}});
        if let Some(task) = task {
            message["taskId"] = task.into();
        }
        let body = json!({ "message": message }).to_string();
        let answer = bench.raw("POST", "/message:send", &all, body).await;
        (answer.status, answer.json())
    };
    let reason = |answer: &Value| answer["error"]["details"][0]["reason"].clone();
    let declared = [("A2A-Extensions", "urn:x")];
    let (text, data) = (json!([{"text": "x"}]), json!([{"data": 1}]));
    let mut task = None;
    // What begins a task, and what answers it.
    for _turn in 0..2 {
        let task_id = task.as_deref();
        let (status, answer) = send(&[], task_id, text.clone()).await;
        assert_eq!((status, reason(&answer)), (400, json!("EXTENSION_SUPPORT_REQUIRED")));
        let (status, answer) = send(&declared, task_id, data.clone()).await;
        assert_eq!((status, reason(&answer)), (400, json!("CONTENT_TYPE_NOT_SUPPORTED")));
        let (status, answer) = send(&declared, task_id, text.clone()).await;
        assert_eq!(status, 200, "{answer}");
        task = Some(answer["task"]["id"].as_str().unwrap().to_owned());
    }
    drop(picky);
}

/// Asks once, and is done.
async fn work_once(task: Task) -> HandlerResult<&'static str> {
    if task.messages().is_empty() {
        return Err(HandlerError::pause(PauseReason::Input, None));
    }
    Ok("done")
}

#[tokio::test]
async fn an_inbox_that_is_full_says_when_to_try_again() {
    let bench = Bench::start().await;
    let away = bench.broker.agent("away").skill("away", always);
    away.start().await.unwrap().stop().await;
    let inbox = InboxAddress::Agent("away".parse().unwrap());
    let change =
        InboxChange { limit: Some(1), when_full: Some(WhenFull::Reject), ..InboxChange::default() };
    bench.broker.set_inbox(inbox, change).await.unwrap();
    let send = json!({"message": said("x"), "configuration": {"returnImmediately": true}});
    let path = "/agents/away/message:send";
    assert_eq!(bench.rest("POST", path, &send).await.status, 200);
    let full = bench.rest("POST", path, &send).await;
    assert_eq!(full.status, 429, "{}", full.text());
    assert!(full.header("retry-after").parse::<u64>().is_ok(), "{}", full.text());
    let error = full.json()["error"].clone();
    assert_eq!((&error["code"], &error["status"]), (&json!(429), &json!("RESOURCE_EXHAUSTED")));
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": send});
    let headers = [("A2A-Version", "1.0"), ("Content-Type", "application/json")];
    let full = bench.raw("POST", "/agents/away", &headers, call.to_string()).await;
    assert!(full.header("retry-after").parse::<u64>().is_ok(), "{}", full.text());
    assert_eq!(full.json()["error"]["data"][0]["reason"], "EXHAUSTED");
}

#[tokio::test]
async fn what_is_not_there_is_told_as_an_error_of_the_standard() {
    let bench = Bench::start().await;
    let refused = bench.rest("PUT", "/agents/helper/tasks", &Value::Null).await;
    let error = refused.json()["error"].clone();
    assert_eq!((refused.status, &error["code"]), (405, &json!(405)), "{error}");
    assert_eq!(refused.header("allow"), "GET, HEAD");
    assert_eq!(error["details"][0]["reason"], "METHOD_NOT_ALLOWED");
    // Below an agent whoever asks, elsewhere a client of the standard.
    for (path, headers) in [
        ("/agents/helper/nothing/is/here", &[][..]),
        ("/nothing/is/here", &[("A2A-Version", "1.0")][..]),
    ] {
        let nothing = bench.raw("GET", path, headers, "").await;
        assert_eq!((nothing.status, nothing.kind()), (404, "application/a2a+json"), "{path}");
        assert_eq!(nothing.json()["error"]["details"][0]["reason"], "METHOD_NOT_FOUND");
    }
    let plain = bench.raw("GET", "/nothing/is/here", &[], "").await;
    assert!(plain.text().starts_with("nothing is at /nothing/is/here"), "{}", plain.text());
}

#[tokio::test]
async fn what_only_1_0_has_is_refused_to_another_version_and_to_none() {
    let bench = Bench::start().await;
    for version in [None, Some("0.3"), Some("9.9")] {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(version.map(|version| ("A2A-Version", version)));
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ListTasks"}).to_string();
        let answer = bench.raw("POST", "/agents/helper", &headers, body).await.json();
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32009), &json!(1)));
        let answer = bench.raw("GET", "/agents/helper/tasks", &headers, "").await;
        assert_eq!(answer.status, 400);
        let info = answer.json()["error"]["details"][0].clone();
        assert_eq!(info["reason"], "VERSION_NOT_SUPPORTED");
        assert_eq!(info["metadata"]["supportedVersions"], "1.0, 0.3");
    }
    let answer = bench.raw("GET", "/agents/helper/tasks?A2A-Version=1.0", &[], "").await;
    assert_eq!(answer.status, 200);
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "ListTasks"}).to_string();
    let headers = [("Content-Type", "application/json")];
    let answer = bench.raw("POST", "/agents/helper?A2A-Version=1.0", &headers, body).await.json();
    assert_eq!(answer["result"]["totalSize"], 0, "{answer}");
}

#[tokio::test]
async fn what_is_missing_or_out_of_range_is_named() {
    let bench = Bench::start().await;
    let part = json!([{"text": "x"}]);
    for (method, params, field) in [
        ("SendMessage", json!({}), "message"),
        (
            "SendMessage",
            json!({"message": {"role": "ROLE_USER", "parts": part}}),
            "message.messageId",
        ),
        ("SendMessage", json!({"message": {"messageId": "m", "parts": part}}), "message.role"),
        (
            "SendMessage",
            json!({"message": {"messageId": "m", "role": "ROLE_AGENT", "parts": part}}),
            "message.role",
        ),
        (
            "SendMessage",
            json!({"message": {"messageId": "m", "role": "ROLE_USER"}}),
            "message.parts",
        ),
        (
            "SendMessage",
            json!({"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{}]}}),
            "message.parts[0]",
        ),
        (
            "SendMessage",
            json!({"message": {"messageId": "m", "role": "ROLE_USER", "parts": part, "contextId": "no context"}}),
            "message.contextId",
        ),
        ("GetTask", json!({}), "id"),
        ("GetTask", json!({"id": "x", "historyLength": -1}), "historyLength"),
        ("ListTasks", json!({"pageSize": 0}), "pageSize"),
        ("ListTasks", json!({"pageSize": 101}), "pageSize"),
        ("ListTasks", json!({"pageToken": "?"}), "pageToken"),
        ("ListTasks", json!({"status": "TASK_STATE_RUNNING"}), "status"),
        ("ListTasks", json!({"statusTimestampAfter": "soon"}), "statusTimestampAfter"),
        ("ListTasks", json!([]), "params"),
    ] {
        let answer = bench.rpc(method, params).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let violation = &answer["error"]["data"][1]["fieldViolations"][0];
        assert_eq!(violation["field"], field, "{answer}");
    }
    let answer = bench.rest("GET", "/agents/helper/tasks?pageSize=150", &json!(null)).await;
    assert_eq!((answer.status, answer.kind()), (400, "application/a2a+json"));
    assert!(answer.text().contains("the range is 1 to 100"), "{}", answer.text());
}

#[tokio::test]
async fn a_context_that_is_not_the_tasks_is_refused() {
    let bench = Bench::start().await;
    let asked = bench.task("ask").await;
    let mut message = answered(asked["id"].as_str().unwrap(), "x");
    message["contextId"] = json!("another");
    let answer = bench.rpc("SendMessage", json!({ "message": message })).await;
    let violation = &answer["error"]["data"][1]["fieldViolations"][0];
    assert_eq!(violation["field"], "message.contextId", "{answer}");
}

#[tokio::test]
async fn what_is_no_request_is_told_so() {
    let bench = Bench::start().await;
    let post = async |kind: &str, body: &str| {
        let headers = [("A2A-Version", "1.0"), ("Content-Type", kind)];
        bench.raw("POST", "/agents/helper", &headers, body.to_owned()).await
    };
    for (body, code) in [
        ("{", -32700),
        ("", -32700),
        ("[]", -32600),
        ("5", -32600),
        (r#"{"jsonrpc":"1.0","id":1,"method":"GetTask"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":{},"method":"GetTask"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"message/fly"}"#, -32601),
    ] {
        let answer = post("application/json", body).await;
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (200, &json!(code)), "{body}");
    }
    let answer = post("text/plain", "{}").await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (415, &json!(-32005)));
    let headers = [("A2A-Version", "1.0"), ("Content-Type", "text/plain")];
    let answer = bench.raw("POST", "/agents/helper/message:send", &headers, "{}").await;
    let info = answer.json()["error"]["details"][0].clone();
    assert_eq!((answer.status, &info["reason"]), (415, &json!("CONTENT_TYPE_NOT_SUPPORTED")));
    assert_eq!(info["domain"], "a2a-protocol.org");
    let answer = bench.rest("POST", "/agents/helper/message:send", &json!("x")).await;
    assert_eq!(answer.status, 400);
    assert_eq!(bench.rest("GET", "/agents/nobody/tasks", &json!(null)).await.status, 404);
    let answer = bench.rest("DELETE", "/agents/helper/tasks", &json!(null)).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused() {
    let bench = Bench::start().await;
    let large = "x".repeat(3 << 20);
    let body = json!({ "message": said(&large) });
    let answer = bench.rest("POST", "/agents/helper/message:send", &body).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &json!(413)));
    // Within the bound on bodies, but over the broker's on payloads.
    let large = "x".repeat((1 << 20) + 1);
    let body = json!({ "message": said(&large) });
    let answer = bench.rest("POST", "/agents/helper/message:send", &body).await;
    assert_eq!(answer.status, 413);
    assert!(answer.text().contains("the limit is 1048576"), "{}", answer.text());
    let fits = "x".repeat(1 << 20);
    assert_eq!(bench.task(&fits).await["status"]["state"], "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn a_page_of_others_stays_out() {
    let bench = Bench::start().await;
    let headers = [("Origin", "http://evil.example"), ("A2A-Version", "1.0")];
    assert_eq!(bench.raw("GET", "/agents/helper/tasks", &headers, "").await.status, 403);
}
