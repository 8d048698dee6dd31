//! `verify`, `backup` and `restore` on a real broker's data.

use crate::harness::{Broker, run};
use std::fs;
use std::path::Path;

/// Segments as small as they can be, so that there are several.
const SMALL: &str = "
[log]
segment_bytes = '64KiB'
max_body_bytes = '48KiB'
[limits]
payload_bytes = '8KiB'
headers = 4
header_bytes = 1024
destinations = 4
card_entries = 4
card_schema_bytes = '1KiB'
reason_bytes = '1KiB'
[broker]
logged_copies = 16
";

/// Tasks that nobody takes, each with a payload of 4,000 bytes.
fn send(broker: &Broker, count: usize) -> Vec<String> {
    let payload = "x".repeat(4000);
    (0..count).map(|_| broker.run(["send", "--skill", "s", "--data", &payload]).ok()).collect()
}

/// Stops a broker in order; its data stays as long as it does.
fn stop(broker: &mut Broker) {
    let process = broker.take();
    process.terminate();
    assert_eq!(process.finish().code, Some(0));
}

/// Damages the middle of what a segment holds.
fn damage(data: &Path, number: u64) {
    let file = data.join(format!("{number:020}.log"));
    let mut bytes = fs::read(&file).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[used / 2] ^= 1;
    fs::write(file, bytes).unwrap();
}

#[test]
fn verify_names_damage_repair_puts_it_aside_and_the_broker_goes_on() {
    let mut broker = Broker::configured(SMALL, []);
    let ids = send(&broker, 40);
    let data = broker.data();
    let data_text = data.to_str().unwrap();
    let busy = run(["verify", data_text]).fails(13);
    assert!(busy.contains("is locked by process"), "{busy}");
    stop(&mut broker);
    let whole = run(["verify", data_text, "--json"]).json();
    assert_eq!((&whole["sound"], &whole["closed"]), (&true.into(), &true.into()));
    assert!(whole["segments"].as_u64().unwrap() >= 3, "{whole}");

    damage(&data, 2);
    let found = run(["verify", data_text]);
    assert_eq!(found.code, Some(17), "{found:?}");
    assert!(found.stdout.contains("segment 2, offset "), "{found:?}");
    assert!(found.stdout.contains("are missing"), "{found:?}");
    assert!(found.stderr.contains("has 1 fault"), "{found:?}");
    assert!(found.stderr.contains("--repair"), "{found:?}");
    assert!(!data.join("quarantine").exists());

    let repaired = run(["verify", data_text, "--repair", "--json"]).json();
    let copy = repaired["damage"][0]["copy"].as_str().unwrap();
    assert!(fs::metadata(copy).unwrap().len() > 4000, "{repaired}");
    assert_eq!(run(["verify", data_text, "--json"]).json()["sound"], true);

    broker.restart();
    let lost = ids.iter().filter(|id| broker.run(["task", "get", id]).code == Some(5)).count();
    assert_eq!(lost, 1);
    assert_eq!(broker.figure("tasks_open"), 39);
}

#[test]
fn a_broker_that_starts_over_damage_says_what_is_missing_and_where_the_copy_is() {
    let mut broker = Broker::configured(SMALL, []);
    send(&broker, 40);
    let data = broker.data();
    broker.kill();
    damage(&data, 2);
    broker.restart();
    let mut process = broker.take();
    let line = process.says("the log is damaged");
    for part in ["segment=2", "offset=", "missing=", "quarantine/"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    process.kill();
    assert_eq!(run(["verify", data.to_str().unwrap()]).code, Some(0));
}

#[test]
fn a_backup_of_a_running_broker_is_restored_and_served() {
    let broker = Broker::configured(SMALL, []);
    let ids = send(&broker, 30);
    let (data, to) = (broker.data(), broker.scratch().join("backup"));
    let (data, to) = (data.to_str().unwrap(), to.to_str().unwrap());
    let first = run(["backup", data, "--to", to, "--json"]).json();
    assert_eq!(first["files"], first["written_files"]);
    let second = run(["backup", data, "--to", to, "--json"]).json();
    assert_eq!(second["files"], first["files"]);
    assert!(second["written_files"].as_u64().unwrap() <= 2, "{second}");

    let full = run(["restore", to, "--data", data]).fails(2);
    assert!(full.contains("is not empty") && full.contains("hint: restore to"), "{full}");
    let mut other = Broker::configured(SMALL, []);
    other.kill();
    let place = other.data();
    fs::remove_dir_all(&place).unwrap();
    run(["restore", to, "--data", place.to_str().unwrap()]).ok();
    assert_eq!(run(["verify", place.to_str().unwrap(), "--json"]).json()["sound"], true);
    other.restart();
    assert_eq!(other.figure("tasks_open"), 30);
    assert_eq!(other.run(["task", "get", &ids[7]]).code, Some(0));
}

#[test]
fn a_backup_that_rotted_is_refused_and_named() {
    let broker = Broker::start();
    send(&broker, 1);
    let (data, to) = (broker.data(), broker.scratch().join("backup"));
    run(["backup", data.to_str().unwrap(), "--to", to.to_str().unwrap()]).ok();
    let files = fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().path());
    let file = files.filter(|path| path.to_str().unwrap().contains("content-0")).min().unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[4200] ^= 8;
    fs::write(&file, bytes).unwrap();
    let place = broker.scratch().join("restored");
    let error = run(["restore", to.to_str().unwrap(), "--data", place.to_str().unwrap()]).fails(17);
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    assert!(error.contains("its checksum does not match"), "{error}");
    assert!(!place.exists());
    let nothing = run(["restore", data.to_str().unwrap(), "--data", place.to_str().unwrap()]);
    assert!(nothing.fails(17).contains("is no backup"));
}

#[test]
fn the_commands_on_data_help() {
    for command in ["verify", "backup", "restore"] {
        insta::assert_snapshot!(format!("help_{command}"), run([command, "--help"]).ok());
    }
}
