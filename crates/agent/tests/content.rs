//! What a session and an agent do to payloads, against a scripted broker.

use crate::common::{Line, Script, id, request};
use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::sync::Arc;
use trunkline_agent::prelude::*;
use trunkline_agent::{Compression, SessionOptions};
use trunkline_content::{compress, decompress};
use trunkline_types::session::{EventDelivery, Operation, Reply, SessionItem, UpdateBody};
use trunkline_types::{
    ArtifactChunk, Encoding, Epoch, FailureCode, Gathered, GatheredPart, InboxAddress, Outcome,
    Publish, TaskEvent, TaskEventBody, TaskUpdate, WallTime,
};

fn skill() -> Destination {
    Destination::skill("s").unwrap()
}

fn zstd() -> Compression {
    Compression { above: 100, ..Compression::new(Encoding::Zstd) }
}

fn long() -> Payload {
    Payload::text("abc".repeat(1000))
}

fn packed() -> Payload {
    let packed = compress(long(), &zstd());
    assert_eq!(packed.encoding, Encoding::Zstd);
    packed
}

/// The options of a session that takes at most so many bytes.
fn at_most(max_decompressed: usize) -> SessionOptions {
    SessionOptions { max_decompressed, ..SessionOptions::default() }
}

fn published(line: &Line) -> Vec<Payload> {
    let payload = |operation| match operation {
        Operation::Publish(publish) => Some(publish.envelope.payload.clone()),
        _ => None,
    };
    line.operations().into_iter().filter_map(payload).collect()
}

#[tokio::test]
async fn a_session_compresses_what_is_above_its_size_however_it_is_sent() {
    let script = Script::prompt();
    let options = SessionOptions { compression: zstd(), ..SessionOptions::default() };
    let session = script.session_with(options).await.unwrap();
    session.send(skill(), long()).await.unwrap();
    session.tell(skill(), "short").await.unwrap();
    let shared = Arc::new(Publish::new(session.envelope(Kind::Event, skill(), long())));
    session.publish_batch([Arc::clone(&shared)]).await.unwrap().await.unwrap();
    assert_eq!(shared.envelope.payload, long(), "the caller's own stays as it was");
    let request = tokio::spawn(session.request(skill(), long()).into_future());
    let line = script.line(0);
    line.wait(|line| (published(line).len() == 4).then_some(())).await;
    request.abort();
    let sent = published(&line);
    let encodings: Vec<_> = sent.iter().map(|payload| payload.encoding).collect();
    let (zstd, identity) = (Encoding::Zstd, Encoding::Identity);
    assert_eq!(encodings, [zstd, identity, zstd, zstd]);
    assert_eq!(decompress(&sent[0], 1 << 20).unwrap(), long());
    session.continue_task(id(1), long()).await.unwrap();
    let Some(Operation::Continue { payload, .. }) = line.operations().pop() else { panic!() };
    assert_eq!(payload.encoding, Encoding::Zstd);
}

#[tokio::test]
async fn a_session_compresses_nothing_unless_told_to() {
    let script = Script::prompt();
    let session = script.session().await.unwrap();
    session.send(skill(), long()).await.unwrap();
    assert_eq!(published(&script.line(0)), [long()]);
}

#[tokio::test]
async fn an_agent_compresses_replies_and_pieces_of_results() {
    let script = Script::prompt();
    let work = |task: Task| async move {
        task.artifact("a", long(), false, true).await?;
        Ok(long())
    };
    let agent = script.agent("a").skill("s", work).compression(zstd()).start().await.unwrap();
    let line = script.line(0);
    let token = line.deliver("s", "x");
    let Outcome::Complete { reply: Some(reply) } = line.outcome_of(token).await else { panic!() };
    assert_eq!(reply, packed());
    let chunk = line.operations().into_iter().find_map(|operation| match operation {
        Operation::Update(update) => match update.body {
            UpdateBody::Artifact(chunk) => Some(chunk.payload),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(chunk, Some(packed()));
    agent.stop().await;
}

#[tokio::test]
async fn a_handler_sees_what_was_said_and_what_its_caller_said_since() {
    let script = Script::prompt();
    let echo = |task: Task| async move {
        assert_eq!(task.messages(), [long()]);
        Ok(task.payload().clone())
    };
    let agent = script.agent("a").skill("s", echo).start().await.unwrap();
    let line = script.line(0);
    let mut delivery = line.delivery("s", packed());
    delivery.messages.push(packed());
    let token = delivery.token;
    line.say([SessionItem::Delivery(delivery)]);
    let Outcome::Complete { reply: Some(reply) } = line.outcome_of(token).await else { panic!() };
    assert_eq!(reply, long());
    agent.stop().await;
}

#[tokio::test]
async fn a_delivery_over_the_bound_is_rejected_with_the_reason() {
    let script = Script::prompt();
    let never =
        |_: Task| async move { panic!("a handler is given what it cannot read") as Result<(), _> };
    let agent = script.agent("a").skill("s", never).max_decompressed(2999).start().await.unwrap();
    let line = script.line(0);
    let token = line.deliver("s", packed());
    let Outcome::Reject { reason } = line.outcome_of(token).await else { panic!() };
    assert_eq!(reason, "the payload has more than 2999 bytes once its zstd is undone");
    // Damaged ones too, wherever they are.
    let mut delivery =
        line.delivery_of(request("s", "x"), InboxAddress::Skill("s".parse().unwrap()));
    delivery.messages.push(Payload { encoding: Encoding::Gzip, ..long() });
    let token = delivery.token;
    line.say([SessionItem::Delivery(delivery)]);
    let Outcome::Reject { reason } = line.outcome_of(token).await else { panic!() };
    assert!(reason.starts_with("the payload is not valid gzip"), "{reason}");
    agent.stop().await;
}

#[tokio::test]
async fn an_answer_is_decompressed_or_left_out_if_it_is_over_the_bound() {
    for (most, fits) in [(3000, true), (2999, false)] {
        let script = Script::prompt();
        let session = script.session_with(at_most(most)).await.unwrap();
        let line = script.line(0);
        let request = session.request(skill(), "x");
        let gather = session.gather(skill(), "x");
        let (single, several) = (request.id(), gather.id());
        let request = tokio::spawn(request.into_future());
        let gather = tokio::spawn(gather.into_future());
        line.wait(|line| (line.operations().len() == 2).then_some(())).await;
        let part = GatheredPart { agent: "a".parse().unwrap(), result: Ok(packed()) };
        line.say([
            SessionItem::Reply(Reply { request: single, agent: None, result: Ok(packed()) }),
            SessionItem::Gathered(Gathered { request: several, complete: true, parts: vec![part] }),
        ]);
        let reply = request.await.unwrap();
        let part = gather.await.unwrap().unwrap().parts.remove(0).result;
        if fits {
            assert_eq!((reply.unwrap().payload, part.unwrap()), (long(), long()));
        } else {
            let RequestError::Failed(failure) = reply.unwrap_err() else { panic!() };
            assert_eq!(failure.code, FailureCode::LeftOut);
            assert!(failure.reason.contains("more than 2999 bytes"), "{failure}");
            assert_eq!(part.unwrap_err(), failure);
        }
    }
}

#[tokio::test]
async fn an_event_is_decompressed_or_comes_as_it_is_with_why() {
    for (most, fits) in [(3000, true), (2999, false)] {
        let script = Script::prompt();
        let session = script.session_with(at_most(most)).await.unwrap();
        let mut events = session.subscribe("t".parse().unwrap()).await.unwrap();
        let to = Destination::topic("t").unwrap();
        let publish = Arc::new(Publish::new(session.envelope(Kind::Event, to, packed())));
        script.line(0).say([SessionItem::Event(EventDelivery { number: 1, publish, missed: 0 })]);
        let event = events.next().await.unwrap();
        let expected = if fits { long() } else { packed() };
        assert_eq!((event.payload(), event.unreadable.is_none()), (&expected, fits));
    }
}

#[tokio::test]
async fn a_watcher_sees_pieces_of_results_decompressed_or_why_not() {
    for (most, fits) in [(3000, true), (2999, false)] {
        let script = Script::prompt();
        let session = script.session_with(at_most(most)).await.unwrap();
        let mut updates = session.watch(id(1), 0).await.unwrap();
        let chunk =
            ArtifactChunk { name: "a".into(), append: false, last: true, payload: packed() };
        let body = TaskEventBody::Artifact(chunk);
        let event = TaskEvent { number: 1, epoch: Epoch(1), at: WallTime(0), body };
        let update = TaskUpdate::Event(event);
        script.line(0).say([SessionItem::Task { task: id(1), update }]);
        match updates.next().await.unwrap() {
            Ok(TaskUpdate::Event(TaskEvent { body: TaskEventBody::Artifact(chunk), .. })) => {
                assert!(fits);
                assert_eq!(chunk.payload, long());
            }
            Err(refusal) => assert!(!fits, "{refusal}"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn values_travel_as_json_and_messagepack() {
    type Value = BTreeMap<String, u32>;
    let script = Script::prompt();
    let agent = script
        .agent("a")
        .skill("json", |task: Task| async move { Ok(Json(task.json::<Value>()?)) })
        .skill("pack", |task: Task| async move { Ok(MsgPack(task.json::<Value>()?)) })
        .skill("none", |_: Task| async move { Ok(Json(BTreeMap::from([((1, 2), 3)]))) })
        .start()
        .await
        .unwrap();
    let line = script.line(0);
    let value = Value::from([("one".to_owned(), 1)]);
    for skill in ["json", "pack"] {
        let token = line.deliver(skill, Json(&value).encode().unwrap());
        let Outcome::Complete { reply: Some(reply) } = line.outcome_of(token).await else {
            panic!()
        };
        if skill == "json" {
            let reply = trunkline_agent::Reply { request: id(1), agent: None, payload: reply };
            assert_eq!(reply.json::<Value>().unwrap(), value);
        } else {
            assert_eq!(MsgPack::<Value>::decode(&reply).unwrap().0, value);
        }
    }
    // What cannot be written is no reason to try again.
    let token = line.deliver("none", "");
    let Outcome::Fail { reason } = line.outcome_of(token).await else { panic!() };
    assert!(reason.starts_with("the value cannot be written as JSON"), "{reason}");
    // What cannot be read is the handler's to judge; by `?` it is tried again.
    let token = line.deliver("json", "no JSON");
    let reason = crate::common::retry_reason(line.outcome_of(token).await);
    assert!(reason.starts_with("the payload cannot be read as JSON"), "{reason}");
    agent.stop().await;
}
