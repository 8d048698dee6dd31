//! Dead letters: found, sent again, deleted.

use crate::harness::{Broker, Running, until};
use serde_json::Value;

/// A broker with an agent that takes only what has `good` in it, and letters that it gave up.
fn with_letters(data: &[&str]) -> (Broker, Running) {
    // With a circuit breaker the agent would get nothing more after some failures.
    let broker = Broker::configured("[broker]\nbreaker_failures = 0\n", []);
    let script = "grep -q good || { echo 'no good' >&2; exit 1; }";
    let agent = broker.agent(["--id", "judge", "--skill", "judge", "--", "sh", "-c", script]);
    for data in data {
        let send = ["send", "--skill", "judge", "--data", data, "--attempts", "1", "--wait"];
        broker.run(send).fails(10);
    }
    (broker, agent)
}

fn letters<const N: usize>(broker: &Broker, options: [&str; N]) -> Vec<Value> {
    let mut list = broker.command(["dead", "list", "--json"]);
    let output = list.args(options).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

fn id(letter: &Value) -> &str {
    letter["id"].as_str().unwrap()
}

#[test]
fn every_filter_of_the_list_chooses() {
    let (broker, _agent) = with_letters(&["bad", "worse"]);
    assert_eq!(letters(&broker, []).len(), 2);
    assert_eq!(letters(&broker, ["--limit", "1"]).len(), 1);
    assert_eq!(letters(&broker, ["--inbox", "skill:judge"]).len(), 2);
    assert_eq!(letters(&broker, ["--inbox", "skill:other"]).len(), 0);
    assert_eq!(letters(&broker, ["--agent", "judge"]).len(), 2);
    assert_eq!(letters(&broker, ["--agent", "other"]).len(), 0);
    assert_eq!(letters(&broker, ["--reason", "no good"]).len(), 2);
    assert_eq!(letters(&broker, ["--reason", "timeout"]).len(), 0);
    assert_eq!(letters(&broker, ["--since", "1h"]).len(), 2);
    assert_eq!(letters(&broker, ["--since", "2100-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(letters(&broker, ["--until", "1h"]).len(), 0);
    assert_eq!(letters(&broker, ["--until", "2100-01-01T00:00:00Z"]).len(), 2);
}

#[test]
fn one_letter_is_sent_again_edited_as_a_new_message() {
    let (broker, _agent) = with_letters(&["bad"]);
    let letter = id(&letters(&broker, [])[0]).to_owned();
    let again = broker.run(["dead", "redrive", &letter, "--data", "good", "--json"]).json();
    assert_eq!(again["redriven_from"], letter.as_str());
    assert_ne!(again["id"], letter.as_str());
    broker.run(["task", "watch", again["id"].as_str().unwrap()]).ok();
    assert!(letters(&broker, []).is_empty());
    broker.run(["dead", "show", &letter]).fails(5);
    let gone = broker.run(["dead", "redrive", &letter]).fails(5);
    assert!(gone.contains(&letter), "{gone}");
    assert_eq!(broker.figure("redriven"), 1);
}

#[test]
fn a_letter_can_go_elsewhere_with_another_priority() {
    let (broker, _agent) = with_letters(&["bad"]);
    let letter = id(&letters(&broker, [])[0]).to_owned();
    let mut redrive = broker.command(["dead", "redrive", &letter, "--to", "skill:other"]);
    let again = redrive.args(["--priority", "urgent"]).output().unwrap();
    let again = String::from_utf8(again.stdout).unwrap();
    let task = broker.run(["task", "get", again.trim(), "--json"]).json();
    assert_eq!(task["destination"], "skill:other");
    // What is not urgent and came before it is overtaken.
    broker.run(["send", "--skill", "other", "--data", "later"]).ok();
    let file = broker.scratch().join("log");
    let script = format!("cat >> {0}; echo >> {0}", file.display());
    let _other = broker.agent(["--skill", "other", "--", "sh", "-c", &script]);
    broker.run(["task", "watch", again.trim()]).ok();
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("bad\n"));
}

#[test]
fn many_letters_are_sent_again_at_a_rate_or_deleted() {
    let (broker, _agent) = with_letters(&["one", "two", "three", "four"]);
    let none = ["dead", "redrive", "--all", "--reason", "nothing like it", "--json"];
    assert_eq!(broker.run(none).json()["redriven"], 0);
    // At one a second there is time to tell how far it is; without a rate it is done before that.
    let all = ["dead", "redrive", "--all", "--inbox", "skill:judge", "--rate", "1/s", "--json"];
    let mut all = broker.command(all);
    let all = all.args(["--data", "good now"]).output().unwrap();
    let told = String::from_utf8(all.stderr).unwrap();
    assert!(told.contains(" of at least 4, 0 refused\n"), "{told}");
    let all: Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!((&all["redriven"], &all["refused"]), (&4.into(), &0.into()));
    assert!(letters(&broker, []).is_empty());

    for data in ["five", "six", "seven"] {
        let send = ["send", "--skill", "judge", "--data", data, "--attempts", "1", "--wait"];
        broker.run(send).fails(10);
    }
    let letter = id(&letters(&broker, [])[0]).to_owned();
    broker.run(["dead", "purge", &letter]).fails(2);
    broker.run(["dead", "purge", "--all"]).fails(2);
    assert_eq!(letters(&broker, []).len(), 3);
    broker.run(["dead", "purge", &letter, "--yes"]).ok();
    broker.run(["dead", "purge", &letter, "--yes"]).fails(5);
    assert_eq!(broker.run(["dead", "purge", "--all", "--yes"]).ok(), "purged 2");
    assert_eq!(broker.figure("purged"), 3);
    assert!(letters(&broker, []).is_empty());
}

#[test]
fn one_letter_takes_no_filters() {
    let broker = Broker::start();
    let unknown = "0192f0c1-2d3e-7000-8000-00000000002a";
    let stderr = broker.run(["dead", "redrive", unknown, "--reason", "x"]).fails(2);
    assert!(stderr.contains("--reason"), "{stderr}");
    broker.run(["dead", "redrive", unknown]).fails(5);
}

#[test]
fn letters_that_are_refused_are_named_and_the_others_go() {
    let (broker, _agent) = with_letters(&["one", "two"]);
    let ids: Vec<_> = letters(&broker, []).iter().map(|letter| id(letter).to_owned()).collect();
    // To a topic nothing can be sent that was a task.
    let all = ["dead", "redrive", "--all", "--to", "topic:a.b"];
    let stderr = broker.run(all).fails(4);
    assert!(ids.iter().all(|id| stderr.contains(id.as_str())), "{stderr}");
    assert!(stderr.contains("2 dead letters were refused and stay where they are"), "{stderr}");
    broker.run(["dead", "purge", &ids[0], "--yes"]).ok();
    let stderr = broker.run(all).fails(4);
    assert!(stderr.contains("1 dead letter was refused and stays where it is"), "{stderr}");
}

#[test]
fn letters_on_disk_only_are_listed_and_leave_once_over_restarts() {
    let (mut broker, agent) = with_letters(&["one", "two", "three"]);
    drop(agent);
    until("they are on disk only", || (broker.figure("dead_letters_indexed") == 3).then_some(()));
    assert_eq!(broker.figure("dead_letters"), 3);
    broker.kill();
    broker.restart();
    assert_eq!(broker.figure("dead_letters_indexed"), 3);
    let found = letters(&broker, ["--reason", "no good"]);
    assert_eq!(found.len(), 3);
    let [first, second] = [id(&found[0]), id(&found[1])];
    assert_eq!(broker.run(["dead", "show", first, "--json"]).json()["id"], first);
    broker.run(["dead", "redrive", first, "--to", "skill:nobody"]).ok();
    broker.run(["dead", "purge", second, "--yes"]).ok();
    // The index may not have heard of it.
    broker.kill();
    broker.restart();
    for gone in [first, second] {
        broker.run(["dead", "redrive", gone]).fails(5);
        broker.run(["dead", "show", gone]).fails(5);
    }
    assert_eq!(letters(&broker, []).len(), 1);
    let figures = ["dead_letters", "redriven", "purged", "dead_letters_forgotten", "tasks_open"];
    assert_eq!(figures.map(|name| broker.figure(name)), [1, 1, 1, 0, 1]);
    assert_eq!(broker.run(["dead", "purge", "--all", "--yes"]).ok(), "purged 1");
    assert!(letters(&broker, []).is_empty());
}
