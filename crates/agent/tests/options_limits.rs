//! The bounds on what a client may send: what is at the bound is taken, what is over it refused.

use crate::options_peer::{Peer, broker, hello, message, task};
use std::sync::Arc;
use std::time::Duration;
use trunkline_agent::{HandlerResult, Host, Task};
use trunkline_broker::Broker;
use trunkline_types::session::{Operation, Subscription};
use trunkline_types::{Kind, Limits, Outcome, Payload, Publish, Refusal, RefusalCode};

async fn limited(change: impl FnOnce(&mut Limits)) -> (Broker, Peer) {
    let broker = broker(|engine| change(&mut engine.limits)).await;
    let client = Peer::open(&broker, hello(1, None)).await.unwrap();
    (broker, client)
}

fn told(refusal: &Refusal, part: &str) {
    assert!(matches!(refusal.code, RefusalCode::TooLarge | RefusalCode::Invalid), "{refusal:?}");
    assert!(refusal.message.contains(part), "{refusal}");
}

/// Publishes something at the limit and something over it.
async fn bounded(change: impl FnOnce(&mut Limits), at: Publish, over: Publish, part: &str) {
    let (_broker, mut client) = limited(change).await;
    client.publish(at).await.unwrap();
    told(&client.publish(over).await.unwrap_err(), part);
}

fn with(change: impl FnOnce(&mut Publish)) -> Publish {
    let mut publish = task();
    change(&mut publish);
    publish
}

#[tokio::test]
async fn a_payload_is_no_larger_than_is_set() {
    let sized = |size| with(|it| it.envelope.payload.data = vec![0; size].into());
    let part = "the payload has 5 bytes, the limit is 4";
    bounded(|limits| limits.payload_bytes = 4, sized(4), sized(5), part).await;
}

#[tokio::test]
async fn there_are_no_more_headers_than_are_set() {
    let many = |count| with(|it| it.envelope.headers = vec![("h".into(), "v".into()); count]);
    let part = "2 headers, the limit is 1";
    bounded(|limits| limits.headers = 1, many(1), many(2), part).await;
}

#[tokio::test]
async fn a_header_is_no_longer_than_is_set() {
    let long = |size: usize| {
        with(|it| {
            // What it says of its type is as long as a header may be, too.
            it.envelope.payload = Payload::default();
            it.envelope.headers = vec![("h".into(), "v".repeat(size - 1).into())];
        })
    };
    let part = "header 'h' has 5 bytes, the limit is 4";
    bounded(|limits| limits.header_bytes = 4, long(4), long(5), part).await;
}

#[tokio::test]
async fn a_destination_names_no_more_agents_than_are_set() {
    let (one, two) = (message(Kind::Event, "agents:a"), message(Kind::Event, "agents:a,b"));
    let part = "2 agents, the limit is 1";
    bounded(|limits| limits.destinations = 1, one, two, part).await;
}

#[tokio::test]
async fn no_span_is_longer_than_is_set() {
    let second = Duration::from_secs(1);
    let bound = |limits: &mut Limits| limits.longest_span = second;
    let ttl = |span| with(|it| it.envelope.ttl = Some(span));
    bounded(bound, ttl(second), ttl(2 * second), "time to live is 2s, the limit is 1s").await;
    let delay = |span| with(|it| it.options.delay = Some(span));
    bounded(bound, delay(second), delay(2 * second), "delay is 2s, the limit is 1s").await;
    let run = |span| with(|it| it.options.max_run = Some(span));
    bounded(bound, run(second), run(2 * second), "longest run is 2s, the limit is 1s").await;
}

#[tokio::test]
async fn nobody_asks_for_more_attempts_than_are_set() {
    let often = |attempts| with(|it| it.options.attempts = Some(attempts));
    let part = "attempts is 3, the range is 1 to 2";
    bounded(|limits| limits.attempts = 2, often(2), often(3), part).await;
    bounded(|_| {}, often(1), often(0), "attempts is 0, the range is 1 to 100").await;
}

#[tokio::test]
async fn a_frame_has_no_more_operations_than_are_set() {
    let (_broker, mut client) = limited(|limits| limits.operations_per_frame = 1).await;
    let operation = || Operation::Publish(Arc::new(task()));
    for answer in client.ask_all(vec![operation(), operation()]).await {
        told(&answer.unwrap_err(), "the frame has 2 operations, the limit is 1");
    }
    client.ask(operation()).await.unwrap();
}

#[tokio::test]
async fn a_session_has_no_more_subscriptions_than_are_set() {
    let (_broker, mut client) = limited(|limits| limits.subscriptions = 1).await;
    let wants = |topic: &str| Operation::Subscribe(Subscription::new(topic.parse().unwrap()));
    client.ask(wants("a")).await.unwrap();
    told(&client.ask(wants("b")).await.unwrap_err(), "the limit is 1");
    client.ask(wants("a")).await.unwrap();
}

#[tokio::test]
async fn a_card_has_no_more_entries_than_are_set() {
    let (broker, _client) = limited(|limits| limits.card_entries = 1).await;
    let mut greeting = hello(2, Some("a"));
    greeting.card.as_mut().unwrap().skills.push("t".parse().unwrap());
    let refusal = Peer::open(&broker, greeting).await.err().unwrap();
    told(&refusal, "number of skills 2, the limit is 1");
    Peer::open(&broker, hello(2, Some("a"))).await.unwrap();
}

async fn nothing(_: Task) -> HandlerResult<()> {
    Ok(())
}

#[tokio::test]
async fn schemas_are_no_larger_than_is_set() {
    let (broker, _client) =
        limited(|limits| (limits.schema_bytes, limits.card_schema_bytes) = (4, 6)).await;
    let schema = |text: &str| Some(text.parse().unwrap());
    let start = async |input, output| {
        let agent = broker.agent("a").skill("s", nothing).schemas("s", input, output);
        agent.start().await
    };
    start(schema("{  }"), schema("{}")).await.unwrap().stop().await;
    told(&start(schema("{   }"), None).await.err().unwrap(), "raise limits.schema_bytes");
    let together = start(schema("{  }"), schema("{ }")).await.err().unwrap();
    told(&together, "raise limits.card_schema_bytes");
}

#[tokio::test]
async fn a_session_holds_no_more_deliveries_than_are_set() {
    let (broker, mut client) = limited(|limits| limits.credit = 1).await;
    let mut agent = Peer::open(&broker, hello(2, Some("a"))).await.unwrap();
    client.publish(task()).await.unwrap();
    client.publish(task()).await.unwrap();
    let held = agent.delivery().await.token;
    let gauges = broker.session().await.unwrap().stats().await.unwrap().gauges;
    assert_eq!((gauges.leased, gauges.waiting), (1, 1));
    agent.settle(held, Outcome::Complete { reply: None }).await.unwrap();
    agent.delivery().await;
}

#[tokio::test]
async fn a_reason_is_no_longer_than_is_set() {
    let (_broker, mut client) = limited(|limits| limits.reason_bytes = 4).await;
    let work = task();
    let id = work.envelope.id;
    client.publish(work).await.unwrap();
    let cancel = |reason: &str| Operation::Cancel { id, reason: reason.into(), descendants: false };
    told(&client.ask(cancel("fives")).await.unwrap_err(), "has 5 bytes, the limit is 4");
    client.ask(cancel("four")).await.unwrap();
}
