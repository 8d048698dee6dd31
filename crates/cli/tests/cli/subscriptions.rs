//! Subscriptions: which events, whose, and what a slow or absent subscriber misses.

use crate::harness::Broker;
use std::io::BufRead;
use trunkline_agent::Host;
use trunkline_client::{Client, ClientConfig};

/// Publishes JSON and returns how many it went to.
fn publish(broker: &Broker, topic: &str, data: &str) -> u64 {
    let mut command = broker.command(["publish", topic, "--content-type", "application/json"]);
    let output = command.args(["--json", "--data", data]).output().unwrap();
    let accepted: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    accepted["targets"].as_u64().unwrap()
}

#[test]
fn a_filter_lets_only_wanted_events_through() {
    let broker = Broker::start();
    let filter = "payload.total > 100";
    let mut dear = broker.spawn(["subscribe", "orders.>", "--filter", filter, "--count", "1"]);
    dear.says("subscribed to");
    assert_eq!(publish(&broker, "orders.new", r#"{"total":50}"#), 0);
    assert_eq!(publish(&broker, "orders.new", r#"{"total":200}"#), 1);
    assert_eq!(dear.finish().ok(), "orders.new\t{\"total\":200}");
    let wrong = broker.run(["subscribe", "orders.>", "--filter", "payload.total >"]);
    assert!(!wrong.fails(4).is_empty());
    let unknown = broker.run(["subscribe", "orders.>", "--filter", "payloda.total > 1"]).fails(4);
    assert!(unknown.contains("payload"), "{unknown}");
}

#[test]
fn a_group_shares_its_events() {
    let broker = Broker::start();
    let members: Vec<_> = (0..2)
        .map(|_| {
            let mut member = broker.spawn(["subscribe", "jobs.>", "--group", "workers"]);
            member.says("subscribed to");
            member
        })
        .collect();
    for _ in 0..4 {
        assert_eq!(publish(&broker, "jobs.new", "1"), 1);
    }
    let mut alone = broker.spawn(["subscribe", "jobs.>"]);
    alone.says("subscribed to");
    assert_eq!(publish(&broker, "jobs.new", "1"), 2);
    drop(members);
}

#[test]
fn an_agents_subscription_is_kept_while_it_is_away() {
    let broker = Broker::start();
    let mut first = broker.spawn(["subscribe", "orders.>", "--as", "auditor", "--count", "1"]);
    first.says("subscribed to");
    broker.run(["publish", "orders.new", "--data", "one"]).ok();
    assert_eq!(first.finish().ok(), "orders.new\tone");
    broker.run(["publish", "orders.new", "--data", "two"]).ok();
    let second = broker.run(["subscribe", "orders.>", "--as", "auditor", "--count", "1"]);
    assert_eq!(second.ok(), "orders.new\ttwo");
    assert_eq!(broker.run(["agents", "get", "auditor", "--json"]).json()["presence"], "offline");
}

#[test]
fn a_subscriber_says_when_it_has_reconnected() {
    let mut broker = Broker::start();
    let mut subscriber = broker.spawn(["subscribe", "a.b", "--count", "1"]);
    subscriber.says("subscribed to");
    broker.kill();
    broker.restart();
    subscriber.says("reconnected to");
    crate::harness::until("it gets an event", || {
        (broker.run(["publish", "a.b", "--data", "x", "--json"]).json()["targets"] == 1)
            .then_some(())
    });
    assert_eq!(subscriber.finish().ok(), "a.b\tx");
}

/// Publishes so many events that a subscriber that prints into a pipe nobody reads must miss some.
/// A subscriber holds up to 1,024 events, and a few hundred more may wait for it. Returns what it
/// prints once the pipe is read, and what it says of events that it missed.
fn flood(extra: &[&str]) -> (String, String) {
    const EVENTS: u32 = 3_000;
    let broker = Broker::configured("[broker]\ninbox_ephemeral = 1500\n", ["--ephemeral"]);
    let mut command = broker.command(["subscribe", "flood.>"]);
    let mut subscriber = crate::harness::Running::start(command.args(extra));
    subscriber.says("subscribed to");
    let url = format!("http://{}", broker.address());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let session = Client::new(&ClientConfig::new(url)).unwrap().session().await.unwrap();
        for number in 1..=EVENTS {
            let payload = format!("{number:01000}");
            session.publish("flood.a".parse().unwrap(), payload).await.unwrap();
        }
        session.publish("flood.end".parse().unwrap(), "end").await.unwrap();
    });
    let printed = subscriber.stdout();
    let reader = std::thread::spawn(move || {
        let mut lines = String::new();
        for line in printed.lines().map_while(Result::ok) {
            lines.push_str(&line);
            lines.push('\n');
            if line.starts_with("flood.last") {
                break;
            }
        }
        lines
    });
    // What was missed is told with the next event, for which there is room once the pipe is read.
    crate::harness::until("the pipe is read", || {
        broker.run(["publish", "flood.last"]).ok();
        reader.is_finished().then_some(())
    });
    (reader.join().unwrap(), subscriber.says("events were missed here"))
}

#[test]
fn a_slow_subscriber_misses_the_newest_or_with_drop_oldest_the_oldest() {
    let (printed, told) = flood(&[]);
    assert!(!printed.contains("flood.end"), "the newest were dropped");
    assert!(told.contains("numbers"), "{told}");
    let (printed, told) = flood(&["--drop-oldest"]);
    assert!(printed.contains("flood.end"), "the oldest were dropped");
    assert!(told.contains("numbers"), "{told}");
}
