//! Streams: what they tell, when they end, and how they go on after a break.

use super::bench::{Bench, Event, answered, said};
use serde_json::{Value, json};
use trunkline_broker::BrokerConfig;
use trunkline_server::ServerConfig;

fn states(events: &[Event]) -> Vec<&str> {
    events.iter().map(Event::state).filter(|state| !state.is_empty()).collect()
}

fn subscribe(id: &str) -> String {
    format!("/agents/helper/tasks/{id}:subscribe")
}

#[tokio::test]
async fn a_stream_begins_with_the_task_and_ends_with_it() {
    let bench = Bench::start().await;
    let body = json!({ "message": said("hello") });
    let events = bench.stream("POST", "/agents/helper/message:stream", &[], &body).await;
    let events = events.rest().await;
    assert!(events[0].data["task"]["id"].is_string(), "{:?}", events[0]);
    let last = events.last().unwrap();
    assert_eq!(last.state(), "COMPLETED");
    if let Some(update) = last.data.get("statusUpdate") {
        assert_eq!(update["status"]["message"]["parts"][0]["text"], "hello");
        assert_eq!(update["contextId"], events[0].data["task"]["contextId"]);
    }
    let numbers: Vec<_> = events.iter().filter_map(|event| event.id).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn over_json_rpc_each_event_is_a_response() {
    let bench = Bench::start().await;
    let params = json!({ "message": said("hello") });
    let body =
        json!({"jsonrpc": "2.0", "id": "s", "method": "SendStreamingMessage", "params": params});
    let events = bench.stream("POST", "/agents/helper", &[], &body).await.rest().await;
    for event in &events {
        assert_eq!((&event.data["jsonrpc"], &event.data["id"]), (&json!("2.0"), &json!("s")));
    }
    assert!(events[0].data["result"]["task"]["id"].is_string());
    assert_eq!(events.last().unwrap().state(), "COMPLETED");
}

#[tokio::test]
async fn artifacts_and_progress_are_told_and_a_pause_ends_the_stream() {
    let bench = Bench::start().await;
    let task = bench.task("write").await;
    let id = task["id"].as_str().unwrap();
    assert_eq!(task["status"]["state"], "TASK_STATE_INPUT_REQUIRED");
    assert_eq!(task["artifacts"][0]["parts"].as_array().unwrap().len(), 1);

    let body = json!({ "message": answered(id, "go") });
    let events = bench.stream("POST", "/agents/helper/message:stream", &[], &body).await;
    let events = events.rest().await;
    let told: Vec<_> = events.iter().filter_map(|event| event.data.get("artifactUpdate")).collect();
    let task = &events[0].data["task"];
    let known = task["artifacts"][0]["parts"].as_array().unwrap().len();
    // The second piece is in the task that begins the stream, or is told: once.
    assert_eq!(known + told.len(), 2, "{events:?}");
    for update in told {
        assert_eq!((&update["append"], &update["lastChunk"]), (&json!(true), &json!(true)));
        assert_eq!(update["artifact"]["artifactId"], "out");
    }
    assert_eq!(events.last().unwrap().state(), "COMPLETED");

    let done = bench.until(id, "COMPLETED").await;
    let parts = done["artifacts"][0]["parts"].as_array().unwrap();
    let texts: Vec<_> = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["one", "two"]);

    let body = json!({ "message": said("ask") });
    let events = bench.stream("POST", "/agents/helper/message:stream", &[], &body).await;
    let events = events.rest().await;
    let last = events.last().unwrap();
    assert_eq!(last.state(), "INPUT_REQUIRED");
}

/// What two streams told in common: what comes after their first event, without progress.
fn numbered(events: &[Event]) -> Vec<(u64, Value)> {
    let after = events.iter().skip(1);
    after.filter_map(|event| Some((event.id?, event.data.clone()))).collect()
}

#[tokio::test]
async fn parallel_streams_tell_the_same_and_one_that_broke_goes_on_by_its_last_number() {
    let bench = Bench::start().await;
    let id = bench.begun("write").await;
    bench.until(&id, "INPUT_REQUIRED").await;
    let one = bench.stream("GET", &subscribe(&id), &[], &json!(null)).await;
    let mut two = bench.stream("POST", &subscribe(&id), &[], &json!(null)).await;
    let first = two.next().await.unwrap();
    assert_eq!(first.state(), "INPUT_REQUIRED");
    bench.rpc("SendMessage", json!({ "message": answered(&id, "go") })).await;
    let (one, two) = (one.rest().await, two.rest().await);
    assert_eq!(numbered(&one), {
        let mut all = vec![first];
        all.extend(two);
        numbered(&all)
    });
    assert_eq!(one.last().unwrap().state(), "COMPLETED");

    // The task has ended meanwhile; whoever missed its end is still told, from any number on.
    for seen in 0..one.last().unwrap().id.unwrap() {
        let text = seen.to_string();
        let headers = [("Last-Event-ID", text.as_str())];
        let resumed = bench.stream("GET", &subscribe(&id), &headers, &json!(null)).await;
        let resumed = resumed.rest().await;
        assert_eq!(resumed[0].id, Some(seen));
        assert!(resumed[0].data["task"].is_object());
        let expected = numbered(&one).into_iter().filter(|(number, _)| *number > seen);
        let told = numbered(&resumed);
        let told: Vec<_> =
            told.into_iter().filter(|(number, _)| *number > one[0].id.unwrap().max(seen)).collect();
        assert_eq!(told, expected.collect::<Vec<_>>(), "after {seen}");
    }
}

#[tokio::test]
async fn a_stream_resumed_in_the_middle_shows_the_task_as_it_was_then() {
    let bench = Bench::start().await;
    let id = bench.begun("write").await;
    bench.until(&id, "INPUT_REQUIRED").await;
    // What was said when is known to the millisecond.
    let asked = std::time::Instant::now();
    while asked.elapsed().as_millis() < 2 {
        tokio::task::yield_now().await;
    }
    bench.rpc("SendMessage", json!({ "message": answered(&id, "go") })).await;
    let resume = async |seen: &str| {
        let headers = [("Last-Event-ID", seen)];
        let events = bench.stream("GET", &subscribe(&id), &headers, &json!(null)).await;
        events.rest().await
    };
    let from_start = resume("0").await;
    assert_eq!(from_start[0].state(), "SUBMITTED");
    assert!(from_start[0].data["task"].get("artifacts").is_none());
    // submitted, working, the first piece, input-required, the answer, submitted, working, …
    let middle = resume("3").await;
    assert_eq!(middle[0].state(), "WORKING");
    assert_eq!(middle[0].data["task"]["artifacts"][0]["parts"].as_array().unwrap().len(), 1);
    assert_eq!(middle[0].data["task"]["history"].as_array().unwrap().len(), 1);
    // A pause that is over ends no stream.
    let told = ["WORKING", "INPUT_REQUIRED", "SUBMITTED", "WORKING", "COMPLETED"];
    assert_eq!(states(&middle), told);
}

#[tokio::test]
async fn following_ends_with_a_cancel() {
    let bench = Bench::start().await;
    let id = bench.begun("hold").await;
    bench.until(&id, "WORKING").await;
    let events = bench.stream("GET", &subscribe(&id), &[], &json!(null)).await;
    bench.rpc("CancelTask", json!({ "id": id })).await;
    assert_eq!(events.rest().await.last().unwrap().state(), "CANCELED");
}

#[tokio::test]
async fn events_that_are_no_longer_kept_are_told_as_a_gap() {
    let mut broker = BrokerConfig::ephemeral();
    broker.engine.task_events = 4;
    let bench = Bench::open(ServerConfig::default(), broker).await;
    let waits = bench.task("write").await;
    let id = waits["id"].as_str().unwrap().to_owned();
    bench.rpc("SendMessage", json!({ "message": answered(&id, "go") })).await;
    let task = bench.until(&id, "COMPLETED").await;
    // The first piece of the artifact is among what is gone.
    assert_eq!(task["metadata"]["gap"]["first"], 1, "{task}");
    let last = task["metadata"]["gap"]["last"].as_u64().unwrap();
    let resumed = [("Last-Event-ID", "1")];
    let events = bench.stream("GET", &subscribe(&id), &resumed, &Value::Null).await.rest().await;
    let gaps: Vec<_> = events
        .iter()
        .filter(|event| !event.data["statusUpdate"]["metadata"]["gap"].is_null())
        .collect();
    let shown = &events[0].data["task"]["metadata"]["gap"];
    // It is told once: with the task as it was, or between what is known.
    assert_eq!(usize::from(!shown.is_null()) + gaps.len(), 1, "{events:?}");
    let gap = gaps.first().map_or(shown, |event| &event.data["statusUpdate"]["metadata"]["gap"]);
    assert_eq!(gap["last"], last, "{events:?}");
    assert_eq!(events.last().unwrap().state(), "COMPLETED");
}
