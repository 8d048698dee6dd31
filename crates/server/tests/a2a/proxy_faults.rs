//! What becomes of a message when the agent elsewhere breaks, and that it is not sent twice.

use super::bench::{Bench, answered};
use super::far::{Far, React, Then, piece, reason, shown, task, texts};
use serde_json::{Value, json};
use std::time::Duration;
use trunkline_agent::Host;
use trunkline_server::ServerConfig;
use trunkline_types::Destination;

fn is_state(task: &Value, state: &str) -> bool {
    task["status"]["state"] == format!("TASK_STATE_{state}")
}

/// A server that breaks at the first message, or never answers it, and completes the next one.
async fn unsure(first: fn() -> React) -> Far {
    Far::plain(move |method, _, before| match (method, before) {
        ("SendMessage", 0) => first(),
        ("SendMessage", _) => React::Result(shown("COMPLETED", &["done"])),
        _ => React::Status(404),
    })
    .await
}

#[tokio::test]
async fn what_may_have_arrived_is_not_sent_again() {
    let unavailable = || {
        React::Error(json!({"code": -32603, "message": "lost", "data": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "UNAVAILABLE", "domain": "trunkline"}]}))
    };
    // What is not there may have been lost behind whoever says so, after the work was begun.
    for first in [
        || React::Break,
        || React::Status(502),
        || React::Status(503),
        || React::Result(json!({})),
        unavailable,
        // A code of its own, and words that only look like those about a conversation.
        || React::Error(json!({"code": -32000, "message": "context deadline exceeded"})),
        || React::Error(json!({"code": -32006, "message": "maximum context length"})),
    ] {
        let (bench, far) = (Bench::start().await, unsure(first).await);
        assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
        let ended = bench.far("once").await;
        assert!(is_state(&ended, "FAILED"), "{ended}");
        assert!(reason(&ended).contains("it is not known whether the message reached"), "{ended}");
        assert_eq!(far.called("SendMessage").len(), 1);
    }
}

#[tokio::test]
async fn what_may_have_arrived_is_sent_again_to_an_idempotent_agent() {
    let (bench, far) = (Bench::start().await, unsure(|| React::Break).await);
    assert_eq!(bench.add(&far.url(), json!({"idempotent": true})).await.status, 201);
    let ended = bench.far("twice").await;
    assert!(is_state(&ended, "COMPLETED"), "{ended}");
    let sent = far.called("SendMessage");
    assert_eq!(sent.len(), 2);
    let id = |at: usize| sent[at].params["message"]["messageId"].clone();
    assert_eq!(id(0), id(1), "a server that knows it can tell the repeat");
}

#[tokio::test]
async fn what_was_refused_for_now_is_sent_again_and_what_was_refused_is_not() {
    for first in [|| React::Later(503), || React::Status(429)] {
        let (bench, far) = (Bench::start().await, unsure(first).await);
        assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
        assert!(is_state(&bench.far("again").await, "COMPLETED"));
        assert_eq!(far.called("SendMessage").len(), 2);
    }
    for first in [
        || React::Error(json!({"code": -32602, "message": "not like that"})),
        || React::Error(json!({"code": -32602, "message": "not like that: too much context"})),
    ] {
        let (bench, far) = (Bench::start().await, unsure(first).await);
        assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
        let ended = bench.far("no").await;
        assert!(is_state(&ended, "FAILED") && reason(&ended).contains("not like that"), "{ended}");
        assert_eq!(far.called("SendMessage").len(), 1);
    }
}

#[tokio::test]
async fn an_agent_that_never_answers_is_given_up_after_its_time_or_the_tasks() {
    let (bench, far) = (Bench::start().await, unsure(|| React::Never).await);
    assert_eq!(bench.add(&far.url(), json!({"answer_within_ms": 300})).await.status, 201);
    let ended = bench.far("hello").await;
    assert!(is_state(&ended, "FAILED"), "{ended}");
    assert!(reason(&ended).contains("did not answer within 300ms"), "{ended}");

    let far = unsure(|| React::Never).await;
    assert_eq!(bench.add(&far.url(), json!({"id": "slow"})).await.status, 201);
    let to = Destination::Agent("slow".parse().unwrap());
    let sent = bench.broker.send(to, "x").ttl(Duration::from_millis(300)).wait().await;
    assert!(sent.unwrap_err().to_string().to_lowercase().contains("expired"));
    assert_eq!(far.called("SendMessage").len(), 1);
}

#[tokio::test]
async fn a_stream_that_breaks_is_resumed_and_each_piece_is_told_once() {
    let bench = Bench::start().await;
    let far = Far::start(|method, _, before| match (method, before) {
        ("SendStreamingMessage", 0) => {
            React::Events(vec![shown("WORKING", &[]), piece("one", false)], Then::Break)
        }
        ("GetTask", 0) => React::Status(503),
        ("GetTask", 1) => React::Result(task("WORKING", &["one", "two"])),
        // A server may be behind what it has told.
        ("GetTask", _) => React::Result(task("WORKING", &["one"])),
        ("SubscribeToTask", 0) => React::Events(
            vec![shown("WORKING", &["one", "two"]), piece("three", true)],
            Then::Close,
        ),
        ("SubscribeToTask", _) => {
            let all = ["one", "two", "three"];
            React::Events(
                vec![shown("WORKING", &all), piece("four", true), shown("COMPLETED", &[])],
                Then::Close,
            )
        }
        _ => React::Status(404),
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let ended = bench.far("stream").await;
    assert!(is_state(&ended, "COMPLETED"), "{ended}");
    assert_eq!(texts(&ended), ["one", "two", "three", "four"]);
    assert_eq!(far.called("SendStreamingMessage").len(), 1);
}

#[tokio::test]
async fn a_stream_that_cannot_be_resumed_is_polled() {
    let bench = Bench::start().await;
    let far = Far::start(|method, _, before| match (method, before) {
        ("SendStreamingMessage", 0) => React::Events(vec![shown("SUBMITTED", &[])], Then::Close),
        ("GetTask", 0..4) => React::Result(task("WORKING", &["one"])),
        ("GetTask", _) => React::Result(task("COMPLETED", &["one", "two"])),
        ("SubscribeToTask", _) => React::Error(json!({"code": -32004, "message": "no"})),
        _ => React::Status(404),
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let ended = bench.far("poll").await;
    assert!(is_state(&ended, "COMPLETED"), "{ended}");
    assert_eq!(texts(&ended), ["one", "two"]);
    assert_eq!(far.called("SendStreamingMessage").len(), 1);
    assert_eq!(far.called("SubscribeToTask").len(), 2, "it is not asked for what it has not");
}

#[tokio::test]
async fn a_stream_that_says_nothing_is_not_waited_for() {
    let a2a_proxy_timeout = Duration::from_millis(300);
    let bench = Bench::with(ServerConfig { a2a_proxy_timeout, ..ServerConfig::default() }).await;
    let far = Far::start(|method, _, before| match (method, before) {
        ("SendStreamingMessage", _) => React::Events(vec![shown("WORKING", &[])], Then::Silence),
        // The first is the one that looks for loops.
        ("GetTask", 0) => React::Status(404),
        ("GetTask", 1) => React::Never,
        ("GetTask", _) => React::Result(task("COMPLETED", &["done"])),
        _ => React::Never,
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    assert_eq!(texts(&bench.far("hush").await), ["done"]);
}

#[tokio::test]
async fn a_task_that_is_forgotten_elsewhere_fails_unless_the_agent_is_idempotent() {
    let script = |method: &str, _: &Value, before: usize| match (method, before) {
        ("SendStreamingMessage", 0) => React::Events(vec![shown("WORKING", &[])], Then::Break),
        ("SendStreamingMessage", _) => {
            React::Events(vec![shown("COMPLETED", &["done"])], Then::Close)
        }
        _ => React::Error(json!({"code": -32001, "message": "unknown"})),
    };
    for (idempotent, state, sent) in [(false, "FAILED", 1), (true, "COMPLETED", 2)] {
        let (bench, far) = (Bench::start().await, Far::start(script).await);
        assert_eq!(bench.add(&far.url(), json!({"idempotent": idempotent})).await.status, 201);
        let ended = bench.far("x").await;
        assert!(is_state(&ended, state), "{ended}");
        if !idempotent {
            assert!(reason(&ended).contains("no longer knows its task far-1"), "{ended}");
        }
        assert_eq!(far.called("SendStreamingMessage").len(), sent);
    }
}

#[tokio::test]
async fn an_answer_goes_to_the_same_task_and_what_it_asked_before_is_not_asked_again() {
    let bench = Bench::start().await;
    let waiting = || {
        let mut task = task("INPUT_REQUIRED", &[]);
        let message =
            json!({"messageId": "q", "role": "ROLE_AGENT", "parts": [{"text": "which?"}]});
        task["status"]["message"] = message;
        task
    };
    let far = Far::plain(move |method, _, before| match (method, before) {
        // It shows the task as it was until its agent begins.
        ("SendMessage", _) | ("GetTask", 0..3) => {
            let task = waiting();
            React::Result(if method == "GetTask" { task } else { json!({ "task": task }) })
        }
        _ => React::Result(task("COMPLETED", &["done"])),
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let asks = bench.far("ask").await;
    assert!(is_state(&asks, "INPUT_REQUIRED") && reason(&asks) == "which?", "{asks}");
    let body = json!({ "message": answered(asks["id"].as_str().unwrap(), "this") });
    let done = bench.rest("POST", "/agents/far/message:send", &body).await.json()["task"].clone();
    assert!(is_state(&done, "COMPLETED"), "{done}");
    let sent = far.called("SendMessage");
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].params["message"]["taskId"], Value::Null);
    let (answer, first) = (&sent[1].params["message"], &sent[0].params["message"]);
    assert_eq!((&answer["taskId"], &answer["contextId"]), (&json!("far-1"), &json!("far-c")));
    assert_eq!(answer["parts"][0]["text"], "this");
    assert_eq!(first["contextId"], asks["contextId"], "it is told the conversation");
}

#[tokio::test]
async fn what_a_server_of_messages_says_is_the_answer() {
    let bench = Bench::start().await;
    let far = Far::plain(|_, params, _| {
        let told_context = params["message"].get("contextId").is_some();
        if told_context {
            return React::Error(json!({"code": -32602, "message": "unknown contextId"}));
        }
        React::Result(json!({"message": {
            "messageId": "r", "role": "ROLE_AGENT", "parts": [{"text": "short"}]}}))
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let body = json!({ "message": super::bench::said("hello") });
    let answer = bench.rest("POST", "/agents/far/message:send", &body).await.json();
    // As it came: a message, and no task.
    let message = &answer["message"];
    assert_eq!(message["parts"], json!([{"text": "short", "mediaType": "text/plain"}]), "{answer}");
    assert_eq!((&message["messageId"], &answer["task"]), (&json!("r"), &Value::Null));
    let listed = bench.rest("GET", "/agents/far/tasks", &Value::Null).await.json();
    assert!(is_state(&listed["tasks"][0], "COMPLETED"), "{listed}");
    let to = Destination::Agent("far".parse().unwrap());
    assert_eq!(bench.broker.request(to, "hello").await.unwrap().payload.to_text(), "short");
    // It takes no conversation that it did not begin, and says so before it does anything. A request
    // has none.
    assert_eq!(far.called("SendMessage").len(), 3);
}

/// A piece of an artifact as the earlier version tells it.
fn piece_03(text: &str, append: bool) -> Value {
    json!({"kind": "artifact-update", "taskId": "far-1", "contextId": "far-c", "append": append,
        "artifact": {"artifactId": "out", "parts": [{"kind": "text", "text": text}]}})
}

/// A task as the earlier version shows it.
fn task_03(state: &str, parts: &[&str]) -> Value {
    let parts: Vec<_> = parts.iter().map(|text| json!({"kind": "text", "text": text})).collect();
    json!({"kind": "task", "id": "far-1", "contextId": "far-c", "status": {"state": state},
        "artifacts": [{"artifactId": "out", "parts": parts}]})
}

/// A server of the earlier version, whose stream breaks and does not begin with the task when it is
/// resumed: what came between is missing there.
async fn forgetful() -> Far {
    let far = Far::start(|method, _, before| match (method, before) {
        ("message/stream", 0) => {
            React::Events(vec![task_03("working", &[]), piece_03("one", false)], Then::Break)
        }
        // The first looks for loops.
        ("tasks/get", 0) => React::Status(404),
        ("tasks/get", 1) => React::Result(task_03("working", &["one"])),
        ("tasks/get", _) => React::Result(task_03("completed", &["one", "two", "three"])),
        ("tasks/resubscribe", 0) => {
            let ended = json!({"kind": "status-update", "taskId": "far-1", "contextId": "far-c",
                "final": true, "status": {"state": "completed"}});
            React::Events(vec![piece_03("three", true), ended], Then::Close)
        }
        _ => React::Status(404),
    })
    .await;
    far.change(|card| card["supportedInterfaces"][0]["protocolVersion"] = "0.3".into());
    far
}

#[tokio::test]
async fn what_a_resumed_stream_has_missed_is_told_at_its_end_and_nothing_twice() {
    let (bench, far) = (Bench::start().await, forgetful().await);
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let ended = bench.far("stream").await;
    assert!(is_state(&ended, "COMPLETED"), "{ended}");
    assert_eq!(texts(&ended), ["one", "two", "three"]);
    // What answers a plain request is as whole.
    let (bench, far) = (Bench::start().await, forgetful().await);
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let to = Destination::Agent("far".parse().unwrap());
    let reply = bench.broker.request(to, "stream").await.unwrap().payload.to_text().into_owned();
    let reply: Value = serde_json::from_str(&reply).unwrap();
    let parts: Vec<_> = reply["parts"].as_array().unwrap().iter().map(|it| &it["text"]).collect();
    assert_eq!(parts, ["one", "two", "three"]);
}

#[tokio::test]
async fn a_question_that_came_as_an_event_is_known_when_the_task_is_shown() {
    let bench = Bench::start().await;
    let asks = || {
        let message =
            json!({"messageId": "q", "role": "ROLE_AGENT", "parts": [{"text": "which?"}]});
        json!({"state": "TASK_STATE_INPUT_REQUIRED", "message": message})
    };
    let far = Far::start(move |method, _, before| match (method, before) {
        ("SendStreamingMessage", 0) => {
            let event = json!({"taskId": "far-1", "contextId": "far-c", "status": asks()});
            React::Events(vec![shown("WORKING", &[]), json!({"statusUpdate": event})], Then::Close)
        }
        // It takes the answer, and is then shown as it was for a while.
        ("SendStreamingMessage", _) => React::Events(vec![shown("WORKING", &[])], Then::Break),
        ("GetTask", 0..4) => {
            let mut task = task("WORKING", &[]);
            task["status"] = asks();
            React::Result(task)
        }
        ("GetTask", _) => React::Result(task("COMPLETED", &["done"])),
        _ => React::Error(json!({"code": -32004, "message": "no"})),
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let asked = bench.far("ask").await;
    assert!(is_state(&asked, "INPUT_REQUIRED") && reason(&asked) == "which?", "{asked}");
    let body = json!({ "message": answered(asked["id"].as_str().unwrap(), "this") });
    let done = bench.rest("POST", "/agents/far/message:send", &body).await.json()["task"].clone();
    assert!(is_state(&done, "COMPLETED"), "{done}");
    assert_eq!(far.called("SendStreamingMessage").len(), 2);
}

#[tokio::test]
async fn what_an_artifact_says_besides_its_parts_comes_through() {
    let bench = Bench::start().await;
    let long = "x".repeat(300);
    let told = move |artifact: Value, append: bool| {
        let update = json!({"taskId": "far-1", "contextId": "far-c", "append": append,
            "artifact": artifact});
        json!({ "artifactUpdate": update })
    };
    let id = long.clone();
    let far = Far::start(move |_, _, _| {
        let first = json!({"artifactId": id, "name": "Table", "description": "numbers",
            "metadata": {"rows": 2}, "extensions": ["urn:t"], "parts": [{"text": "1"}]});
        let next = json!({"artifactId": id, "parts": [{"text": "2"}]});
        let own = json!({"artifactId": "a2a-proxy", "parts": [{"text": "mine"}]});
        React::Events(
            vec![
                shown("WORKING", &[]),
                told(first, false),
                told(next, true),
                told(own, false),
                shown("COMPLETED", &[]),
            ],
            Then::Close,
        )
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let done = bench.far("table").await;
    let text = |text: &str| json!({"text": text, "mediaType": "text/plain"});
    let whole = json!({"artifactId": long, "name": "Table", "description": "numbers",
        "metadata": {"rows": 2}, "extensions": ["urn:t"], "parts": [text("1"), text("2")]});
    assert_eq!(done["artifacts"][0], whole, "{done}");
    // An artifact that is called as our own notes are is no note.
    assert_eq!(done["artifacts"][1]["parts"], json!([text("mine")]), "{done}");
    assert_eq!(done["artifacts"].as_array().unwrap().len(), 2);
    let path = format!("/agents/far/tasks/{}:subscribe", done["id"].as_str().unwrap());
    let events = bench.stream("POST", &path, &[("Last-Event-ID", "0")], &Value::Null).await;
    let events = events.rest().await;
    let pieces: Vec<_> = events
        .iter()
        .filter_map(|event| event.data.get("artifactUpdate"))
        .map(|update| (update["artifact"]["name"].clone(), update["append"] == true))
        .collect();
    let table = json!("Table");
    assert_eq!(
        pieces,
        [(table.clone(), false), (table, true), (json!("a2a-proxy"), false)],
        "{events:?}"
    );
}

#[tokio::test]
async fn a_request_that_cannot_be_built_was_not_sent() {
    let (bench, far) = (Bench::start().await, unsure(|| React::Break).await);
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let to = Destination::Agent("far".parse().unwrap());
    let sent = bench.broker.send(to, "x").header("a2a-extensions", "urn:a\nurn:b");
    let failure = sent.wait().await.unwrap_err().to_string();
    assert!(failure.contains("refused it") && failure.contains("cannot be sent"), "{failure}");
    assert!(far.called("SendMessage").is_empty());
}

#[tokio::test]
async fn every_broker_that_a_message_has_passed_is_told_on() {
    let (bench, far) = (Bench::start().await, unsure(|| React::Status(400)).await);
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let headers = [
        ("A2A-Version", "1.0"),
        ("Content-Type", "application/json"),
        ("trunkline-via", "one, two"),
        ("trunkline-via", "three"),
    ];
    let body = json!({ "message": super::bench::said("x") }).to_string();
    bench.raw("POST", "/agents/far/message:send", &headers, body).await;
    let via = far.called("SendMessage")[0].headers["trunkline-via"].clone();
    assert!(via.to_str().unwrap().starts_with("one, two, three, "), "{via:?}");
}
