//! What outlives which fault, where no smaller test shows it.

use crate::harness::{Broker, until};
use std::fs;
use std::future::IntoFuture;
use trunkline_agent::Host;
use trunkline_agent::prelude::{Destination, RequestError};
use trunkline_client::{Client, ClientConfig};
use trunkline_types::FailureCode;

/// As many bytes as there are.
const ALL: &str = "18446744073709551615";

#[test]
fn buffered_work_that_was_completed_is_completed_after_a_kill() {
    let mut broker = Broker::start();
    let agent = broker.agent(["--skill", "echo", "--", "cat"]);
    let task =
        broker.run(["send", "--skill", "echo", "--data", "x", "--durability", "buffered"]).ok();
    broker.run(["task", "watch", &task]).ok();
    let before = broker.run(["task", "get", &task, "--json"]).json();
    assert_eq!(before["state"], "completed");
    drop(agent);
    broker.kill();
    broker.restart();
    assert_eq!(broker.run(["task", "get", &task, "--json"]).json(), before);
}

#[test]
fn whoever_awaits_an_answer_is_told_that_a_killed_broker_had_the_request_in_memory_only() {
    let mut broker = Broker::start();
    let url = format!("http://{}", broker.address());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let skill = || Destination::skill("nobody").unwrap();
    let session = runtime
        .block_on(async { Client::new(&ClientConfig::new(url)).unwrap().session().await.unwrap() });
    let lost = runtime.spawn(session.request(skill(), "x").into_future());
    let kept = runtime.spawn(session.send(skill(), "y").wait());
    until("both are accepted", || (broker.figure("messages_accepted") == 2).then_some(()));
    broker.kill();
    broker.restart();
    let told = runtime.block_on(lost).unwrap();
    let Err(RequestError::Failed(failure)) = told else { panic!("{told:?}") };
    assert_eq!(failure.code, FailureCode::Lost, "{failure:?}");
    assert!(!kept.is_finished(), "a task is kept, and goes on to be waited for");
    assert_eq!(broker.figure("tasks_open"), 1);
}

#[test]
fn a_broker_whose_disk_is_full_refuses_new_work_finishes_what_it_has_and_takes_work_again() {
    let scratch = tempfile::tempdir().unwrap();
    let room = scratch.path().join("room");
    fs::write(&room, ALL).unwrap();
    let settings = "[log]\nsegment_bytes = \"4MiB\"\nmax_body_bytes = \"2MiB\"\n\
                    retry_space_after = \"10ms\"\n[broker]\nlogged_copies = 100\n";
    let broker = Broker::configured(settings, ["--room", room.to_str().unwrap()]);
    let large = scratch.path().join("large");
    fs::write(&large, vec![b'x'; 1 << 20]).unwrap();
    let send = || broker.run(["send", "--skill", "count", "--file", large.to_str().unwrap()]);
    let first = send().ok();
    fs::write(&room, "0").unwrap();
    let refused = until("the disk is full", || {
        let sent = send();
        (sent.code != Some(0)).then_some(sent)
    });
    let stderr = refused.fails(4);
    assert!(stderr.contains("the disk has no room for new work"), "{stderr}");
    let _agent = broker.agent(["--skill", "count", "--", "wc", "-c"]);
    broker.run(["task", "watch", &first]).ok();
    assert_eq!(broker.run(["task", "get", &first, "--json"]).json()["state"], "completed");
    fs::write(&room, ALL).unwrap();
    until("there is room again", || (send().code == Some(0)).then_some(()));
}
