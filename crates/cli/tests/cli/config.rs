//! The configuration: file, environment, flags, and what is refused in each.

use crate::harness::{Broker, Finished, Running, run, trunkline, until};
use serde_json::Value;
use std::fs;

#[test]
fn later_sources_win_and_each_value_says_where_it_comes_from() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trunkline.toml");
    fs::write(
        &file,
        "[broker]\nlease = \"10s\"\nresume_grace = \"2s\"\n[limits]\npayload_bytes = \"64KiB\"\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    let shown = trunkline()
        .env("TRUNKLINE_BROKER__LEASE", "20s")
        .args(["config", "show", "--json", "--config", path])
        .output()
        .unwrap();
    let shown: Value = Finished::from(shown).json();
    assert_eq!(shown["broker.lease"]["value"], "20s");
    assert_eq!(shown["broker.lease"]["from"], "environment TRUNKLINE_BROKER__LEASE");
    assert_eq!(shown["broker.resume_grace"]["value"], "2s");
    assert_eq!(shown["broker.resume_grace"]["from"], path);
    assert_eq!(shown["limits.payload_bytes"]["value"], "64KiB");
    assert_eq!(shown["server.max_streams"]["from"], "default");
    assert!(run(["config", "check", path]).ok().contains("3 settings"));
}

#[test]
fn a_setting_is_in_force() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trunkline.toml");
    fs::write(&file, "[limits]\npayload_bytes = \"16B\"\n").unwrap();
    let broker = Broker::with(["--config", file.to_str().unwrap()]);
    let stderr = broker.run(["send", "--skill", "x", "--data", "more than sixteen bytes"]).fails(4);
    assert!(stderr.contains("the limit is 16"), "{stderr}");
}

#[test]
fn what_is_wrong_in_a_file_is_named_with_the_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trunkline.toml");
    let path = file.to_str().unwrap();
    let told: Vec<String> = [
        "[broker]\nleese = \"10s\"\n",
        "[brokr]\nlease = \"10s\"\n",
        "[server]\nlease = \"10s\"\n",
        "[broker]\nlease = \"100d\"\n",
        "[broker]\nlease = 30\n",
        "[broker]\nlosses = -1\n",
        "[server]\nlisten = \"localhost\"\n",
        "[log]\nsegment_bytes = \"1KiB\"\n",
        "[limits]\npayload_bytes = \"8MiB\"\n[server]\nmax_frame_bytes = \"1MiB\"\n",
        "[broker]\nlease = \"1ms\"\nleese = \"10s\"\nlosses = \"many\"\n[server]\nmax_streams = 0\n\
         [log]\nflush_within = \"soon\"\nsegment_bytes = -1\nfree_segments = true\n",
        "broker = 3\n",
        "[broker\n",
    ]
    .iter()
    .map(|text| {
        fs::write(&file, text).unwrap();
        let stderr = run(["config", "check", path]).fails(2);
        format!("{text}{}", stderr.replace(path, "FILE"))
    })
    .collect();
    insta::assert_snapshot!("config_mistakes", told.join("\n"));
}

#[test]
fn a_variable_that_sets_nothing_stops_the_broker_and_brings_the_nearest_name() {
    let directory = tempfile::tempdir().unwrap();
    for variable in ["TRUNKLINE_BROKER__LEESE", "TRUNKLINE_BROKER_LEASE", "TRUNKLINE_LEASE"] {
        let output = trunkline()
            .env(variable, "20s")
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(directory.path())
            .output()
            .unwrap();
        let stderr = Finished::from(output).fails(2);
        assert!(stderr.contains(variable), "{stderr}");
        assert!(stderr.contains("did you mean 'TRUNKLINE_BROKER__LEASE'?"), "{stderr}");
        let output = trunkline().env(variable, "20s").args(["config", "show"]).output().unwrap();
        Finished::from(output).fails(2);
    }
}

#[test]
fn a_misspelt_variable_is_refused_by_every_command() {
    for arguments in [&["stats"][..], &["send", "--skill=x"], &["completions", "bash"]] {
        let output = trunkline().env("TRUNKLINE_ULR", "x").args(arguments).output().unwrap();
        let stderr = Finished::from(output).fails(2);
        assert!(stderr.contains("TRUNKLINE_ULR sets nothing"), "{stderr}");
        assert!(stderr.contains("did you mean 'TRUNKLINE_URL'?"), "{stderr}");
    }
    // What is for others is not looked at.
    let output =
        trunkline().env("TRUNKLINE_BROKER__LEASE", "x").args(["completions", "bash"]).output();
    Finished::from(output.unwrap()).ok();
}

#[test]
fn a_circuit_breaker_opens_after_as_many_failures_as_are_set() {
    for (failures, opened) in [(0, 0), (2, 1)] {
        let settings = format!("[broker]\nbreaker_failures = {failures}\nbreaker_open = \"1h\"\n");
        let broker = Broker::configured(&settings, []);
        let _agent = broker.agent(["--id", "a", "--skill", "break", "--", "false"]);
        for _ in 0..2 {
            broker.run(["send", "--skill", "break", "--attempts", "1", "--wait"]).fails(10);
        }
        assert_eq!(broker.figure("breakers_opened"), opened);
        let breakers = broker.run(["agents", "get", "a", "--json"]).json();
        let open = breakers["breakers"].as_array().unwrap().iter();
        assert_eq!(open.filter(|it| it["state"] == "open").count() as u64, opened);
    }
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trunkline.toml");
    // An address that nobody can listen on, if it came through.
    fs::write(&file, "[server]\nlisten = \"192.0.2.1:1\"\n").unwrap();
    let port_file = directory.path().join("port");
    let mut command = trunkline();
    command
        .env("TRUNKLINE_SERVER__LISTEN", "192.0.2.2:1")
        .args(["serve", "--ephemeral", "--listen", "127.0.0.1:0", "--config"])
        .arg(&file)
        .arg("--port-file")
        .arg(&port_file);
    let _broker = Running::start(&mut command);
    let address = until("the address is written", || fs::read_to_string(&port_file).ok());
    assert!(address.starts_with("127.0.0.1:"), "{address}");
}

#[test]
fn a_check_knows_what_serving_would_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trunkline.toml");
    for (text, part) in [
        ("[broker]\nbackoff_base = \"1m\"\nbackoff_cap = \"1s\"\n", "backoff_base is 60s"),
        ("[log]\nmax_body_bytes = \"1MiB\"\n", "log.max_body_bytes is 1048576"),
        ("[server]\nlisten = \"0.0.0.0:0\"\n", "beyond loopback"),
    ] {
        fs::write(&file, text).unwrap();
        let path = file.to_str().unwrap();
        let stderr = run(["config", "check", path]).fails(2);
        assert!(stderr.contains(part), "{stderr}");
        let mut serve = trunkline();
        serve.args(["serve", "--ephemeral", "--config", path]);
        assert_ne!(Running::start(&mut serve).finish().code, Some(0), "{text}");
    }
}

/// Sends a payload of 32 bytes.
fn send(broker: &Broker) -> Finished {
    broker.run(["send", "--skill", "nobody", "--data", "0123456789abcdef0123456789abcdef"])
}

#[test]
fn a_reload_changes_what_can_change_and_names_what_needs_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trunkline.toml");
    fs::write(&file, "").unwrap();
    let mut broker = Broker::with(["--config", file.to_str().unwrap()]);
    send(&broker).ok();
    let mut process = broker.take();

    fs::write(&file, "[limits]\npayload_bytes = \"16B\"\n[log]\nfree_segments = 5\n").unwrap();
    process.signal("HUP");
    let told = process.says("limits.payload_bytes");
    assert!(told.contains("reloaded: limits.payload_bytes from 1MiB to 16"), "{told}");
    let told = process.says("log.free_segments");
    assert!(told.contains("needs a restart: log.free_segments from 2 to 5"), "{told}");
    let stderr = send(&broker).fails(4);
    assert!(stderr.contains("the limit is 16"), "{stderr}");

    // A bad file changes nothing, not even what is right in it.
    fs::write(&file, "[limits]\npayload_bytes = \"64B\"\n[broker]\nleese = \"1s\"\n").unwrap();
    process.signal("HUP");
    process.says("unknown key 'broker.leese'");
    process.says("did you mean 'broker.lease'?");
    process.says("the configuration stays as it was");
    send(&broker).fails(4);

    fs::write(&file, "[limits]\npayload_bytes = \"64B\"\n").unwrap();
    process.signal("HUP");
    process.says("reloaded: limits.payload_bytes from 16 to 64");
    send(&broker).ok();
    process.signal("HUP");
    process.says("nothing has changed");
    process.terminate();
    process.finish().ok();
}

#[test]
fn the_settings_say_their_range_and_when_they_change() {
    let shown = run(["config", "show", "--json"]).json();
    assert_eq!(shown["broker.lease"]["reloads"], true);
    assert_eq!(shown["broker.lease"]["range"], "100ms to 1d");
    assert_eq!(shown["broker.lease"]["default"], "30s");
    for name in ["broker.key_window", "broker.data", "server.listen", "log.segment_bytes"] {
        assert_eq!(shown[name]["reloads"], false, "{name}");
    }
    let table = run(["config", "show"]).ok();
    let row = table.lines().find(|line| line.starts_with("broker.lease ")).unwrap();
    assert!(row.contains("30s") && row.contains("default") && row.contains("reload"), "{row}");
}
