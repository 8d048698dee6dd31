//! Tasks: listed, read, watched, called off, answered; how their ends become exit codes.

use crate::harness::{Broker, until};

#[test]
fn tasks_are_listed_read_and_called_off() {
    let broker = Broker::start();
    let first = broker.run(["send", "--skill", "nobody", "--data", "1"]).ok();
    let second = broker.run(["send", "--to", "agent:absent", "--data", "2"]).ok();

    let page = broker.run(["task", "list", "--json"]).json();
    let ids: Vec<_> = page["tasks"].as_array().unwrap().iter().map(|task| &task["id"]).collect();
    assert_eq!(ids, [&*second, &*first]);
    let page = broker.run(["task", "list", "--skill", "nobody", "--json"]).json();
    assert_eq!(page["tasks"].as_array().unwrap().len(), 1);
    let table = broker.run(["task", "list", "--state", "submitted"]).ok();
    assert!(table.contains(&first) && table.contains("agent:absent"), "{table}");
    let page = broker.run(["task", "list", "--limit", "1", "--json"]).json();
    let next = page["next"].as_str().unwrap();
    let older = broker.run(["task", "list", "--before", next, "--json"]).json();
    assert_eq!(older["tasks"][0]["id"], *first);

    let done = broker.run(["task", "cancel", &first, "--reason", "not wanted"]).ok();
    assert_eq!(done, format!("canceled {first}"));
    let shown = broker.run(["task", "get", &first]).ok();
    assert!(shown.contains("canceled") && shown.contains("not wanted"), "{shown}");
    broker.run(["task", "cancel", &first]).ok();
    let shown = broker.run(["task", "get", &first]).ok();
    assert!(shown.contains("not wanted"), "saying it again changes nothing: {shown}");
    assert_eq!(broker.run(["task", "list", "--state", "canceled", "--json"]).json()["next"], {
        serde_json::Value::Null
    });
}

#[test]
fn watching_shows_every_event_and_its_end_is_the_exit_code() {
    let broker = Broker::start();
    let _agent = broker.agent(["--skill", "echo", "--", "cat"]);
    let id = broker.run(["send", "--skill", "echo", "--data", "x"]).ok();
    let events = broker.run(["task", "watch", &id, "--json"]).ok();
    let states: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|event| event["status"]["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states, ["submitted", "working", "completed"]);
    let rest = broker.run(["task", "watch", &id, "--after", "2"]).ok();
    assert_eq!(rest.trim(), "3  completed");
    assert_eq!(broker.run(["task", "watch", &id, "--after", "3"]).ok(), "");

    let canceled = broker.run(["send", "--skill", "nobody"]).ok();
    let watcher = broker.spawn(["task", "watch", &canceled]);
    broker.run(["task", "cancel", &canceled]).ok();
    watcher.finish().fails(9);

    let late = broker.run(["task", "cancel", &id]).fails(4);
    assert!(late.contains("completed already"), "{late}");
}

#[test]
fn each_way_without_an_answer_has_its_own_exit_code() {
    let broker = Broker::start();
    let expired = broker.run(["send", "--skill", "nobody", "--ttl", "50ms", "--wait"]).fails(8);
    assert!(expired.contains("time to live"), "{expired}");

    let wait = ["send", "--skill", "nobody", "--wait", "--timeout", "50ms"];
    let late = broker.run(wait).fails(11);
    assert!(late.contains("no answer within 50ms") && late.contains("task watch"), "{late}");
    assert_eq!(broker.figure("tasks_open"), 1, "the task goes on");

    let late = broker.run(["request", "--skill", "nobody", "--timeout", "50ms"]).fails(11);
    assert!(late.contains("no answer within 50ms"), "{late}");

    let absent = broker.run(["send", "--skill", "nobody", "--absent", "fail"]).fails(4);
    assert!(absent.contains("nobody"), "{absent}");

    let sender = broker.spawn(["send", "--skill", "canceled", "--wait"]);
    let id = until("the task is there", || {
        let page = broker.run(["task", "list", "--skill", "canceled", "--json"]).json();
        page["tasks"][0]["id"].as_str().map(str::to_owned)
    });
    broker.run(["task", "cancel", &id, "--reason", "enough"]).ok();
    assert!(sender.finish().fails(9).contains("enough"));
}

#[test]
fn cancelling_ends_the_child_that_works_on_the_task() {
    let broker = Broker::start();
    let started = broker.scratch().join("started");
    let script = format!("echo $$ > {}; exec sleep 600", started.display());
    let _agent = broker.agent(["--skill", "slow", "--", "sh", "-c", &script]);
    let id = broker.run(["send", "--skill", "slow"]).ok();
    let child = until("the child runs", || {
        std::fs::read_to_string(&started).ok().filter(|text| text.ends_with('\n'))
    });
    broker.run(["task", "cancel", &id]).ok();
    until("the child is gone", || {
        let alive = std::process::Command::new("kill").args(["-0", child.trim()]).output();
        (!alive.unwrap().status.success()).then_some(())
    });
}

#[test]
fn what_is_not_there_is_named() {
    let broker = Broker::start();
    let id = "0192f0c1-2d3e-7000-8000-00000000002a";
    for command in [["task", "get", id], ["task", "cancel", id], ["task", "watch", id]] {
        let stderr = broker.run(command).fails(5);
        assert!(stderr.contains(id), "{command:?}: {stderr}");
    }
    assert!(broker.run(["dead", "show", id]).fails(5).contains(id));
    assert!(broker.run(["agents", "get", "nobody"]).fails(5).contains("'nobody'"));
    let waiting = broker.run(["send", "--skill", "nobody"]).ok();
    let stderr = broker.run(["task", "continue", &waiting, "--data", "yes"]).fails(4);
    assert!(stderr.contains(&waiting), "{stderr}");
}

#[test]
fn the_directory_shows_who_is_there_and_the_figures_are_complete() {
    let broker = Broker::start();
    let agent = broker.agent([
        "--skill",
        "echo",
        "--id",
        "parrot",
        "--description",
        "says it again",
        "--",
        "cat",
    ]);
    let listed = broker.run(["agents", "list", "--skill", "echo", "--json"]).json();
    assert_eq!(listed[0]["id"], "parrot");
    assert_eq!(listed[0]["presence"], "ready");
    let shown = broker.run(["agents", "get", "parrot"]).ok();
    assert!(shown.contains("says it again"), "{shown}");
    broker.run(["send", "--skill", "echo", "--data", "x", "--wait"]).ok();

    let stats = broker.run(["stats", "--json"]).json();
    for (key, value) in [
        ("tasks_completed", 1),
        ("tasks_failed", 0),
        ("dead_letters", 0),
        ("messages_accepted", 1),
        ("messages_settled", 1),
        ("messages_expired", 0),
        ("redeliveries", 0),
    ] {
        assert_eq!(stats[key], value, "{key}");
    }
    assert!(stats["log"]["flushes"].as_u64().unwrap() > 0);
    // The publish and the settlement at least, each in some turn; the delivery and the answers to
    // both, each in some batch.
    for (many, times, each) in [
        ("operations", "turns", "operations_per_turn"),
        ("items", "hand_overs", "items_per_hand_over"),
    ] {
        let batches = &stats["batches"];
        let count = |name: &str| batches[name].as_u64().unwrap();
        assert!(count(many) >= 2 && count(times) > 0, "{stats}");
        let expected = f64::from(u32::try_from(count(many)).unwrap())
            / f64::from(u32::try_from(count(times)).unwrap());
        assert!((batches[each].as_f64().unwrap() - expected).abs() < 1e-9, "{stats}");
    }
    let (log, table) = (&stats["log"], broker.run(["stats"]).ok());
    assert!(log["records_per_flush"].as_f64().unwrap() > 0.0, "{log}");
    for row in ["operations in a turn", "items in a batch to a session", "log records in a flush"] {
        assert!(table.contains(row), "{row} in {table}");
    }
    assert!(broker.run(["stats", "--inboxes"]).ok().contains("skill:echo"));

    agent.terminate();
    agent.finish().ok();
    let gone = broker.run(["agents", "get", "parrot", "--json"]).json();
    assert_eq!(gone["presence"], "offline", "it said goodbye");
}
