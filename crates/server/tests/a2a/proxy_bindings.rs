//! What becomes of a message when the agent elsewhere breaks, by each binding in which it is called.

use super::bench::Bench;
use super::far::{Far, React, Then, piece, reason, shown, task, texts};
use serde_json::{Value, json};

const BINDINGS: [&str; 3] = ["JSONRPC", "HTTP+JSON", "GRPC"];

/// What the agent elsewhere makes of one message, and how often it was sent it.
async fn ended(
    binding: &str,
    script: fn(&str, &Value, usize) -> React,
    method: &str,
) -> (Value, usize) {
    let (bench, far) = (Bench::start().await, Far::start(script).await);
    far.speaks(binding);
    far.change(|card| card["capabilities"]["streaming"] = (method != "SendMessage").into());
    let added = bench.add(&far.url(), json!({})).await;
    assert_eq!(added.status, 201, "{binding}: {}", added.text());
    assert_eq!(added.json()["binding"], format!("{binding} 1.0"));
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
