//! A broker that is told to end while an agent works.

use crate::harness::{Broker, Running, until};
use std::fs;
use std::path::PathBuf;

/// An agent whose command runs from when `begun` is there until `go` is.
struct Held {
    _agent: Running,
    go: PathBuf,
    sender: Running,
    task: String,
}

/// Has an agent begin on a task that somebody waits for.
fn held(broker: &Broker) -> Held {
    let (begun, go) = (broker.scratch().join("begun"), broker.scratch().join("go"));
    let script = format!(
        "touch {}; while ! [ -e {} ]; do sleep 0.05; done; echo finished",
        begun.display(),
        go.display()
    );
    let agent = broker.agent(["--skill", "slow", "--", "sh", "-c", &script]);
    let sender = broker.spawn(["send", "--skill", "slow", "--wait"]);
    until("the command runs", || begun.exists().then_some(()));
    let page = broker.run(["task", "list", "--skill", "slow", "--json"]).json();
    let task = page["tasks"][0]["id"].as_str().unwrap().to_owned();
    Held { _agent: agent, go, sender, task }
}

#[test]
fn held_work_ends_and_is_replied_to_before_the_broker_ends() {
    let mut broker = Broker::with(["--drain-timeout", "1h"]);
    let Held { _agent, go, sender, task } = held(&broker);
    let process = broker.take();
    process.terminate();
    until("it says that it drains", || (broker.get("/readyz") == Some(503)).then_some(()));
    assert_eq!(broker.get("/healthz"), Some(200));
    let refused = broker.run(["send", "--skill", "slow"]);
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("shutting down"), "{refused:?}");

    fs::write(&go, "").unwrap();
    assert_eq!(sender.finish().ok(), "finished");
    process.finish().ok();
    broker.restart();
    let after = broker.run(["task", "get", &task, "--json"]).json();
    assert_eq!((&after["state"], &after["attempts"]), (&"completed".into(), &1.into()), "{after}");
}

#[test]
fn a_second_signal_ends_a_draining_broker_at_once() {
    let mut broker = Broker::with(["--drain-timeout", "1h"]);
    let _held = held(&broker);
    let mut process = broker.take();
    process.terminate();
    process.says("draining");
    until("it drains", || (broker.get("/readyz") == Some(503)).then_some(()));
    process.terminate();
    process.finish().fails(130);
}
