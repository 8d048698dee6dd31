//! Tasks that can be followed: found by what they came from, read with what was said in them,
//! called off with all that they led to, and forgotten after a time.

use crate::harness::{Broker, until};
use serde_json::Value;

/// A broker with a task that died and another one that was made of it and that waits.
fn redriven() -> (Broker, String, String) {
    let broker = Broker::start();
    let agent = broker.agent(["--id", "judge", "--skill", "judge", "--", "false"]);
    broker.run(["send", "--skill", "judge", "--attempts", "1", "--wait"]).fails(10);
    drop(agent);
    let letters = broker.run(["dead", "list", "--json"]).json();
    let old = letters[0]["id"].as_str().unwrap().to_owned();
    let again = broker.run(["dead", "redrive", &old, "--json"]).json();
    let new = again["id"].as_str().unwrap().to_owned();
    until("nobody holds the new one", || {
        let task = broker.run(["task", "get", &new, "--json"]).json();
        (task["state"] == "submitted").then_some(())
    });
    (broker, old, new)
}

#[test]
fn tasks_are_found_by_root_states_and_time_and_called_off_with_what_they_led_to() {
    let (broker, old, new) = redriven();
    let listed = |options: &[&str]| {
        let output = broker.command(["task", "list", "--json"]).args(options).output().unwrap();
        let page: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tasks = page["tasks"].as_array().unwrap().iter();
        tasks.map(|task| task["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let both = [new.clone(), old.clone()];
    assert_eq!(listed(&["--root", &old]), both);
    assert_eq!(listed(&["--root", &new]), both[..1]);
    assert_eq!(listed(&["--state", "failed", "--state", "submitted"]), both);
    assert_eq!(listed(&["--state", "submitted"]), both[..1]);
    assert_eq!(listed(&["--since", "1h"]), both);
    assert!(listed(&["--since", "2100-01-01T00:00:00Z"]).is_empty());
    assert_eq!(listed(&["--until", "2100-01-01T00:00:00Z"]), both);
    assert!(listed(&["--until", "1h"]).is_empty());

    let plain = broker.run(["task", "cancel", &old]).fails(4);
    assert!(plain.contains("failed already"), "{plain}");
    let all = broker.run(["task", "cancel", &old, "--descendants"]).ok();
    assert_eq!(all, format!("canceled {old} and what it led to, 1 task in all"));
    let task = broker.run(["task", "get", &new, "--json"]).json();
    assert_eq!(task["state"], "canceled");
}

#[test]
fn what_was_said_is_shown_with_the_task_and_with_its_conversation() {
    let broker = Broker::start();
    let _agent = broker.agent(["--skill", "echo", "--", "cat"]);
    let send = |text: &str| {
        let send = ["send", "--skill", "echo", "--context", "talk", "--data", text];
        let id = broker.run(send).ok();
        broker.run(["task", "watch", &id]).ok();
        id
    };
    let (first, _) = (send("one"), send("two"));
    let texts = |shown: &Value| {
        let messages = shown["history"]["messages"].as_array().unwrap().iter();
        let said = messages.map(|message| {
            let text = message["payload"]["text"].as_str().unwrap();
            format!("{} {text}", message["role"].as_str().unwrap())
        });
        said.collect::<Vec<_>>()
    };
    let task = broker.run(["task", "get", &first, "--history", "9", "--json"]).json();
    assert_eq!(texts(&task), ["caller one", "agent one"]);
    let task = broker.run(["task", "get", &first, "--history", "1", "--json"]).json();
    assert_eq!((texts(&task), &task["history"]["more"]), (vec!["agent one".into()], &true.into()));
    let task = broker.run(["task", "get", &first, "--json"]).json();
    assert!(texts(&task).is_empty());

    let context = broker.run(["context", "talk", "--json"]).json();
    assert_eq!(texts(&context), ["caller one", "agent one", "caller two", "agent two"]);
    assert_eq!((&context["tasks"], &context["tasks_open"]), (&2.into(), &0.into()));
    let context = broker.run(["context", "talk", "--history", "1", "--json"]).json();
    assert_eq!(texts(&context), ["agent two"]);
    let shown = broker.run(["context", "talk"]).ok();
    assert!(shown.contains("caller") && shown.contains(&first), "{shown}");
    let unknown = broker.run(["context", "silence"]).fails(5);
    assert!(unknown.contains("'silence'"), "{unknown}");
}

#[test]
fn a_task_that_is_on_disk_only_is_shown_listed_and_watched() {
    let broker = Broker::configured("[broker]\nrecent_tasks = 0\n", []);
    let _agent = broker.agent(["--id", "echo", "--skill", "echo", "--", "cat"]);
    broker.run(["send", "--skill", "echo", "--context", "talk", "--data", "one", "--wait"]).ok();
    until("it is on disk only", || (broker.figure("tasks_indexed") == 1).then_some(()));
    let page = broker.run(["task", "list", "--context", "talk", "--json"]).json();
    let id = page["tasks"][0]["id"].as_str().unwrap().to_owned();
    for narrowed in [["--skill", "echo"], ["--agent", "echo"], ["--state", "completed"]] {
        let page = broker.run(["task", "list", narrowed[0], narrowed[1], "--json"]).json();
        assert_eq!(page["tasks"][0]["id"], id.as_str(), "{narrowed:?}");
    }
    let task = broker.run(["task", "get", &id, "--history", "9", "--json"]).json();
    assert_eq!(task["history"]["messages"].as_array().unwrap().len(), 2, "{task}");
    let watched = broker.run(["task", "watch", &id]).ok();
    assert!(watched.contains("completed"), "{watched}");
    let context = broker.run(["context", "talk", "--json"]).json();
    assert_eq!(context["tasks"], 1);
    let shown = broker.run(["message", "get", &id]).ok();
    assert!(shown.contains("completed"), "{shown}");
    assert_eq!(broker.figure("tasks_forgotten"), 0);
}

#[test]
fn ended_tasks_and_dead_letters_go_when_their_time_is_over_and_are_counted() {
    let settings = "[broker]\nended_task_keep = \"1s\"\ndead_letter_keep = \"1s\"\n";
    let broker = Broker::configured(settings, []);
    let _agent = broker.agent(["--id", "judge", "--skill", "judge", "--", "false"]);
    broker.run(["send", "--skill", "judge", "--attempts", "1", "--wait"]).fails(10);
    until("both are forgotten", || {
        let gone = ["tasks_forgotten", "dead_letters_forgotten"].map(|name| broker.figure(name));
        (gone == [1, 1]).then_some(())
    });
    assert_eq!(broker.figure("dead_letters"), 0);
    let page = broker.run(["task", "list", "--json"]).json();
    assert!(page["tasks"].as_array().unwrap().is_empty());
}
