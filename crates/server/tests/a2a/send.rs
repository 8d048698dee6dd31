//! Messages: what comes of them, and several turns.

use super::bench::{Answer, Bench, always, answered, said};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;
use trunkline_agent::{HandlerError, HandlerResult, Host, Task};
use trunkline_types::PauseReason;

#[tokio::test]
async fn a_message_is_answered_with_the_task_that_it_made() {
    let bench = Bench::start().await;
    let task = bench.task("a b c").await;
    assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED");
    let answer = &task["status"]["message"];
    assert_eq!(
        (&answer["role"], &answer["parts"][0]["text"]),
        (&json!("ROLE_AGENT"), &json!("a b c"))
    );
    assert_eq!(answer["contextId"], task["contextId"]);
    let at = task["status"]["timestamp"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.len() == "2025-10-28T10:30:00.000Z".len(), "{at}");
    let history = task["history"].as_array().unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(
        (&history[0]["messageId"], &history[0]["role"]),
        (&json!("m-1"), &json!("ROLE_USER"))
    );
    assert_eq!(history[0]["taskId"], task["id"]);
}

#[tokio::test]
async fn data_reaches_the_agent_as_json_and_integers_stay_integers() {
    let bench = Bench::start().await;
    let message = json!({"messageId": "m", "role": "ROLE_USER", "novel": 1,
        "parts": [{"data": {"n": 5, "x": 0.5, "big": 9_007_199_254_740_993_u64}}]});
    let task = bench.rpc("SendMessage", json!({ "message": message })).await;
    let task = &task["result"]["task"];
    // The agent tells what it got: the text of the JSON.
    let text = task["status"]["message"]["parts"][0]["text"].as_str().unwrap();
    assert_eq!(text, r#"{"big":9007199254740993,"n":5,"x":0.5}"#);
    let shown = &task["history"][0]["parts"][0]["data"];
    assert_eq!(shown.to_string(), text);
    assert!(task["history"][0].get("novel").is_none());
}

#[tokio::test]
async fn an_agent_may_answer_with_several_parts_or_with_nothing() {
    let bench = Bench::start().await;
    let parts = &bench.task("whole").await["status"]["message"]["parts"];
    assert_eq!(*parts, json!([{"text": "a"}, {"data": {"n": 5}}]));
    let task = bench.task("empty").await;
    assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED");
    assert!(task["status"].get("message").is_none());
}

#[tokio::test]
async fn an_agent_may_have_its_answer_told_without_the_task() {
    let bench = Bench::start().await;
    let answer = bench.rpc("SendMessage", json!({ "message": said("bare") })).await;
    let message = &answer["result"]["message"];
    assert_eq!(message["parts"], json!([{"text": "just this"}]), "{answer}");
    assert_eq!(message["role"], "ROLE_AGENT");
    // The task is there all the same.
    let task = bench.rpc("GetTask", json!({ "id": message["taskId"] })).await;
    assert_eq!(task["result"]["status"]["message"], *message);
    // Who does not wait is told of the task, and so is who follows it.
    let body = json!({"message": said("bare"), "configuration": {"returnImmediately": true}});
    let answer = bench.rest("POST", "/agents/helper/message:send", &body).await.json();
    assert!(answer["task"]["id"].is_string(), "{answer}");
    let body = json!({ "message": said("bare") });
    let events = bench.stream("POST", "/agents/helper/message:stream", &[], &body).await;
    let events = events.rest().await;
    assert!(events[0].data["task"]["id"].is_string(), "{events:?}");
    assert_eq!(events.last().unwrap().state(), "COMPLETED");
}

#[tokio::test]
async fn an_artifact_may_be_a_link_with_a_name() {
    let bench = Bench::start().await;
    let task = bench.task("file").await;
    let part = json!({"url": "https://x/f", "filename": "f", "mediaType": "text/csv"});
    let expected = json!({"artifactId": "out", "name": "table", "description": "numbers",
        "parts": [part]});
    assert_eq!(task["artifacts"], json!([expected]));
}

#[tokio::test]
async fn json_is_called_what_the_client_calls_it() {
    let bench = Bench::start().await;
    let kind = async |method: &str, path: &str, headers: &[(&str, &str)], body: &str| {
        let mut all = vec![("A2A-Version", "1.0")];
        all.extend(headers);
        let path = format!("/agents/helper{path}");
        bench.raw(method, &path, &all, body.to_owned()).await.kind().to_owned()
    };
    let (plain, own) = ("application/json", "application/a2a+json");
    let body = json!({ "message": said("x") }).to_string();
    for sent in [plain, own] {
        let headers = [("Content-Type", sent)];
        assert_eq!(kind("POST", "/message:send", &headers, &body).await, sent);
        // Errors too.
        assert_eq!(kind("POST", "/message:send", &headers, "{").await, sent);
    }
    for (taken, told) in [
        ("*/*", own),
        ("application/json", plain),
        ("application/json, application/a2a+json", own),
        ("text/html, application/json;q=0.9", plain),
    ] {
        assert_eq!(kind("GET", "/tasks", &[("Accept", taken)], "").await, told, "{taken}");
    }
}

#[tokio::test]
async fn failing_and_rejecting_are_told_with_their_reasons() {
    let bench = Bench::start().await;
    for (text, state, reason) in
        [("fail", "TASK_STATE_FAILED", "no luck"), ("reject", "TASK_STATE_REJECTED", "not mine")]
    {
        let status = &bench.task(text).await["status"];
        assert_eq!(status["state"], state);
        assert_eq!(status["message"]["parts"][0]["text"], reason);
    }
}

#[tokio::test]
async fn a_task_that_asks_is_answered_in_the_same_task() {
    let bench = Bench::start().await;
    let asked = bench.task("ask").await;
    assert_eq!(asked["status"]["state"], "TASK_STATE_INPUT_REQUIRED");
    assert_eq!(asked["status"]["message"]["parts"][0]["text"], "which?");
    let id = asked["id"].as_str().unwrap();

    // The context is the task's own, said or not.
    let mut message = answered(id, "this one");
    message["contextId"] = asked["contextId"].clone();
    let done = bench.rpc("SendMessage", json!({ "message": message })).await;
    let done = &done["result"]["task"];
    assert_eq!((&done["id"], &done["contextId"]), (&asked["id"], &asked["contextId"]));
    assert_eq!(done["status"]["state"], "TASK_STATE_COMPLETED");
    assert_eq!(done["status"]["message"]["parts"][0]["text"], "ask: this one");
    let history = done["history"].as_array().unwrap();
    let texts: Vec<_> = history.iter().map(|said| said["parts"][0]["text"].clone()).collect();
    assert_eq!(texts, ["ask", "which?", "this one"]);
    let ids: Vec<_> = history.iter().map(|said| &said["messageId"]).collect();
    assert_eq!((ids[0], ids[2]), (&json!("m-1"), &json!("m-2")));
    assert_eq!(*ids[1], asked["status"]["message"]["messageId"]);
}

#[tokio::test]
async fn a_new_task_can_join_a_conversation() {
    let bench = Bench::start().await;
    let mut message = said("x");
    message["contextId"] = json!("talk-1");
    let task = bench.rpc("SendMessage", json!({ "message": message })).await;
    assert_eq!(task["result"]["task"]["contextId"], "talk-1");
    assert_ne!(bench.task("x").await["contextId"], bench.task("x").await["contextId"]);
}

#[tokio::test]
async fn who_does_not_wait_is_told_the_task_at_once() {
    let bench = Bench::start().await;
    let id = bench.begun("hold").await;
    let task = bench.until(&id, "WORKING").await;
    assert_eq!(task["history"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn no_more_messages_are_shown_than_are_wanted() {
    let bench = Bench::start().await;
    for (length, shown) in [(json!(0), 0), (json!(1), 1), (json!(9), 1), (json!(null), 1)] {
        let configuration = json!({ "historyLength": length });
        let params = json!({"message": said("x"), "configuration": configuration});
        let task = bench.rpc("SendMessage", params).await["result"]["task"].clone();
        let history = task["history"].as_array().map_or(0, Vec::len);
        assert_eq!(history, shown, "{length}");
        let path = format!("/agents/helper/tasks/{}?historyLength=0", task["id"].as_str().unwrap());
        let task = bench.rest("GET", &path, &json!(null)).await.json();
        assert!(task.get("history").is_none());
    }
}

#[tokio::test]
async fn the_same_message_twice_makes_two_tasks_unless_a_key_says_otherwise() {
    let bench = Bench::start().await;
    assert_ne!(bench.task("x").await["id"], bench.task("x").await["id"]);
    let keyed = async |text: &str| {
        let headers = [
            ("A2A-Version", "1.0"),
            ("Content-Type", "application/a2a+json"),
            ("Idempotency-Key", "k-1"),
        ];
        let body = json!({ "message": said(text) }).to_string();
        bench.raw("POST", "/agents/helper/message:send", &headers, body).await
    };
    let (first, second) = (keyed("x").await.json(), keyed("x").await.json());
    assert_eq!(first["task"]["id"], second["task"]["id"]);
    let other = keyed("y").await;
    assert_eq!((other.status, &other.json()["error"]["status"]), (409, &json!("ALREADY_EXISTS")));
}

/// Sends a message under a key.
async fn keyed(bench: &Bench, key: &str, message: &Value) -> Answer {
    let headers = [
        ("A2A-Version", "1.0"),
        ("Content-Type", "application/a2a+json"),
        ("Idempotency-Key", key),
    ];
    let body = json!({ "message": message }).to_string();
    bench.raw("POST", "/agents/helper/message:send", &headers, body).await
}

#[tokio::test]
async fn an_answer_that_is_sent_again_under_its_key_is_taken_once() {
    let bench = Bench::start().await;
    let id = bench.task("both").await["id"].as_str().unwrap().to_owned();
    let asks = |task: &Value| task["status"]["message"]["parts"][0]["text"].clone();
    // Again it is no answer to the second question.
    for _again in 0..2 {
        let task = keyed(&bench, "k-1", &answered(&id, "one")).await.json()["task"].clone();
        assert_eq!(task["status"]["state"], "TASK_STATE_INPUT_REQUIRED", "{task}");
        assert_eq!(asks(&task), "second?");
    }
    let other = keyed(&bench, "k-1", &answered(&id, "another")).await;
    assert_eq!((other.status, &other.json()["error"]["status"]), (409, &json!("ALREADY_EXISTS")));
    // Nor is it refused because the task waits no longer.
    for (key, text) in [("k-2", "two"), ("k-2", "two"), ("k-1", "one")] {
        let task = keyed(&bench, key, &answered(&id, text)).await.json()["task"].clone();
        assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{key}: {task}");
        assert_eq!(asks(&task), "one two");
        // What says so is no client's affair.
        let history = task["history"].as_array().unwrap();
        let answer = history.iter().find(|said| said["parts"][0]["text"] == "two").unwrap();
        assert_eq!(answer["parts"][0]["mediaType"], "text/plain");
        assert_eq!(answer["messageId"], "m-2");
    }
}

#[tokio::test]
async fn a_message_that_is_sent_again_waits_for_what_its_task_does_now() {
    let bench = Bench::start().await;
    let go = Arc::new(Notify::new());
    let let_go = go.clone();
    let agent = bench.broker.agent("slow").skill("slow", move |task: Task| {
        let go = go.clone();
        async move {
            if task.messages().is_empty() {
                return Err(HandlerError::pause(PauseReason::Input, None));
            }
            go.notified().await;
            Ok("done")
        }
    });
    let _agent = agent.start().await.unwrap();
    let headers = [
        ("A2A-Version", "1.0"),
        ("Content-Type", "application/a2a+json"),
        ("Idempotency-Key", "k-1"),
    ];
    let body = json!({ "message": said("x") }).to_string();
    let path = "/agents/slow/message:send";
    let first = bench.raw("POST", path, &headers, body.clone()).await.json();
    assert_eq!(first["task"]["status"]["state"], "TASK_STATE_INPUT_REQUIRED");
    let id = first["task"]["id"].as_str().unwrap().to_owned();
    let configuration = json!({"returnImmediately": true});
    let answer = json!({"message": answered(&id, "go"), "configuration": configuration});
    bench.rest("POST", path, &answer).await;
    bench.until_task(&id, "WORKING").await;
    // Whether it is let go before or after that is asked again makes no difference.
    let (again, ()) = tokio::join!(bench.raw("POST", path, &headers, body), async {
        for _ in 0..20 {
            bench.shown(&id).await;
        }
        let_go.notify_one();
    });
    assert_eq!(again.json()["task"]["status"]["state"], "TASK_STATE_COMPLETED");
}

#[tokio::test]
async fn a_task_that_waits_to_be_let_in_goes_on_when_it_is() {
    let bench = Bench::start().await;
    let waits = bench.task("auth").await;
    assert_eq!(waits["status"]["state"], "TASK_STATE_AUTH_REQUIRED", "{waits}");
    assert_eq!(waits["status"]["message"]["parts"][0]["text"], "the key, please");
    let id = waits["id"].as_str().unwrap();
    let done = bench.rpc("SendMessage", json!({ "message": answered(id, "me") })).await;
    let status = &done["result"]["task"]["status"];
    assert_eq!(status["state"], "TASK_STATE_COMPLETED", "{done}");
    assert_eq!(status["message"]["parts"][0]["text"], "let in by me");
}

#[tokio::test]
async fn a_message_waits_for_an_agent_that_is_away() {
    let bench = Bench::start().await;
    let stopped = bench.broker.agent("later").skill("later", always);
    stopped.start().await.unwrap().stop().await;
    let body = json!({"message": said("x"), "configuration": {"returnImmediately": true}});
    let task = bench.rest("POST", "/agents/later/message:send", &body).await.json();
    assert_eq!(task["task"]["status"]["state"], "TASK_STATE_SUBMITTED");
    let path = format!("/agents/later/tasks/{}:subscribe", task["task"]["id"].as_str().unwrap());
    let events = bench.stream("GET", &path, &[], &json!(null)).await;
    let _agent = bench.broker.agent("later").skill("later", always).start().await;
    let events = events.rest().await;
    assert_eq!(events.last().unwrap().state(), "COMPLETED");
}

async fn loud(task: Task) -> HandlerResult<String> {
    Ok(task.text().to_uppercase())
}

#[tokio::test]
async fn the_broker_at_the_root_routes_by_skill() {
    let bench = Bench::start().await;
    // The only skill there is needs no name.
    let body = json!({ "message": said("x") });
    let task = bench.rest("POST", "/message:send", &body).await.json();
    assert_eq!(task["task"]["status"]["state"], "TASK_STATE_COMPLETED");

    let _second = bench.broker.agent("loud").skill("shout", loud).start().await.unwrap();
    let named = json!({"message": said("x"), "metadata": {"skill": "shout"}});
    let task = bench.rest("POST", "/message:send", &named).await.json();
    assert_eq!(task["task"]["status"]["message"]["parts"][0]["text"], "X");
    let answer = bench.rest("POST", "/message:send", &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("2 skills are offered"), "{}", answer.text());
}

#[tokio::test]
async fn over_json_rpc_too_a_key_makes_one_task_and_extensions_are_declared() {
    let bench = Bench::start().await;
    let picky = bench.broker.agent("picky").skill("pick", always);
    let picky = picky.label("a2a-required-extensions", "urn:x").start().await.unwrap();
    let send = async |agent: &str, beside: (&str, &str)| {
        let params = json!({ "message": said("x") });
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": params});
        let headers = [("A2A-Version", "1.0"), ("Content-Type", "application/json"), beside];
        let path = format!("/agents/{agent}");
        bench.raw("POST", &path, &headers, call.to_string()).await.json()
    };
    let mut ids = Vec::new();
    for key in ["k-1", "k-1", "k-2"] {
        let sent = send("helper", ("Idempotency-Key", key)).await;
        ids.push(sent["result"]["task"]["id"].as_str().unwrap().to_owned());
    }
    assert!(ids[0] == ids[1] && ids[0] != ids[2], "{ids:?}");
    let refused = send("picky", ("A2A-Extensions", "urn:y")).await;
    assert_eq!(refused["error"]["code"], -32008, "{refused}");
    assert_eq!(refused["error"]["data"][0]["reason"], "EXTENSION_SUPPORT_REQUIRED");
    let taken = send("picky", ("A2A-Extensions", "urn:y, urn:x")).await;
    assert_eq!(taken["result"]["task"]["status"]["state"], "TASK_STATE_COMPLETED", "{taken}");
    drop(picky);
}
