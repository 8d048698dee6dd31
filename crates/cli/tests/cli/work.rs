//! Work by executables: what they are given, what is made of what they give back.

use crate::harness::{Broker, until};
use std::fs;

#[test]
fn any_executable_is_an_agent_and_send_prints_its_reply_and_nothing_else() {
    let broker = Broker::start();
    let _agent = broker.agent(["--skill", "count-words", "--", "wc", "-w"]);
    let file = broker.scratch().join("text");
    fs::write(&file, "one two\nthree four\n").unwrap();
    let path = file.to_str().unwrap();
    let sent = broker.run(["send", "--skill", "count-words", "--file", path, "--wait"]);
    assert_eq!((sent.stdout.trim(), &*sent.stderr), ("4", ""));
    assert_eq!(sent.ok().lines().count(), 1);
    let asked = broker.run(["request", "--skill", "count-words", "--data", "a b c"]);
    assert_eq!(asked.ok().trim(), "3");
    let json = broker.run(["send", "--skill", "count-words", "--data", "x", "--wait", "--json"]);
    assert_eq!(json.json()["payload"]["text"].as_str().unwrap().trim(), "1");
}

#[test]
fn the_reply_is_passed_on_byte_for_byte() {
    let broker = Broker::start();
    let _agent = broker.agent(["--skill", "echo", "--", "cat"]);
    let reply = broker.run(["send", "--skill", "echo", "--data", "no end of line", "--wait"]);
    assert_eq!(reply.stdout, "no end of line");
}

#[test]
fn a_child_is_told_of_its_task_in_the_environment() {
    let broker = Broker::start();
    let script = "echo $TRUNKLINE_TASK_ID $TRUNKLINE_ATTEMPT $TRUNKLINE_SKILL \
                  $TRUNKLINE_HEADER_CASE $TRUNKLINE_CONTEXT_ID; exit 0";
    let _agent = broker.agent(["--skill", "tell", "--id", "teller", "--", "sh", "-c", script]);
    let reply = broker.run([
        "send",
        "--skill",
        "tell",
        "--header",
        "case=42",
        "--context",
        "talk",
        "--wait",
        "--json",
    ]);
    let reply = reply.json();
    let id = reply["id"].as_str().unwrap();
    assert_eq!(reply["payload"]["text"], format!("{id} 1 tell 42 talk\n"));
    assert_eq!(reply["agent"], "teller");
}

#[test]
fn a_failing_command_is_tried_again_and_then_is_a_dead_letter_with_every_reason() {
    let broker = Broker::start();
    let script = "echo \"broken on attempt $TRUNKLINE_ATTEMPT\" >&2; exit 7";
    let _agent = broker.agent(["--skill", "break", "--", "sh", "-c", script]);
    let sent = broker.run(["send", "--skill", "break", "--data", "x", "--attempts", "2", "--wait"]);
    assert_eq!(sent.stdout, "");
    let stderr = sent.fails(10);
    assert!(stderr.contains("broken on attempt 2"), "{stderr}");

    let letters = broker.run(["dead", "list", "--json"]).json();
    assert_eq!(letters.as_array().unwrap().len(), 1);
    let attempts = letters[0]["attempts"].as_array().unwrap();
    let reasons: Vec<_> = attempts.iter().map(|note| note["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].contains("exit code 7: broken on attempt 1"), "{reasons:?}");
    assert_eq!(letters[0]["payload"]["text"], "x");

    let id = letters[0]["id"].as_str().unwrap();
    let shown = broker.run(["dead", "show", id]).ok();
    assert!(shown.contains("skill:break") && shown.contains("broken on attempt 1"), "{shown}");
    assert_eq!(broker.figure("dead_letters"), 1);
    assert_eq!(broker.figure("redeliveries"), 1);
    broker.run(["task", "watch", id]).fails(6);
}

#[test]
fn a_child_that_runs_too_long_is_ended_and_its_progress_is_seen() {
    let broker = Broker::start();
    let script = "echo '{\"percent\":40,\"text\":\"half way\"}' >&3; exec sleep 600";
    // However busy the machine is, some time is enough for the first half.
    let mut spans = ["200ms", "1s", "5s", "30s"].into_iter();
    let progress = until("it is half way", || {
        let span = spans.next().unwrap();
        let agent = broker.agent(["--skill", span, "--timeout", span, "--", "sh", "-c", script]);
        let stderr = broker.run(["send", "--skill", span, "--attempts", "1", "--wait"]).fails(10);
        assert!(stderr.contains(&format!("timed out after {span}")), "{stderr}");
        drop(agent);
        let task = &broker.run(["task", "list", "--limit", "1", "--json"]).json()["tasks"][0];
        Some(task["progress"].clone()).filter(serde_json::Value::is_object)
    });
    assert_eq!((&progress["percent"], &progress["text"]), (&40.into(), &"half way".into()));
}

#[test]
fn an_agent_takes_events_and_what_is_sent_to_its_id() {
    let broker = Broker::start();
    let file = broker.scratch().join("log");
    let script = format!("cat >> {}; echo . >> {0}", file.display());
    let _agent =
        broker.agent(["--id", "clerk", "--on-topic", "orders.>", "--", "sh", "-c", &script]);
    broker.run(["send", "--to", "agent:clerk", "--data", "direct", "--wait"]).ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "direct.\n");
    broker.run(["publish", "orders.new", "--data", "event"]).ok();
    until("the event is handled", || {
        (fs::read_to_string(&file).unwrap() == "direct.\nevent.\n").then_some(())
    });
}
