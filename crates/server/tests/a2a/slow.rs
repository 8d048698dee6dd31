//! A broker that takes its time: what a stream is about to tell is told all the same.

use super::bench::said;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use futures_util::{FutureExt, StreamExt, stream};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use trunkline_a2a::wire::AgentSkill;
use trunkline_a2a::{A2a, A2aConfig, Gateway, Updates};
use trunkline_types::session::{Accepted, BoxFuture, Operation};
use trunkline_types::{
    AgentId, Answer, Destination, Epoch, History, MessageId, Partition, Payload, Principal,
    Publish, Query, Refusal, RefusalCode, TaskEvent, TaskEventBody, TaskSnapshot, TaskState,
    TaskUpdate, WallTime,
};

/// A broker with one task, which ends when it is followed, and is shown slowly from then on.
#[derive(Default)]
pub(crate) struct Slow {
    asked: AtomicU32,
}

fn id() -> MessageId {
    MessageId::from_parts(1, Partition(0), 7)
}

fn snapshot(state: TaskState) -> TaskSnapshot {
    TaskSnapshot {
        id: id(),
        destination: Destination::Agent("helper".parse().unwrap()),
        source: None,
        context_id: None,
        causation_id: None,
        root_id: None,
        state,
        reason: None,
        agent: None,
        attempts: 1,
        notes: Vec::new(),
        progress: None,
        result: (state == TaskState::Completed).then(|| Payload::text("done")),
        last_event: if state == TaskState::Completed { 2 } else { 1 },
        created_at: WallTime(1),
        updated_at: WallTime(1),
        history: History::default(),
    }
}

fn none<T: Send + 'static>() -> BoxFuture<'static, Result<T, Refusal>> {
    async { Err(Refusal::new(RefusalCode::Unavailable, "not in this test")) }.boxed()
}

impl Gateway for Slow {
    fn query(&self, _: Principal, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        assert!(matches!(query, Query::Task { .. }), "{query:?}");
        let first = self.asked.fetch_add(1, Relaxed) == 0;
        async move {
            if first {
                return Ok(Answer::Task(Box::new(snapshot(TaskState::Working))));
            }
            // Longer than a stream may be silent, twice.
            tokio::time::sleep(Duration::from_secs(40)).await;
            Ok(Answer::Task(Box::new(snapshot(TaskState::Completed))))
        }
        .boxed()
    }

    fn publish(&self, _: Principal, _: Arc<Publish>) -> BoxFuture<'_, Result<Accepted, Refusal>> {
        none()
    }

    fn operate(&self, _: Principal, _: Operation) -> BoxFuture<'_, Result<(), Refusal>> {
        none()
    }

    fn watch(&self, _: Principal, _: MessageId, _: u64) -> BoxFuture<'_, Result<Updates, Refusal>> {
        let body = TaskEventBody::Status { state: TaskState::Completed, reason: None };
        let event = TaskEvent { number: 2, epoch: Epoch(1), at: WallTime(2), body };
        async { Ok(stream::iter([Ok(TaskUpdate::Event(event))]).boxed()) }.boxed()
    }

    fn webhook<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
        async { Err("not in this test".to_owned()) }.boxed()
    }

    fn skills(&self, _: &AgentId) -> Vec<AgentSkill> {
        Vec::new()
    }

    fn next_id(&self) -> MessageId {
        id()
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_slow_to_tell_is_told_after_what_keeps_the_stream_alive() {
    let subscribe = format!("/tasks/{}:subscribe", id());
    let rpc = |version_method: &str| {
        let params = json!({"id": id().to_string(), "message": said("x")});
        json!({"jsonrpc": "2.0", "id": 1, "method": version_method, "params": params}).to_string()
    };
    for (version, path, body) in [
        ("1.0", subscribe.as_str(), String::new()),
        ("1.0", "/", rpc("SubscribeToTask")),
        ("0.3", "/", rpc("tasks/resubscribe")),
    ] {
        let a2a = A2a::new(Arc::new(Slow::default()), A2aConfig::default());
        let request = Request::post(path).header("A2A-Version", version).body(Body::from(body));
        let answer = a2a.answer(Ok(Principal::default()), request.unwrap()).await;
        let told = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        let told = std::str::from_utf8(&told).unwrap();
        let events: Vec<_> = told.split("\n\n").map(|event| event.split('\n').next()).collect();
        let expected = [Some("id: 1"), Some(":"), Some(":"), Some("id: 2"), Some("")];
        assert_eq!(events, expected, "{version} {path}: {told}");
        assert!(told.to_lowercase().contains("completed"), "{version} {path}: {told}");
    }
}
