//! Requests from inside handlers on a broker in this process.

use std::future::IntoFuture;
use std::time::Duration;
use tokio::sync::mpsc;
use trunkline_agent::prelude::*;
use trunkline_agent::{Agent, Compression};
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{Encoding, MessageId};

async fn broker() -> Broker {
    Broker::open(BrokerConfig::ephemeral()).await.unwrap()
}

fn skill(name: &str) -> Destination {
    Destination::skill(name).unwrap()
}

/// An agent with one worker that passes a countdown on to another until it is over.
async fn passes_on(broker: &Broker, name: &'static str, next: &'static str) -> Agent {
    let pass = move |task: Task| async move {
        let left: u32 = task.text().parse()?;
        if left == 0 {
            return Ok(name.to_owned());
        }
        let reply = task.request(skill(next), (left - 1).to_string()).await?;
        Ok(format!("{name} {}", reply.text()))
    };
    broker.agent(name).skill(name, pass).workers(1..=1).start().await.unwrap()
}

#[tokio::test]
async fn requests_go_through_the_same_agents_again_and_again_with_one_worker_each() {
    let broker = broker().await;
    let a = passes_on(&broker, "a", "b").await;
    let b = passes_on(&broker, "b", "c").await;
    let c = passes_on(&broker, "c", "a").await;
    let session = broker.session().await.unwrap();
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let request = session.request(skill("a"), "7").timeout(Duration::from_mins(1));
            tokio::spawn(request.into_future())
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().text(), "a b c a b c a b");
    }
    for agent in [a, b, c] {
        assert_eq!(agent.stats().lent, 0);
        agent.stop().await;
    }
}

#[tokio::test]
async fn messages_of_every_kind_reach_an_agent_with_their_ids_set() {
    let broker = broker().await;
    let (said, mut heard) = mpsc::unbounded_channel();
    let hear = move |task: Task| {
        let said = said.clone();
        async move {
            let envelope = task.envelope();
            said.send((envelope.kind, envelope.correlation_id, envelope.causation_id))?;
            Ok(())
        }
    };
    let listener = broker.agent("listener").on_message(hear).start().await.unwrap();
    let speak = |task: Task| async move {
        let to = Destination::agent("listener")?;
        task.share_context(to.clone(), "c").await?;
        task.report_status(to.clone(), "s").await?;
        task.report_error(to, "e").await?;
        task.respond("r").await?;
        task.broadcast("b").await?;
        Ok(())
    };
    let speaker = broker.agent("speaker").skill("speak", speak).start().await.unwrap();
    let session = listener.session();
    let asked: MessageId = session.tell(skill("speak"), "").await.unwrap().id;
    let about = Some(asked);
    for expected in [
        (Kind::ContextShare, None, about),
        (Kind::Status, about, about),
        (Kind::Error, about, about),
        (Kind::Response, about, about),
        (Kind::Broadcast, None, about),
    ] {
        assert_eq!(heard.recv().await.unwrap(), expected);
    }
    speaker.stop().await;
    listener.stop().await;
}

#[tokio::test]
async fn a_broadcast_of_an_agent_does_not_come_back_to_it() {
    let broker = broker().await;
    let (said, mut heard) = mpsc::unbounded_channel();
    let hear = |name: &'static str| {
        let said = said.clone();
        move |_: Task| {
            let said = said.clone();
            async move { Ok(said.send(name)?) }
        }
    };
    let a = broker.agent("a").on_message(hear("a")).start().await.unwrap();
    let b = broker.agent("b").on_message(hear("b")).start().await.unwrap();
    assert_eq!(a.session().broadcast("x").await.unwrap().targets, 1);
    assert_eq!(heard.recv().await, Some("b"));
    a.stop().await;
    b.stop().await;
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn compression_is_seen_by_neither_side() {
    let broker = broker().await;
    let zstd = Compression { above: 10, ..Compression::new(Encoding::Zstd) };
    let text = "again and ".repeat(100);
    let expected = text.clone();
    let echo = move |task: Task| {
        let expected = expected.clone();
        async move {
            assert_eq!(task.text(), expected);
            Ok(task.payload().clone())
        }
    };
    let agent = broker.agent("a").skill("s", echo).compression(zstd).start().await.unwrap();
    let options = trunkline_agent::SessionOptions { compression: zstd, ..Default::default() };
    let session = broker.session_with(options).await.unwrap();
    let task = session.send(skill("s"), text.clone());
    let id = task.id();
    assert_eq!(task.wait().await.unwrap().text(), text);
    assert_eq!(session.task(id).await.unwrap().result.unwrap().to_text(), text);
    let small = trunkline_agent::SessionOptions { max_decompressed: 10, ..Default::default() };
    let small = broker.session_with(small).await.unwrap();
    let refusal = small.task(id).await.unwrap_err();
    assert!(refusal.message.contains("more than 10 bytes"), "{refusal}");
    agent.stop().await;
}
