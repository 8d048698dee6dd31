//! Lists that take more than one answer of the broker, because a page has about 4 MiB at most.

use crate::harness::Broker;
use std::fs;

/// So many that their payloads of 1 MB need two pages.
const MANY: usize = 6;

#[test]
fn lists_of_large_tasks_and_dead_letters_are_complete() {
    let broker = Broker::start();
    let file = broker.scratch().join("large");
    fs::write(&file, "x".repeat(1_000_000)).unwrap();
    let file = file.to_str().unwrap();
    let echo = broker.agent(["--skill", "echo", "--", "cat"]);
    let fail = broker.agent(["--skill", "fail", "--", "false"]);
    for _ in 0..MANY {
        broker.run(["send", "--skill", "echo", "--file", file, "--wait"]).ok();
        broker
            .run(["send", "--skill", "fail", "--file", file, "--attempts", "1", "--wait"])
            .fails(10);
    }
    drop((echo, fail));

    let listed = broker.run(["task", "list", "--skill", "echo", "--json"]).json();
    assert_eq!(listed["tasks"].as_array().unwrap().len(), MANY);
    assert!(listed["next"].is_null());
    let letters = broker.run(["dead", "list", "--json"]).json();
    assert_eq!(letters.as_array().unwrap().len(), MANY);
    let some = broker.run(["dead", "list", "--limit", "5"]);
    assert!(some.stderr.contains("--limit"), "{some:?}");
    assert_eq!(some.ok().lines().count(), 1 + 5);
}
