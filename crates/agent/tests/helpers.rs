//! What makes a program shorter, against a broker in this process.

use std::time::Duration;
use trunkline_agent::now;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::session::{LetterAddress, Subscription};
use trunkline_types::{
    AgentChange, DeadLetterFilter, FailureCode, InboxChange, RefusalCode, Routing, WhenFull,
};

async fn broker() -> Broker {
    Broker::open(BrokerConfig::ephemeral()).await.unwrap()
}

fn skill(name: &str) -> Destination {
    Destination::skill(name).unwrap()
}

#[tokio::test]
async fn the_result_of_a_task_that_was_sent_earlier_can_be_waited_for() {
    let broker = broker().await;
    let session = broker.session().await.unwrap();
    let id = session.send(skill("double"), "4").await.unwrap().id;
    let double = |task: Task| async move { Ok((task.text().parse::<u32>()? * 2).to_string()) };
    let _agent = broker.agent("a").skill("double", double).start().await.unwrap();
    assert_eq!(session.wait(id).await.unwrap().text(), "8");
    assert_eq!(session.wait(id).await.unwrap().text(), "8", "also once it has ended");
    let none = session.wait(MessageId::from_parts(1, trunkline_types::Partition(0), 1)).await;
    let RequestError::Refused(refusal) = none.unwrap_err() else { panic!("it was never sent") };
    assert_eq!(refusal.code, RefusalCode::NotFound);
}

#[tokio::test]
async fn the_broker_says_that_a_handler_ran_too_long_before_the_agent_does() {
    let broker = broker().await;
    let endless = |_: Task| async move {
        std::future::pending::<()>().await;
        Ok(())
    };
    let agent = broker.agent("a").skill("s", endless).start().await.unwrap();
    let session = broker.session().await.unwrap();
    let send = session.send(skill("s"), "").max_run(Duration::from_millis(20)).attempts(1);
    let RequestError::Failed(failure) = send.wait().await.unwrap_err() else { panic!() };
    assert_eq!(failure.code, FailureCode::DeadLettered);
    assert!(failure.reason.contains("ran longer than 20ms"), "{}", failure.reason);
    let stats = session.stats().await.unwrap();
    assert_eq!(stats.overran, 1, "the broker's own figure");
    assert_eq!(agent.stats().retried, 0);
}

#[tokio::test]
async fn payloads_and_headers_are_read_where_they_come() {
    let broker = broker().await;
    let sum =
        |task: Task| async move { Ok(MsgPack(task.msgpack::<Vec<u32>>()?.iter().sum::<u32>())) };
    let _agent = broker.agent("a").skill("sum", sum).start().await.unwrap();
    let reply = broker.request(skill("sum"), MsgPack(vec![1, 2, 3]).encode().unwrap()).await;
    assert_eq!(reply.unwrap().msgpack::<u32>().unwrap(), 6);
    let mut events = broker.subscribe("t".parse().unwrap()).await.unwrap();
    let publish = broker.publish("t".parse().unwrap(), "hi").header("env", "prod");
    publish.await.unwrap();
    let event = events.next().await.unwrap();
    assert_eq!(
        (&*event.text(), event.header("env"), event.header("x")),
        ("hi", Some("prod"), None)
    );
}

#[tokio::test]
async fn a_dead_letter_is_named_by_its_address_or_by_its_id() {
    let broker = broker().await;
    let refuse = |_: Task| async move { Err::<(), _>(HandlerError::dead_letter("poison")) };
    let _agent = broker.agent("a").skill("s", refuse).start().await.unwrap();
    let session = broker.session().await.unwrap();
    for _ in 0..2 {
        session.send(skill("s"), "").wait().await.unwrap_err();
    }
    let letters = session.dead_letters(DeadLetterFilter::default()).await.unwrap().letters;
    let address = letters[0].address();
    assert_eq!(address.inbox.as_ref().map(ToString::to_string), Some("skill:s".to_owned()));
    session.purge(address).await.unwrap();
    let id = letters[1].publish.envelope.id;
    assert_eq!(LetterAddress::from(id).inbox, None);
    session.purge(id).await.unwrap();
    let left = session.dead_letters(DeadLetterFilter::default()).await.unwrap();
    assert!(left.letters.is_empty());
}

#[tokio::test]
async fn this_process_tells_the_time_for_what_is_not_to_come_before() {
    let broker = broker().await;
    let session = broker.session().await.unwrap();
    let begun = now();
    let later = begun.after(Duration::from_millis(50));
    let agent = broker.agent("a").skill("s", |_: Task| async { Ok("done") });
    let _agent = agent.start().await.unwrap();
    session.send(skill("s"), "").not_before(later).wait().await.unwrap();
    assert!(now() >= later);
}

#[test]
fn builders_say_what_the_fields_say() {
    let ids = Destination::agents(["a", "b"]).unwrap();
    assert_eq!(ids, "agents:a,b".parse().unwrap());
    assert!(Destination::agents(["a b"]).is_err());
    let plain = Subscription::new("t".parse().unwrap());
    let built = plain.clone().filter("size > 1".parse().unwrap()).group("g".parse().unwrap());
    let (filter, group) = (Some("size > 1".parse().unwrap()), Some("g".parse().unwrap()));
    let when_full = WhenFull::DropOldest;
    assert_eq!(built.drop_oldest(), Subscription { filter, group, when_full, ..plain });
    let change = AgentChange { weight: Some(7), draining: Some(true), healthy: Some(false) };
    assert_eq!(AgentChange::default().weight(7).draining(true).healthy(false), change);
    let wait = Duration::from_secs(1);
    let built = InboxChange::default().when_full(WhenFull::Wait).wait(wait).limit(3).ttl(wait);
    let built = built.routing(Routing::Random).bindings([]).reset();
    let change = InboxChange {
        when_full: Some(WhenFull::Wait),
        wait: Some(wait),
        limit: Some(3),
        ttl: Some(wait),
        routing: Some(Routing::Random),
        bindings: Some(Vec::new()),
        reset: true,
    };
    assert_eq!(built, change);
}
