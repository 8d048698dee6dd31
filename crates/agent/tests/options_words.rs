//! The bounds on what agents and callers say besides messages: replies, reasons, progress,
//! artifacts, cards, filters, schedules, settings of inboxes. What is at the bound is taken, what is
//! over it refused.

use crate::options_peer::{Peer, broker, hello, task};
use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::Broker;
use trunkline_types::session::{Hello, Operation, Subscription, Update, UpdateBody};
use trunkline_types::{
    AgentCard, AgentFilter, ArtifactChunk, InboxChange, Limits, Outcome, PauseReason, Progress,
    RefusalCode, Schedule, Settle, Token,
};

/// A broker that takes no more than so many bytes: of a payload, of a reason, of a header.
async fn limited() -> Broker {
    broker(|engine| {
        let Limits { payload_bytes, reason_bytes, header_bytes, .. } = &mut engine.limits;
        (*payload_bytes, *reason_bytes, *header_bytes) = (300, 200, 100);
        engine.limits.card_entries = 2;
    })
    .await
}

fn text(length: usize) -> String {
    "x".repeat(length)
}

fn settle(token: Token, outcome: Outcome) -> Operation {
    Operation::Settle(Settle { token, outcome })
}

fn update(token: Token, body: UpdateBody) -> Operation {
    Operation::Update(Update { token, body })
}

fn progress(length: usize) -> UpdateBody {
    UpdateBody::Progress(Progress { percent: 1, text: text(length) })
}

fn artifact(name: usize, length: usize) -> UpdateBody {
    let (append, last) = (false, true);
    let payload = Payload::from(text(length));
    UpdateBody::Artifact(ArtifactChunk { name: text(name).into(), append, last, payload })
}

#[tokio::test]
async fn nothing_that_a_handler_says_is_longer_than_is_set() {
    let broker = limited().await;
    let mut agent = Peer::open(&broker, hello(1, Some("a"))).await.unwrap();
    let mut client = Peer::open(&broker, hello(2, None)).await.unwrap();
    client.publish(task()).await.unwrap();
    let token = agent.delivery().await.token;
    let typed = |content_type: usize| Payload::new(text(content_type), Vec::new());
    let reply = |payload| Outcome::Complete { reply: Some(payload) };
    let asks = |payload| Outcome::Pause { reason: PauseReason::Input, message: Some(payload) };
    for (said, part) in [
        (update(token, progress(201)), "the progress text has 201 bytes, the limit is 200"),
        (update(token, artifact(101, 1)), "the artifact name has 101 bytes, the limit is 100"),
        (update(token, artifact(1, 301)), "the artifact chunk has 301 bytes, the limit is 300"),
        (settle(token, reply(text(301).into())), "the reply has 301 bytes, the limit is 300"),
        (settle(token, asks(text(301).into())), "the reply has 301 bytes, the limit is 300"),
        (settle(token, reply(typed(101))), "the content type has 101 bytes, the limit is 100"),
        (
            settle(token, Outcome::Fail { reason: text(201) }),
            "the reason has 201 bytes, the limit is 200",
        ),
    ] {
        let refusal = agent.ask(said).await.unwrap_err();
        assert_eq!((refusal.code, &*refusal.message), (RefusalCode::TooLarge, part));
    }
    for said in [progress(200), artifact(100, 300)] {
        agent.ask(update(token, said)).await.unwrap();
    }
    agent.settle(token, reply(text(300).into())).await.unwrap();
    for outcome in [Outcome::Fail { reason: text(200) }, reply(typed(100))] {
        client.publish(task()).await.unwrap();
        let token = agent.delivery().await.token;
        agent.settle(token, outcome).await.unwrap();
    }
}

/// Sets a part of a card.
type Change = fn(&mut AgentCard, String);

#[tokio::test]
async fn nothing_in_a_card_is_longer_than_is_set() {
    let broker = limited().await;
    let with = |change: Change, length| {
        let mut hello: Hello = hello(1, Some("a"));
        change(hello.card.as_mut().unwrap(), text(length));
        Peer::open(&broker, hello)
    };
    let parts: [(Change, usize); 7] = [
        (|card, text| card.name = text, 200),
        (|card, text| card.description = text, 200),
        (|card, text| card.region = text.into(), 100),
        (|card, text| card.version = text.into(), 100),
        (|card, text| card.types.push(text.into()), 100),
        (|card, text| card.capabilities.push(text.into()), 100),
        (|card, text| card.labels.push(("tier".into(), text.into())), 100),
    ];
    for (change, most) in parts {
        let refusal = with(change, most + 1).await.err().unwrap();
        assert_eq!(refusal.code, RefusalCode::TooLarge);
        assert!(refusal.message.contains(&format!("the limit is {most}")), "{refusal}");
        with(change, most).await.unwrap().leave();
    }
}

#[tokio::test]
async fn whoever_follows_the_directory_asks_for_no_more_than_is_set() {
    let broker = limited().await;
    let session = broker.session().await.unwrap();
    let label = |name: &str| (name.into(), "x".into());
    let labels = |count: usize| AgentFilter {
        labels: ["a", "b", "c"][..count].iter().map(|name| label(name)).collect(),
        ..AgentFilter::default()
    };
    let kind =
        |length| AgentFilter { agent_type: Some(text(length).into()), ..AgentFilter::default() };
    for (over, part) in [(labels(3), "3 labels, the limit is 2"), (kind(101), "has 101 bytes")] {
        let refusal = session.watch_agents(over).await.err().unwrap();
        assert_eq!(refusal.code, RefusalCode::TooLarge);
        assert!(refusal.message.contains(part), "{refusal}");
    }
    for at in [labels(2), kind(100)] {
        session.watch_agents(at).await.unwrap();
    }
}

#[tokio::test]
async fn a_hello_has_no_more_subscriptions_than_are_set() {
    let broker = broker(|engine| engine.limits.subscriptions = 1).await;
    let with = |topics: &[&str]| {
        let mut hello = hello(1, None);
        let wants = |topic: &&str| Subscription::new(topic.parse().unwrap());
        hello.subscriptions = topics.iter().map(wants).collect();
        Peer::open(&broker, hello)
    };
    let refusal = with(&["a", "b"]).await.err().unwrap();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(refusal.message.contains("2 subscriptions, the limit is 1"), "{refusal}");
    with(&["a"]).await.unwrap();
}

#[tokio::test]
async fn what_is_said_of_a_payload_or_a_schedule_is_no_longer_than_is_set() {
    let broker = limited().await;
    let mut client = Peer::open(&broker, hello(1, None)).await.unwrap();
    let mut typed = task();
    typed.envelope.payload = Payload::new(text(101), Vec::new());
    let refusal = client.publish(typed.clone()).await.unwrap_err();
    assert!(refusal.message.contains("the content type has 101 bytes"), "{refusal}");
    typed.envelope.payload = Payload::new(text(100), Vec::new());
    client.publish(typed).await.unwrap();
    let schedule = |zone: String| {
        let (name, cron) = ("daily".parse().unwrap(), "0 0 * * *".into());
        let schedule = Schedule { name, cron, zone: zone.into(), publish: task().into() };
        Operation::SetSchedule(Box::new(schedule))
    };
    let refusal = client.ask(schedule(text(101))).await.unwrap_err();
    assert_eq!(refusal.code, RefusalCode::TooLarge);
    assert!(refusal.message.contains("101 bytes, the limit is 100"), "{refusal}");
    let unknown = client.ask(schedule(text(100))).await.unwrap_err();
    assert_eq!(unknown.code, RefusalCode::Invalid, "it is short enough, and no zone");
}

#[tokio::test]
async fn an_inbox_is_set_within_what_is_set_for_the_broker() {
    for (ephemeral, logged) in [(5, 10), (10, 5)] {
        let broker = broker(|engine| {
            (engine.inbox_ephemeral, engine.inbox_logged) = (ephemeral, logged);
            engine.limits.longest_span = Duration::from_secs(2);
        });
        let broker = broker.await;
        let set = |change| broker.set_inbox("skill:s".parse().unwrap(), change);
        let limit = |most| InboxChange::default().limit(most);
        let wait = |seconds| InboxChange::default().wait(Duration::from_secs(seconds));
        for (over, part) in [(limit(11), "10"), (wait(3), "2s")] {
            let refusal = set(over).await.unwrap_err();
            assert!(refusal.message.contains(part), "{refusal}");
        }
        for at in [limit(10), wait(2)] {
            set(at).await.unwrap();
        }
    }
}
