//! Events: published, subscribed to, printed.

use crate::harness::{Broker, trunkline};
use std::io::Write;
use std::process::Stdio;

#[test]
fn events_of_matching_topics_are_printed_one_to_a_line() {
    let broker = Broker::start();
    let mut lines = broker.spawn(["subscribe", "build.*.done", "--count", "2"]);
    let mut json = broker.spawn(["subscribe", ">", "--json", "--count", "3"]);
    lines.says("subscribed to build.*.done");
    json.says("subscribed to >");

    broker.run(["publish", "build.linux.done", "--data", "two\nlines"]).ok();
    let mut binary = broker
        .command(["publish", "build.mac.failed", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    binary.stdin.take().unwrap().write_all(&[0xFF, 0x00]).unwrap();
    assert!(binary.wait().unwrap().success());
    let accepted = broker.run(["publish", "build.mac.done", "--header", "a=b", "--json"]).json();
    assert_eq!(accepted["targets"], 2);

    assert_eq!(lines.finish().ok(), "build.linux.done\ttwo\\nlines\nbuild.mac.done\t");
    let events: Vec<serde_json::Value> =
        json.finish().ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["payload"]["text"], "two\nlines");
    assert_eq!(events[1]["payload"]["base64"], "/wA=");
    assert_eq!(events[1]["topic"], "build.mac.failed");
    assert_eq!(events[2]["headers"][0][1], "b");
    assert_eq!(events[2]["id"], accepted["id"]);
}

#[test]
fn a_subscriber_that_is_interrupted_says_goodbye() {
    let broker = Broker::start();
    let mut subscriber = broker.spawn(["subscribe", ">"]);
    subscriber.says("subscribed to >");
    assert_eq!(broker.figure("sessions"), 1);
    subscriber.terminate();
    assert_eq!(subscriber.finish().fails(130), "");
    let published = broker.run(["publish", "a.b", "--json"]).json();
    assert_eq!(published["targets"], 0, "the broker knows that it is gone");
}

#[test]
fn an_event_without_subscriber_is_told() {
    let broker = Broker::start();
    let published = broker.run(["publish", "lonely.topic", "--data", "x"]);
    assert!(published.stderr.contains("nobody subscribes to lonely.topic"), "{published:?}");
    published.ok();
    assert_eq!(broker.figure("messages_unrouted"), 1);
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let mut child = trunkline()
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(141));
}
