//! How brokers and agents begin and end.

use crate::harness::{Broker, Finished, Running, trunkline, until};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

#[test]
fn a_broker_says_where_it_is_and_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let mut child = trunkline()
        .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(said["pid"], child.id());
    assert_eq!(said["data"], data.to_str().unwrap());
    assert!(said["listen"].as_str().unwrap().starts_with("127.0.0.1:"));
    let url = said["url"].as_str().unwrap();
    let stats = trunkline().args(["stats", "--url", url]).output().unwrap();
    assert!(stats.status.success(), "it is ready when it says so");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn probes_answer_and_a_signal_drains() {
    let mut broker = Broker::start();
    assert_eq!(broker.get("/healthz"), Some(200));
    assert_eq!(broker.get("/metrics"), Some(200));
    let process = broker.take();
    process.terminate();
    let finished = process.finish();
    assert!(finished.stderr.contains("draining"), "{finished:?}");
    assert!(finished.stdout.contains(broker.address()), "{finished:?}");
    finished.ok();
}

/// The disk refuses every write from one moment on, as the system does for a process over its
/// limit on the size of files.
#[cfg(target_os = "linux")]
#[test]
fn a_broker_whose_log_fails_ends_with_its_own_code_and_accepts_nothing_more() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let directory = tempfile::tempdir().unwrap();
    let port_file = directory.path().join("port");
    let data = directory.path().join("data");
    // Writing over the limit is an error only for who ignores the signal.
    let mut command = shell_without_signal_of_file_size();
    command.arg("serve").args(["--listen", "127.0.0.1:0", "--json", "--data"]).arg(&data);
    // With segments in reserve it would refuse new work long before a write fails.
    command.env("TRUNKLINE_LOG__RESERVE_SEGMENTS", "0");
    let broker = Running::start(command.arg("--port-file").arg(&port_file));
    let address = until("the address is written", || fs::read_to_string(&port_file).ok());
    let url = format!("http://{}", address.trim());
    let send = || {
        let mut command = trunkline();
        command.args(["send", "--url", &url, "--skill", "nobody", "--data", "x"]);
        Finished::from(command.output().unwrap())
    };
    until("it takes work", || (send().code == Some(0)).then_some(()));
    // Not before the next segment is there: without one the broker would refuse instead of fail.
    let spare = data.join("00000000000000000002.log");
    until("the spare segment is made", || spare.exists().then_some(()));

    let limit = Rlimit { current: Some(512), maximum: Some(512) };
    let pid = Pid::from_raw(i32::try_from(broker.id()).unwrap());
    prlimit(pid, Resource::Fsize, limit).unwrap();
    let refused = trunkline()
        .args(["send", "--url", &url, "--skill", "nobody", "--data", "y", "--wait"])
        .args(["--timeout", "1s"])
        .output()
        .unwrap();
    assert_ne!(refused.status.code(), Some(0), "{refused:?}");
    let stderr = broker.finish().fails(14);
    assert!(stderr.contains(data.to_str().unwrap()) && stderr.contains("failed"), "{stderr}");
}

/// The command in a shell that first ignores the signal for files over their limit.
#[cfg(target_os = "linux")]
fn shell_without_signal_of_file_size() -> std::process::Command {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_trunkline")]);
    shell
}

#[test]
fn an_agent_that_is_told_to_end_finishes_what_it_holds() {
    let broker = Broker::start();
    let (begun, go) = (broker.scratch().join("begun"), broker.scratch().join("go"));
    let script = format!(
        "touch {}; while ! [ -e {} ]; do sleep 0.05; done; echo finished",
        begun.display(),
        go.display()
    );
    let mut agent = broker.agent(["--skill", "slow", "--", "sh", "-c", &script]);
    let sender = broker.spawn(["send", "--skill", "slow", "--wait"]);
    until("the child runs", || begun.exists().then_some(()));
    agent.terminate();
    agent.says("finishes what it holds");
    fs::write(&go, "").unwrap();
    assert_eq!(sender.finish().ok(), "finished");
    agent.finish().ok();
}

#[test]
fn an_agent_with_a_generated_id_is_forgotten_when_it_ends_in_order() {
    let broker = Broker::start();
    let listed = || broker.run(["agents", "list", "--json"]).json();
    let named = broker.agent(["--id", "ann", "--skill", "echo", "--", "cat"]);
    let passing = broker.agent(["--skill", "echo", "--", "cat"]);
    let drained = broker.agent(["--skill", "drained", "--", "cat"]);
    assert_eq!(listed().as_array().unwrap().len(), 3);
    for agent in [named, passing] {
        agent.terminate();
        agent.finish().ok();
    }
    let of = broker.run(["agents", "list", "--skill", "drained", "--json"]).json();
    broker.run(["agents", "set", of[0]["id"].as_str().unwrap(), "--drain"]).ok();
    drained.finish().ok();
    let left = listed();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["id"]), (1, &"ann".into()));
}

#[test]
fn a_second_signal_ends_an_agent_at_once() {
    let broker = Broker::start();
    let begun = broker.scratch().join("begun");
    let script = format!("touch {}; exec sleep 600", begun.display());
    let mut agent = broker.agent(["--skill", "slow", "--", "sh", "-c", &script]);
    broker.run(["send", "--skill", "slow"]).ok();
    until("the child runs", || begun.exists().then_some(()));
    agent.terminate();
    agent.says("finishes what it holds");
    agent.terminate();
    agent.finish().fails(130);
}

#[test]
fn an_agent_id_that_belongs_to_somebody_else_is_refused() {
    let broker = Broker::start();
    let _mine = broker.agent(["--id", "mine", "--", "cat"]);
    let theirs = Running::start(
        broker.command(["agent", "--principal", "somebody", "--id", "mine", "--", "cat"]).arg("-u"),
    );
    let stderr = theirs.finish().fails(4);
    assert!(stderr.contains("'mine'"), "{stderr}");
}
