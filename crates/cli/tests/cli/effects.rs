//! Options whose effect shows best from outside: in files, or in what another caller may do.

use crate::harness::{Broker, Running, until};
use serde_json::Value;
use std::fs;
use std::process::Command;

/// The exit code of what an inbox had no room for.
const FULL: i32 = 4;
const EXPIRED: i32 = 8;

/// Whether there is such a process, and it has not ended.
fn is_alive(id: &str) -> bool {
    let state = Command::new("ps").args(["-o", "stat=", "-p", id.trim()]).output().unwrap().stdout;
    !state.is_empty() && !state.starts_with(b"Z")
}

/// Two letters, each in an inbox of its own, given up by an agent of its own for its own reason.
fn two_letters() -> Broker {
    let broker = Broker::start();
    for name in ["red", "blue"] {
        let script = format!("echo {name} >&2; exit 1");
        let _agent = broker.agent(["--id", name, "--skill", name, "--", "sh", "-c", &script]);
        broker.run(["send", "--skill", name, "--attempts", "1", "--wait"]).fails(10);
    }
    broker
}

fn left(broker: &Broker) -> Vec<String> {
    let letters = broker.run(["dead", "list", "--json"]).json();
    let letters = letters.as_array().unwrap().iter();
    letters.map(|letter| letter["inbox"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn all_that_match_are_purged_and_no_others() {
    let broker = two_letters();
    let purge = |option: &str, value: &str| {
        broker.run(["dead", "purge", "--all", "--yes", option, value]).ok()
    };
    for (option, value) in [
        ("--inbox", "skill:green"),
        ("--agent", "green"),
        ("--reason", "green"),
        ("--since", "2100-01-01T00:00:00Z"),
        ("--until", "1h"),
    ] {
        assert_eq!(purge(option, value), "purged 0", "{option}");
    }
    assert_eq!(left(&broker), ["skill:blue", "skill:red"]);
    assert_eq!(purge("--reason", "blue"), "purged 1");
    assert_eq!(left(&broker), ["skill:red"]);
}

#[test]
fn all_that_match_are_sent_again_and_no_others() {
    let broker = two_letters();
    let redrive = ["dead", "redrive", "--all", "--agent", "red", "--to", "skill:later"];
    assert_eq!(broker.run(redrive).ok(), "redriven 1");
    assert_eq!(left(&broker), ["skill:blue"]);
}

#[test]
fn the_files_of_the_log_are_as_long_as_is_set() {
    let broker = Broker::configured("[log]\nsegment_bytes = '32MiB'\n", []);
    broker.run(["send", "--skill", "nobody"]).ok();
    let files = fs::read_dir(broker.data()).unwrap().map(|file| file.unwrap());
    // One that is still being filled has no number yet.
    let name = |file: &fs::DirEntry| file.file_name().into_string().unwrap();
    let segments = files.filter(|file| name(file).starts_with('0'));
    let lengths: Vec<_> = segments.map(|file| file.metadata().unwrap().len()).collect();
    assert!(!lengths.is_empty() && lengths.iter().all(|bytes| *bytes == 32 << 20), "{lengths:?}");
}

#[test]
fn an_agent_is_set_by_anybody_but_unregistered_only_by_who_registered_it() {
    let broker = Broker::start();
    let own = ["agent", "--principal", "ann", "--id", "clerk", "--skill", "s", "--", "cat"];
    let mut agent = broker.spawn(own);
    agent.says("connected to");
    let unregister =
        |principal: &str| broker.run(["agents", "unregister", "clerk", "--principal", principal]);
    let told = unregister("bob").fails(4);
    assert!(told.contains("agent 'clerk' belongs to 'ann', you are 'bob'"), "{told}");
    broker.run(["agents", "set", "clerk", "--drain", "--principal", "bob"]).ok();
    agent.says("drained by an operator");
    agent.finish().ok();
    unregister("ann").ok();
}

#[test]
fn an_agent_waits_for_its_commands_for_as_long_as_is_named() {
    let broker = Broker::start();
    let working = |id: &str, span: &str| {
        let begun = broker.scratch().join(id);
        let script = format!("touch {}; exec sleep 600", begun.display());
        let named = ["--id", id, "--skill", id, "--drain-timeout", span, "--"];
        let mut agent = broker.command(["agent"]);
        let mut agent = Running::start(agent.args(named).args(["sh", "-c", &script]));
        agent.says("connected to");
        broker.run(["send", "--skill", id]).ok();
        until("the child runs", || begun.exists().then_some(()));
        agent.terminate();
        agent.says("finishes what it holds");
        agent
    };
    let patient = working("patient", "1h");
    working("hasty", "100ms").finish().ok();
    assert!(is_alive(&patient.id().to_string()), "it was told before, and has longer");
}

#[test]
fn a_broker_waits_for_held_work_for_as_long_as_is_named() {
    let told = |span: &str| {
        let mut broker = Broker::with(["--drain-timeout", span]);
        let begun = broker.scratch().join("begun");
        let script = format!("touch {}; exec sleep 600", begun.display());
        let agent = broker.agent(["--skill", "slow", "--", "sh", "-c", &script]);
        broker.run(["send", "--skill", "slow"]).ok();
        until("the child runs", || begun.exists().then_some(()));
        let process = broker.take();
        process.terminate();
        (process, agent, broker)
    };
    let (patient, _agent, _its) = told("1h");
    let (hasty, _other, _of) = told("100ms");
    hasty.finish().ok();
    assert!(is_alive(&patient.id().to_string()), "it was told before, and has longer");
}

#[test]
fn a_child_that_is_called_off_has_as_much_time_as_is_named() {
    let broker = Broker::start();
    let called_off = |id: &str, span: &str| {
        let [begun, told] =
            ["begun", "told"].map(|what| broker.scratch().join(format!("{id} {what}")));
        let (begun_at, told_at) = (begun.display(), told.display());
        let script = format!(
            "trap 'touch \"{told_at}\"' TERM; echo $$ >\"{begun_at}\"; while :; do sleep 0.05; done"
        );
        let agent =
            broker.agent(["--id", id, "--skill", id, "--grace", span, "--", "sh", "-c", &script]);
        let task = broker.run(["send", "--skill", id]).ok();
        let child = until("the child runs", || {
            fs::read_to_string(&begun).ok().filter(|text| text.ends_with('\n'))
        });
        broker.run(["task", "cancel", &task]).ok();
        until("it is told", || told.exists().then_some(()));
        (agent, child)
    };
    let patient = called_off("patient", "1h");
    let hasty = called_off("hasty", "50ms");
    until("the one is gone", || (!is_alive(&hasty.1)).then_some(()));
    assert!(is_alive(&patient.1), "it was called off before, and has longer");
}

#[test]
fn tasks_are_listed_by_their_skill_and_their_states() {
    let broker = Broker::start();
    let [one, two] = ["one", "two"].map(|skill| broker.run(["send", "--skill", skill]).ok());
    broker.run(["task", "cancel", &two]).ok();
    let listed = |options: &[&str]| {
        let mut list = broker.command(["task", "list", "--json"]);
        let page: Value =
            serde_json::from_slice(&list.args(options).output().unwrap().stdout).unwrap();
        let tasks = page["tasks"].as_array().unwrap().iter();
        tasks.map(|task| task["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["--skill", "one"]), [one.as_str()]);
    assert_eq!(listed(&["--skill", "two"]), [two.as_str()]);
    assert_eq!(listed(&["--state", "submitted"]), [one.as_str()]);
    assert_eq!(listed(&["--state", "canceled"]), [two.as_str()]);
    assert_eq!(listed(&["--state", "canceled", "--state", "submitted"]), [two, one]);
}

#[test]
fn why_a_message_is_called_off_is_told_to_who_works_on_it_and_shown() {
    let broker = Broker::start();
    let id = broker.run(["send", "--skill", "nobody"]).ok();
    broker.run(["message", "cancel", &id, "--reason", "sent by mistake"]).ok();
    let task = broker.run(["task", "get", &id, "--json"]).json();
    assert_eq!((&task["state"], &task["reason"]), (&"canceled".into(), &"sent by mistake".into()));
}

#[test]
fn what_is_set_about_an_inbox_acts_until_it_is_taken_back() {
    let broker = Broker::configured("[broker]\nwait = \"1h\"\n", []);
    let set = |options: &[&str]| {
        let mut set = broker.command(["inbox", "set", "skill:s"]);
        assert!(set.args(options).output().unwrap().status.success());
    };
    set(&["--when-full", "wait", "--wait", "1ms", "--limit", "1"]);
    let send = ["send", "--skill", "s", "--durability", "ephemeral"];
    broker.run(send).ok();
    broker.spawn(send).finish().fails(FULL);

    set(&["--limit", "100", "--when-full", "reject", "--ttl", "1ms"]);
    broker.run(["send", "--skill", "s", "--wait"]).fails(EXPIRED);
    set(&["--ttl", "0s"]);

    set(&["--bind", "urgent=tier:gold"]);
    let _agent = broker.agent(["--skill", "s", "--", "cat"]);
    let urgent = ["send", "--skill", "s", "--priority", "urgent", "--wait"];
    let urgent = broker.spawn(urgent);
    until("it waits", || (broker.figure("tasks_open") == 1).then_some(()));
    broker.run(["send", "--skill", "s", "--wait"]).ok();
    assert_eq!(broker.figure("tasks_open"), 1, "only agents with the label take it");
    set(&["--unbind"]);
    urgent.finish().ok();
}
