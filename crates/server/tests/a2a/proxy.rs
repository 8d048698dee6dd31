//! An agent at one broker as an agent of another one, by each way in which it can be called.

use super::bench::{Bench, answered, said};
use super::far::{Far, React, Then, card, reason, shown, texts};
use serde_json::{Value, json};
use std::time::Duration;
use trunkline_agent::Host;
use trunkline_broker::BrokerConfig;
use trunkline_server::ServerConfig;
use trunkline_types::{DeadLetterFilter, Destination};

/// Two brokers, the first of which calls the second by this binding.
async fn pair(binding: &str, version: &str) -> (Bench, Bench) {
    let (near, there) = (Bench::near().await, Bench::start().await);
    introduce(&near, &there, binding, version).await;
    (near, there)
}

/// Makes the agent at one broker an agent of the other one. Its card is elsewhere, and names one
/// binding only.
async fn introduce(near: &Bench, there: &Bench, binding: &str, version: &str) {
    let (url, tenant) = match binding {
        // As our own cards have it.
        "GRPC" => (there.address.to_string(), "agents/helper"),
        _ => (format!("http://{}/agents/helper", there.address), ""),
    };
    let front = Far::start(|_, _, _| React::Never).await;
    front.change(|card| {
        *card = self::card(&url);
        card["supportedInterfaces"][0]["protocolBinding"] = binding.into();
        card["supportedInterfaces"][0]["protocolVersion"] = version.into();
        card["supportedInterfaces"][0]["tenant"] = tenant.into();
        card["skills"][0]["id"] = "help".into();
    });
    let added = near.add(&front.url(), json!({})).await;
    assert_eq!(added.status, 201, "{}", added.text());
    assert_eq!(added.json()["binding"], format!("{binding} {version}"));
}

async fn is_as_if_it_were_here(binding: &str, version: &str) {
    let (near, _there) = pair(binding, version).await;
    let done = near.far("hello").await;
    assert_eq!(done["status"]["state"], "TASK_STATE_COMPLETED", "{done}");
    assert_eq!(reason(&done), "hello");
    for (text, state, why) in [
        ("fail", "FAILED", "no luck"),
        ("reject", "REJECTED", "not mine"),
        ("whole", "COMPLETED", "a"),
    ] {
        let ended = near.far(text).await;
        assert_eq!(ended["status"]["state"], format!("TASK_STATE_{state}"));
        assert_eq!(reason(&ended), why);
    }
    // Several turns of one task, with an artifact in pieces.
    let waits = near.far("write").await;
    assert_eq!(waits["status"]["state"], "TASK_STATE_INPUT_REQUIRED", "{waits}");
    assert_eq!(texts(&waits), ["one"]);
    let id = waits["id"].as_str().unwrap();
    let body = json!({ "message": answered(id, "go") });
    let done = near.rest("POST", "/agents/far/message:send", &body).await.json()["task"].clone();
    assert_eq!((done["id"].as_str(), texts(&done)), (Some(id), vec!["one", "two"]), "{done}");
    assert_eq!(done["artifacts"].as_array().unwrap().len(), 1, "{done}");
    assert_eq!(reason(&done), "written");
    let file = near.far("file").await;
    let artifact = file["artifacts"][0].clone();
    let own = json!({"artifactId": "out", "name": "table", "description": "numbers",
        "parts": [{"url": "https://x/f", "filename": "f", "mediaType": "text/csv"}]});
    assert_eq!(artifact, own, "{binding} {version}");
    let asks = near.far("ask").await;
    assert_eq!(reason(&asks), "which?");
    let body = json!({ "message": answered(asks["id"].as_str().unwrap(), "this") });
    let done = near.rest("POST", "/agents/far/message:send", &body).await.json()["task"].clone();
    assert_eq!(reason(&done), "ask: this");
}

#[tokio::test]
async fn an_agent_elsewhere_is_as_if_it_were_here_over_json_rpc() {
    is_as_if_it_were_here("JSONRPC", "1.0").await;
}

#[tokio::test]
async fn an_agent_elsewhere_is_as_if_it_were_here_over_http_and_json() {
    is_as_if_it_were_here("HTTP+JSON", "1.0").await;
}

#[tokio::test]
async fn an_agent_elsewhere_is_as_if_it_were_here_in_the_earlier_version() {
    is_as_if_it_were_here("JSONRPC", "0.3").await;
}

#[tokio::test]
async fn an_agent_elsewhere_is_as_if_it_were_here_over_grpc() {
    is_as_if_it_were_here("GRPC", "1.0").await;
}

#[tokio::test]
async fn an_agent_elsewhere_is_as_if_it_were_here_in_the_earlier_version_over_http_and_json() {
    is_as_if_it_were_here("HTTP+JSON", "0.3").await;
}

#[tokio::test]
async fn what_nobody_listens_to_over_grpc_was_not_sent_and_waits_for_its_next_attempt() {
    let (near, there) = pair("GRPC", "1.0").await;
    there.end().await;
    let id = near.far_begun("hello").await;
    let failed = near.until_task(&id, "FAILED").await;
    // It was tried as often as any, and not once because nobody knows.
    assert!(reason(&failed).contains("did not take it"), "{failed}");
    let attempts = near.broker.dead_letters(DeadLetterFilter::default()).await.unwrap();
    assert_eq!(attempts.letters[0].attempts.len(), 3);
}

#[tokio::test]
async fn an_agent_elsewhere_is_found_by_its_skill_and_by_what_its_card_says() {
    let (near, _there) = pair("JSONRPC", "1.0").await;
    let listed = near.raw("GET", "/api/v1/agents?skill=help&tag=distant", &[], "").await;
    let far = listed.json()["agents"][0].clone();
    assert_eq!((&far["id"], &far["name"]), (&json!("far"), &json!("Far Agent")));
    assert_eq!((&far["version"], &far["state"]), (&json!("3"), &json!("ready")));
    let sent = near.broker.send(Destination::Skill("help".parse().unwrap()), "hello");
    let reply = sent.wait().await.unwrap();
    assert_eq!(reply.payload.to_text(), "hello");
    // A name that cannot be one here is another one, and itself there.
    let named = Far::start(|_, params, _| {
        let skill = params["metadata"]["skill"].as_str().unwrap_or_default().to_owned();
        React::Events(vec![shown("WORKING", &[&skill]), shown("COMPLETED", &[&skill])], Then::Close)
    })
    .await;
    assert_eq!(near.add(&named.url(), json!({"id": "named"})).await.status, 201);
    let skill = Destination::Skill("far-skill".parse().unwrap());
    // A plain request has no artifacts: what they are is its answer.
    let reply = near.broker.request(skill, "hello").await.unwrap();
    assert_eq!(reply.payload.to_text(), "far skill");
    // And it cannot be asked back.
    let asked = near.broker.request(Destination::Agent("far".parse().unwrap()), "ask").await;
    assert!(asked.unwrap_err().to_string().contains("send it as a task"));
}

#[tokio::test]
async fn calling_a_task_off_calls_it_off_elsewhere() {
    let (near, there) = pair("JSONRPC", "1.0").await;
    let id = near.far_begun("hold").await;
    let held = super::bench::soon(async {
        loop {
            let listed = there.rest("GET", "/agents/helper/tasks", &Value::Null).await.json();
            if let Some(task) = listed["tasks"].as_array().and_then(|tasks| tasks.first())
                && task["status"]["state"] == "TASK_STATE_WORKING"
            {
                return task["id"].as_str().unwrap().to_owned();
            }
        }
    })
    .await;
    near.rest("POST", &format!("/agents/far/tasks/{id}:cancel"), &json!({})).await;
    there.until(&held, "CANCELED").await;
    assert_eq!(near.shown(&id).await["status"]["state"], "TASK_STATE_CANCELED");
}

/// The only task of the other broker, once it is in a state.
async fn until_there(there: &Bench, state: &str) {
    let state = format!("TASK_STATE_{state}");
    super::bench::soon(async {
        loop {
            let listed = there.rest("GET", "/agents/helper/tasks", &Value::Null).await.json();
            if listed["tasks"][0]["status"]["state"] == state.as_str() {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn calling_a_task_off_that_waits_for_an_answer_calls_it_off_elsewhere() {
    let (near, there) = pair("JSONRPC", "1.0").await;
    let asks = near.far("ask").await;
    assert_eq!(asks["status"]["state"], "TASK_STATE_INPUT_REQUIRED", "{asks}");
    until_there(&there, "INPUT_REQUIRED").await;
    let id = asks["id"].as_str().unwrap();
    near.rest("POST", &format!("/agents/far/tasks/{id}:cancel"), &json!({})).await;
    until_there(&there, "CANCELED").await;
}

#[tokio::test]
async fn a_task_that_waited_before_a_restart_is_called_off_elsewhere_after_it() {
    let data = tempfile::tempdir().unwrap();
    let there = Bench::start().await;
    let open = async || Bench::open(Bench::allowing(), BrokerConfig::durable(data.path())).await;
    let near = open().await;
    introduce(&near, &there, "JSONRPC", "1.0").await;
    let id = near.far("ask").await["id"].as_str().unwrap().to_owned();
    near.end().await;
    let near = open().await;
    until_there(&there, "INPUT_REQUIRED").await;
    near.rest("POST", &format!("/tasks/{id}:cancel"), &json!({})).await;
    until_there(&there, "CANCELED").await;
}

#[tokio::test]
async fn a_task_that_is_answered_is_not_called_off_elsewhere() {
    let (near, there) = pair("JSONRPC", "1.0").await;
    let asks = near.far("ask").await;
    let body = json!({ "message": answered(asks["id"].as_str().unwrap(), "this") });
    let done = near.rest("POST", "/agents/far/message:send", &body).await.json()["task"].clone();
    assert_eq!(reason(&done), "ask: this");
    until_there(&there, "COMPLETED").await;
}

#[tokio::test]
async fn a_task_whose_time_is_over_is_called_off_elsewhere() {
    let (near, there) = pair("JSONRPC", "1.0").await;
    let to = Destination::Agent("far".parse().unwrap());
    let sent = near.broker.send(to, "hold").ttl(Duration::from_millis(800));
    let failure = sent.wait().await.unwrap_err().to_string();
    assert!(failure.to_lowercase().contains("expired"), "{failure}");
    super::bench::soon(async {
        loop {
            let listed = there.rest("GET", "/agents/helper/tasks", &Value::Null).await.json();
            let mut tasks = listed["tasks"].as_array().unwrap().iter();
            if tasks.any(|task| task["status"]["state"] == "TASK_STATE_CANCELED") {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_stream_of_an_agent_elsewhere_tells_what_its_own_tells() {
    let (near, _there) = pair("JSONRPC", "1.0").await;
    let waits = near.far("write").await;
    let id = waits["id"].as_str().unwrap().to_owned();
    let path = format!("/agents/far/tasks/{id}:subscribe");
    let mut events = near.stream("POST", &path, &[], &Value::Null).await;
    events.next().await.unwrap();
    let body = json!({ "message": answered(&id, "go") });
    near.rest("POST", "/agents/far/message:send", &body).await;
    let events = events.rest().await;
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| event.data["artifactUpdate"]["artifact"]["parts"][0]["text"].as_str())
        .collect();
    // What the broker notes for itself is not among it.
    assert_eq!(told, ["two"]);
    assert_eq!(events.last().unwrap().state(), "COMPLETED");
}

#[tokio::test]
async fn a_restart_finds_the_agents_elsewhere_again_and_goes_on_with_their_tasks() {
    let data = tempfile::tempdir().unwrap();
    let there = Bench::start().await;
    let url = format!("http://{}/agents/helper", there.address);
    let near = Bench::open(ServerConfig::default(), BrokerConfig::durable(data.path())).await;
    assert_eq!(near.add(&url, json!({})).await.status, 201);
    let id = near.far_begun("hold").await;
    near.until_task(&id, "WORKING").await;
    let count = async || {
        let listed = there.rest("GET", "/agents/helper/tasks", &Value::Null).await.json();
        listed["tasks"].as_array().map_or(0, Vec::len)
    };
    super::bench::soon(async { while count().await == 0 {} }).await;
    near.end().await;
    let near = Bench::open(ServerConfig::default(), BrokerConfig::durable(data.path())).await;
    near.until_far_is("ready").await;
    near.until_task(&id, "WORKING").await;
    // It goes on, and was not sent again.
    near.rest("POST", &format!("/agents/far/tasks/{id}:cancel"), &json!({})).await;
    super::bench::soon(async {
        loop {
            let listed = there.rest("GET", "/agents/helper/tasks", &Value::Null).await.json();
            if listed["tasks"][0]["status"]["state"] == "TASK_STATE_CANCELED" {
                return;
            }
        }
    })
    .await;
    assert_eq!(count().await, 1);
    // Removed, it stays away.
    let removed = near.raw("DELETE", "/api/v1/agents/far", &[], "").await;
    assert_eq!(removed.status, 204, "{}", removed.text());
    near.end().await;
    let near = Bench::open(ServerConfig::default(), BrokerConfig::durable(data.path())).await;
    let answer =
        near.rest("POST", "/agents/far/message:send", &json!({ "message": said("x") })).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    let removed = near.raw("DELETE", "/api/v1/agents/far", &[], "").await;
    assert_eq!(removed.status, 404);
}

#[tokio::test]
async fn what_a_client_says_beside_a_message_and_an_answer_reaches_the_agent_elsewhere() {
    let bench = Bench::start().await;
    let far = Far::plain(|method, _, before| match (method, before) {
        ("SendMessage", 0) => React::Result(shown("INPUT_REQUIRED", &[])),
        ("SendMessage", _) => React::Result(shown("COMPLETED", &["done"])),
        _ => React::Status(404),
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let send = async |message: Value, number: &str| {
        let headers = [
            ("A2A-Version", "1.0"),
            ("Content-Type", "application/json"),
            ("A2A-Extensions", &format!("urn:{number}")),
        ];
        let body = json!({
            "message": message,
            "configuration": {"acceptedOutputModes": [format!("text/{number}")]},
            "metadata": {"of": number, "both": number},
        });
        let path = "/agents/far/message:send";
        bench.raw("POST", path, &headers, body.to_string()).await.json()["task"].clone()
    };
    let with = |mut message: Value| {
        message["metadata"] = json!({"own": 1, "both": "message"});
        message
    };
    let waits = send(with(said("first")), "one").await;
    assert_eq!(waits["status"]["state"], "TASK_STATE_INPUT_REQUIRED", "{waits}");
    let ended = send(with(answered(waits["id"].as_str().unwrap(), "second")), "two").await;
    assert_eq!(ended["status"]["state"], "TASK_STATE_COMPLETED", "{ended}");
    let called = far.called("SendMessage");
    assert_eq!(called.len(), 2);
    for (call, number) in called.iter().zip(["one", "two"]) {
        assert_eq!(call.headers["a2a-extensions"], format!("urn:{number}"));
        let modes = &call.params["configuration"]["acceptedOutputModes"];
        assert_eq!(*modes, json!([format!("text/{number}")]));
        // Each where it was said.
        assert_eq!(call.params["metadata"], json!({ "of": number }));
        let own = json!({"own": 1, "both": "message"});
        assert_eq!(call.params["message"]["metadata"], own, "{number}");
    }
}

#[tokio::test]
async fn a_conversation_and_a_task_are_called_there_as_they_are_there() {
    let bench = Bench::start().await;
    // It calls conversations as it likes.
    let far = Far::plain(|method, _, _| match method {
        "SendMessage" => React::Result(shown("COMPLETED", &["done"])),
        _ => React::Status(404),
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let first = bench.far("first").await;
    let here = bench.task("x").await;
    let mut message = said("second");
    message["contextId"] = first["contextId"].clone();
    message["referenceTaskIds"] = json!([first["id"], here["id"], "no-id"]);
    let body = json!({ "message": message });
    let path = "/agents/far/message:send";
    let second = bench.rest("POST", path, &body).await.json()["task"].clone();
    assert_eq!(second["contextId"], first["contextId"]);
    let called = far.called("SendMessage");
    assert_eq!(called[0].params["message"]["contextId"], first["contextId"]);
    let told = &called[1].params["message"];
    assert_eq!(told["contextId"], "far-c");
    assert_eq!(told["referenceTaskIds"], json!(["far-1"]), "{told}");
    // Another conversation is another one.
    bench.far("third").await;
    assert_ne!(far.called("SendMessage")[2].params["message"]["contextId"], "far-c");
}

#[tokio::test]
async fn a_task_that_was_called_off_elsewhere_is_called_off_here() {
    let bench = Bench::start().await;
    let far = Far::plain(|method, _, _| match method {
        "SendMessage" => {
            let mut task = super::far::task("CANCELED", &[]);
            let parts = json!([{"text": "not today"}]);
            task["status"]["message"] =
                json!({"messageId": "q", "role": "ROLE_AGENT", "parts": parts});
            React::Result(json!({ "task": task }))
        }
        _ => React::Status(404),
    })
    .await;
    assert_eq!(bench.add(&far.url(), json!({})).await.status, 201);
    let ended = bench.far("x").await;
    assert_eq!(ended["status"]["state"], "TASK_STATE_CANCELED", "{ended}");
    assert_eq!(reason(&ended), "not today");
    assert_eq!(far.called("SendMessage").len(), 1);
    // It is over there already.
    assert_eq!(far.called("CancelTask").len(), 0);
    // A plain request has no such end.
    let to = Destination::Agent("far".parse().unwrap());
    let refused = bench.broker.request(to, "x").await.unwrap_err();
    assert!(refused.to_string().contains("not today"), "{refused}");
}

#[tokio::test]
async fn a_card_that_lacks_what_a_skill_must_have_is_refused() {
    let bench = Bench::start().await;
    for field in ["description", "tags"] {
        let far = Far::plain(|_, _, _| React::Status(404)).await;
        far.change(|card| {
            card["skills"][0].as_object_mut().unwrap().remove(field);
        });
        let refused = bench.add(&far.url(), json!({})).await;
        assert_eq!(refused.status, 400, "{}", refused.text());
        assert!(refused.text().contains(&format!("lacks skills[0].{field}")), "{}", refused.text());
    }
}
