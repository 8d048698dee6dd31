//! A broker takes as many open files as the system allows it.

use crate::harness::{Running, until};
use std::fs;
use std::process::Command;

/// The soft limit on open files of a process.
fn limit(id: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).ok()?;
    let row = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    row.split_whitespace().next()?.parse().ok()
}

#[cfg(target_os = "linux")]
#[test]
fn a_broker_raises_its_limit_on_open_files() {
    let directory = tempfile::tempdir().unwrap();
    let port_file = directory.path().join("port");
    let mut shell = Command::new("sh");
    // The hard limit is lowered too: only by it can be told which one is in force.
    shell.args(["-c", "ulimit -Sn 600; ulimit -Hn 700; exec \"$0\" \"$@\""]);
    shell.arg(env!("CARGO_BIN_EXE_trunkline"));
    shell.args(["-v", "serve", "--ephemeral", "--listen", "127.0.0.1:0", "--port-file"]);
    let broker = Running::start(shell.arg(&port_file));
    until("the port is written", || fs::read_to_string(&port_file).ok());
    assert_eq!(limit(broker.id()), Some(700));
    broker.terminate();
    let told = broker.finish();
    assert!(told.stderr.contains("fewer open files"), "{told:?}");
    told.ok();
}
