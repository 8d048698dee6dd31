//! A broker that is killed, and what goes on afterwards.

use crate::harness::{Broker, until};

#[test]
fn what_was_accepted_before_a_kill_is_done_after_it() {
    let mut broker = Broker::start();
    let id = broker.run(["send", "--skill", "count-words", "--data", "a b c"]).ok();
    broker.kill();
    broker.restart();
    let _agent = broker.agent(["--skill", "count-words", "--", "wc", "-w"]);
    broker.run(["task", "watch", &id]).ok();
    let task = broker.run(["task", "get", &id, "--json"]).json();
    assert_eq!(task["state"], "completed");
    assert_eq!(task["result"]["text"].as_str().unwrap().trim(), "3");
}

#[test]
fn a_connected_agent_comes_back_by_itself_and_goes_on() {
    let mut broker = Broker::start();
    let mut agent = broker.agent(["--skill", "echo", "--", "cat"]);
    broker.run(["send", "--skill", "echo", "--data", "before", "--wait"]).ok();
    broker.kill();
    broker.restart();
    agent.says("reconnected to");
    let reply = broker.run(["send", "--skill", "echo", "--data", "after", "--wait"]);
    assert_eq!(reply.ok(), "after");
}

#[test]
fn a_subscriber_is_told_that_events_may_be_lost_unless_they_are_kept_for_it() {
    let mut broker = Broker::start();
    let mut passing = broker.spawn(["subscribe", "a.b", "--count", "1"]);
    let mut kept = broker.spawn(["subscribe", "a.b", "--as", "auditor", "--count", "1"]);
    passing.says("subscribed to");
    kept.says("subscribed to");
    broker.kill();
    broker.restart();
    let told = passing.says("reconnected to");
    assert!(told.contains("events meanwhile may be lost"), "{told}");
    let told = kept.says("reconnected to");
    assert!(!told.contains("lost"), "{told}");
    // Both have what is published from now on.
    let published = broker.run(["publish", "a.b", "--data", "x", "--json"]).json();
    assert_eq!(published["targets"], 2);
    assert_eq!(passing.finish().ok(), "a.b\tx");
    assert_eq!(kept.finish().ok(), "a.b\tx");
}

#[test]
fn send_wait_outlives_its_broker() {
    let mut broker = Broker::start();
    let sender = broker.spawn(["send", "--skill", "echo", "--data", "patience", "--wait"]);
    until("the task is accepted", || (broker.figure("tasks_open") == 1).then_some(()));
    broker.kill();
    broker.restart();
    let _agent = broker.agent(["--skill", "echo", "--", "cat"]);
    let finished = sender.finish();
    assert_eq!(finished.ok(), "patience");
    assert_eq!(broker.figure("tasks_completed"), 1);
}

#[test]
fn send_wait_that_outlives_its_broker_still_tells_a_dead_letter_from_a_failure() {
    let mut broker = Broker::start();
    let sender = broker.spawn(["send", "--skill", "break", "--attempts", "1", "--wait"]);
    until("the task is accepted", || (broker.figure("tasks_open") == 1).then_some(()));
    broker.kill();
    broker.restart();
    let _agent = broker.agent(["--skill", "break", "--", "false"]);
    sender.finish().fails(10);
}

#[test]
fn a_key_is_accepted_once_even_across_a_kill() {
    for level in ["synced", "buffered"] {
        let mut broker = Broker::start();
        let send = |data| {
            let key = "order-7";
            ["send", "--skill", "bill", "--data", data, "--key", key, "--durability", level]
        };
        let first = broker.run(send("7")).ok();
        broker.kill();
        broker.restart();
        assert_eq!(broker.run(send("7")).ok(), first, "{level}");
        assert!(broker.run(send("8")).fails(4).contains("order-7"), "{level}");
        assert_eq!(broker.figure("tasks_open"), 1, "{level}");
    }
}

#[test]
fn a_broker_that_never_flushes_loses_what_it_accepted_and_one_that_flushes_does_not() {
    for (flag, kept) in [("--unflushed-lost", true), ("--never-flush", false)] {
        let mut broker = Broker::with([flag]);
        let id = broker.run(["send", "--skill", "nobody", "--data", "x"]).ok();
        broker.kill();
        broker.restart();
        let got = broker.run(["task", "get", &id]);
        assert_eq!(got.code, Some(if kept { 0 } else { 5 }), "{flag}: {got:?}");
    }
}

#[test]
fn in_memory_nothing_outlives_the_broker() {
    let mut broker = Broker::with(["--ephemeral"]);
    let id = broker.run(["send", "--skill", "nobody", "--data", "x"]).ok();
    broker.run(["task", "get", &id]).ok();
    broker.kill();
    broker.restart();
    broker.run(["task", "get", &id]).fails(5);
}

#[test]
fn an_agent_may_be_started_before_its_broker() {
    let mut broker = Broker::start();
    broker.kill();
    let _agent = broker.spawn(["agent", "--wait-for-broker", "--skill", "echo", "--", "cat"]);
    broker.restart();
    let reply =
        broker.run(["send", "--skill", "echo", "--data", "late", "--wait", "--timeout", "1m"]);
    assert_eq!(reply.ok(), "late");
}
