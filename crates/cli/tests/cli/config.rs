//! The configuration: file, environment, flags, and what is refused in each.

use crate::harness::{Broker, Finished, run, trunkline};
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
fn a_misspelt_variable_stops_the_broker_from_starting() {
    let directory = tempfile::tempdir().unwrap();
    let output = trunkline()
        .env("TRUNKLINE_BROKER__LEESE", "20s")
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(directory.path())
        .output()
        .unwrap();
    let stderr = Finished::from(output).fails(2);
    assert!(stderr.contains("did you mean 'broker.lease'?"), "{stderr}");
}
