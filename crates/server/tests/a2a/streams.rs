//! Streams: what they tell, when they end, and how they go on after a break.

use super::bench::{Bench, Event, answered, said};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;
use trunkline_agent::{Host, Task};
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
async fn artifacts_are_told_once_and_a_pause_ends_the_stream() {
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

/// An agent that makes a piece of an artifact and says how far it is each time that it is let go on,
/// three times in all.
async fn stepping(bench: &Bench) -> (trunkline_agent::Agent, Arc<Notify>) {
    let gate = Arc::new(Notify::new());
    let of_agent = gate.clone();
    let work = move |task: Task| {
        let gate = of_agent.clone();
        async move {
            for (step, text) in [(1, "one"), (2, "two"), (3, "three")] {
                gate.notified().await;
                task.progress(step * 30, text).await?;
                task.artifact("out", text, step > 1, step == 3).await?;
            }
            gate.notified().await;
            Ok("done")
        }
    };
    let agent = bench.broker.agent("stepping").skill("step", work).start().await.unwrap();
    (agent, gate)
}

fn piece(event: &Event) -> Option<&str> {
    event.data["artifactUpdate"]["artifact"]["parts"][0]["text"].as_str()
}

#[tokio::test]
async fn progress_is_told_to_whoever_follows_and_has_no_number() {
    let bench = Bench::start().await;
    let (_agent, gate) = stepping(&bench).await;
    let body = json!({ "message": said("x") });
    let mut events = bench.stream("POST", "/agents/stepping/message:stream", &[], &body).await;
    let id = events.next().await.unwrap().data["task"]["id"].as_str().unwrap().to_owned();
    for (percent, text) in [(30, "one"), (60, "two"), (90, "three")] {
        gate.notify_one();
        let mut event = events.next().await.unwrap();
        while event.state() == "WORKING" && event.id.is_some() {
            event = events.next().await.unwrap();
        }
        let update = &event.data["statusUpdate"];
        assert_eq!((event.id, event.state()), (None, "WORKING"), "{event:?}");
        assert_eq!(update["metadata"]["progress"], percent, "{event:?}");
        assert_eq!(update["status"]["message"]["parts"][0]["text"], text);
        assert_eq!(update["taskId"], id.as_str());
        let next = events.next().await.unwrap();
        assert_eq!(piece(&next), Some(text), "{next:?}");
    }
    gate.notify_one();
    assert_eq!(states(&events.rest().await), ["COMPLETED"]);
}

#[tokio::test]
async fn a_stream_of_a_task_that_goes_on_is_told_what_it_missed_and_then_what_happens() {
    let bench = Bench::start().await;
    let (_agent, gate) = stepping(&bench).await;
    let body = json!({ "message": said("x") });
    let mut events = bench.stream("POST", "/agents/stepping/message:stream", &[], &body).await;
    let first = events.next().await.unwrap();
    let id = first.data["task"]["id"].as_str().unwrap().to_owned();
    gate.notify_one();
    let mut seen = first;
    while piece(&seen) != Some("one") {
        seen = events.next().await.unwrap();
    }
    // Cut, and something happens meanwhile.
    drop(events);
    gate.notify_one();
    let task = format!("/agents/stepping/tasks/{id}");
    super::bench::soon(async {
        loop {
            let shown = bench.rest("GET", &task, &Value::Null).await.json();
            assert_eq!(shown["status"]["state"], "TASK_STATE_WORKING", "{shown}");
            if shown["artifacts"][0]["parts"].as_array().is_some_and(|parts| parts.len() == 2) {
                return;
            }
        }
    })
    .await;
    let number = seen.id.unwrap();
    let text = number.to_string();
    let resumed = [("Last-Event-ID", text.as_str())];
    let subscribe = format!("{task}:subscribe");
    let mut resumed = bench.stream("GET", &subscribe, &resumed, &Value::Null).await;
    let shown = resumed.next().await.unwrap();
    assert_eq!((shown.id, shown.state()), (Some(number), "WORKING"), "{shown:?}");
    assert_eq!(shown.data["task"]["artifacts"][0]["parts"].as_array().unwrap().len(), 1);
    let missed = resumed.next().await.unwrap();
    assert_eq!((missed.id, piece(&missed)), (Some(number + 1), Some("two")), "{missed:?}");
    // What happens from now on is told too, and once.
    gate.notify_one();
    let mut live = Vec::new();
    while !live.iter().any(|event| piece(event) == Some("three")) {
        live.push(resumed.next().await.unwrap());
    }
    gate.notify_one();
    live.extend(resumed.rest().await);
    live.retain(|event| event.id.is_some());
    assert_eq!(live.iter().map(|event| event.id.unwrap() - number).collect::<Vec<_>>(), [2, 3]);
    assert_eq!((piece(&live[0]), live[1].state()), (Some("three"), "COMPLETED"), "{live:?}");
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
