//! What becomes of a message when the agent elsewhere breaks, by each binding in which it is called.

use super::bench::{Bench, soon};
use super::far::{Far, React, Then, piece, reason, shown, task, texts};
use serde_json::{Value, json};
use std::time::Duration;
use trunkline_server::ServerConfig;

const BINDINGS: [&str; 3] = ["JSONRPC", "HTTP+JSON", "GRPC"];

/// An agent elsewhere, which is called in one binding, and by this method first.
async fn added(
    binding: &str,
    script: fn(&str, &Value, usize) -> React,
    method: &str,
    more: Value,
) -> (Bench, Far) {
    // Nothing here is to happen because somebody was silent for long.
    let a2a_proxy_timeout = Duration::from_hours(1);
    let bench = Bench::with(ServerConfig { a2a_proxy_timeout, ..ServerConfig::default() }).await;
    let far = Far::start(script).await;
    far.speaks(binding);
    far.change(|card| card["capabilities"]["streaming"] = (method != "SendMessage").into());
    let added = bench.add(&far.url(), more).await;
    assert_eq!(added.status, 201, "{binding}: {}", added.text());
    assert_eq!(added.json()["binding"], format!("{binding} 1.0"));
    (bench, far)
}

/// What the agent elsewhere makes of one message, and how often it was sent it.
async fn ended(
    binding: &str,
    script: fn(&str, &Value, usize) -> React,
    method: &str,
) -> (Value, usize) {
    let (bench, far) = added(binding, script, method, json!({})).await;
    let ended = bench.far("x").await;
    (ended, far.called(method).len())
}

/// A stream that breaks, and when it is resumed breaks again.
fn breaking(method: &str, _: &Value, before: usize) -> React {
    match (method, before) {
        ("SendStreamingMessage", 0) => {
            React::Events(vec![shown("WORKING", &[]), piece("one", false)], Then::Break)
        }
        // The first looks for loops.
        ("GetTask", 0) => React::Status(404),
        ("GetTask", _) => React::Result(task("WORKING", &["one", "two"])),
        ("SubscribeToTask", 0) => React::Events(
            vec![shown("WORKING", &["one", "two"]), piece("three", true)],
            Then::Break,
        ),
        ("SubscribeToTask", _) => {
            let all = ["one", "two", "three"];
            let events = vec![shown("WORKING", &all), piece("four", true), shown("COMPLETED", &[])];
            React::Events(events, Then::Close)
        }
        _ => React::Status(404),
    }
}

#[tokio::test]
async fn a_stream_that_breaks_is_resumed_by_every_binding_and_nothing_is_sent_or_told_twice() {
    for binding in BINDINGS {
        let (ended, sent) = ended(binding, breaking, "SendStreamingMessage").await;
        assert_eq!(ended["status"]["state"], "TASK_STATE_COMPLETED", "{binding}: {ended}");
        assert_eq!((texts(&ended), sent), (vec!["one", "two", "three", "four"], 1), "{binding}");
    }
}

/// A stream that breaks and cannot be resumed.
fn unresumable(method: &str, _: &Value, before: usize) -> React {
    match (method, before) {
        ("SendStreamingMessage", 0) => React::Events(vec![shown("WORKING", &[])], Then::Break),
        ("GetTask", 0) => React::Status(404),
        ("GetTask", 1..4) => React::Result(task("WORKING", &["one"])),
        ("GetTask", _) => React::Result(task("COMPLETED", &["one", "two"])),
        ("SubscribeToTask", _) => React::Error(json!({"code": -32004, "message": "no"})),
        _ => React::Status(404),
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_resumed_is_polled_by_every_binding() {
    for binding in BINDINGS {
        let (ended, sent) = ended(binding, unresumable, "SendStreamingMessage").await;
        assert_eq!(ended["status"]["state"], "TASK_STATE_COMPLETED", "{binding}: {ended}");
        assert_eq!((texts(&ended), sent), (vec!["one", "two"], 1), "{binding}");
    }
}

#[tokio::test]
async fn what_may_have_arrived_is_sent_again_by_no_binding() {
    for binding in BINDINGS {
        for method in ["SendMessage", "SendStreamingMessage"] {
            let (ended, sent) = ended(binding, |_, _, _| React::Break, method).await;
            assert_eq!(ended["status"]["state"], "TASK_STATE_FAILED", "{binding}: {ended}");
            let why = reason(&ended);
            assert!(why.contains("it is not known whether the message reached"), "{why}");
            assert_eq!(sent, 1, "{binding} {method}");
        }
    }
}

/// A stream that lasts as long as its connection, and one that goes on after it.
fn lasting(method: &str, _: &Value, before: usize) -> React {
    match (method, before) {
        ("SendStreamingMessage", 0) => {
            React::Events(vec![shown("WORKING", &[]), piece("one", false)], Then::Silence)
        }
        // The first looks for loops.
        ("GetTask", 0) => React::Status(404),
        ("GetTask", _) => React::Result(task("WORKING", &["one"])),
        ("SubscribeToTask", _) => {
            let events = vec![shown("WORKING", &["one"]), piece("two", true)];
            React::Events([events, vec![shown("COMPLETED", &[])]].concat(), Then::Close)
        }
        _ => React::Status(404),
    }
}

#[tokio::test]
async fn a_stream_whose_connection_breaks_is_resumed_over_another_by_every_binding() {
    for binding in BINDINGS {
        let (bench, far) = added(binding, lasting, "SendStreamingMessage", json!({})).await;
        let id = bench.far_begun("x").await;
        soon(async {
            while texts(&bench.shown(&id).await).is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        far.cut();
        let ended = bench.until_task(&id, "COMPLETED").await;
        let sent = far.called("SendStreamingMessage").len();
        assert_eq!((texts(&ended), sent), (vec!["one", "two"], 1), "{binding}");
        assert_eq!(far.called("SubscribeToTask").len(), 1, "{binding}");
    }
}

/// The first message is taken and never answered.
fn hanging(method: &str, _: &Value, before: usize) -> React {
    match (method, before) {
        ("SendMessage", 0) => React::Never,
        ("SendMessage", _) => React::Result(shown("COMPLETED", &["done"])),
        _ => React::Status(404),
    }
}

#[tokio::test]
async fn a_message_whose_connection_breaks_before_its_answer_is_in_doubt_in_every_binding() {
    for binding in BINDINGS {
        for (idempotent, state, sent) in [(false, "FAILED", 1), (true, "COMPLETED", 2)] {
            let more = json!({ "idempotent": idempotent });
            let (bench, far) = added(binding, hanging, "SendMessage", more).await;
            let id = bench.far_begun("x").await;
            soon(async {
                while far.called("SendMessage").is_empty() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            far.cut();
            let ended = bench.until_task(&id, state).await;
            let calls = far.called("SendMessage");
            assert_eq!(calls.len(), sent, "{binding}: {ended}");
            let ids = calls.iter().map(|call| &call.params["message"]["messageId"]);
            assert!(ids.clone().all(|id| Some(id) == ids.clone().next()), "{binding}");
            let in_doubt = reason(&ended).contains("it is not known whether the message reached");
            assert_eq!(in_doubt, !idempotent, "{binding}: {ended}");
        }
    }
}
