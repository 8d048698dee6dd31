//! The torture, small: that it does what it is asked to, and says so.

use crate::harness::{Finished, run, trunkline};
use std::fs;

#[test]
fn the_torture_lets_go_wrong_what_is_asked_for_and_says_what_held_under_it() {
    let arguments = ["torture", "--kills", "1", "--faults", "kill,cut", "--seed", "3", "--json"];
    let report = run(arguments).json();
    assert_eq!(report["passed"], true, "{report}");
    let struck: Vec<&String> = report["faults"].as_object().unwrap().keys().collect();
    assert_eq!(struck, ["cut", "kill"]);
    for promise in report["promises"].as_array().unwrap() {
        let under: Vec<&String> = promise["under"].as_object().unwrap().keys().collect();
        assert_eq!(under, ["cut", "kill"]);
        assert_eq!(promise["broken"], 0, "{promise}");
    }
    let back = &report["promises"].as_array().unwrap()[13];
    assert_eq!(back["promise"], "broker and sessions come back");
    for fault in ["cut", "kill"] {
        assert_eq!(back["under"][fault]["outcome"], "held", "{back}");
    }
    assert_eq!(report["control"]["caught"], true);
    // The first round has small bounds, and a network of its own where that is permitted.
    assert_eq!(report["counts"]["rounds_small"], 1);
    let own = u64::from(report["network"]["used"] == "namespace");
    assert_eq!(report["counts"]["rounds_apart"], own, "{}", report["network"]);
    assert_eq!(report["command"], "trunkline torture --seed 3 --kills 1 --faults kill,cut");
}

#[test]
fn without_what_makes_a_network_the_proxy_parts_it_and_the_torture_says_why() {
    // A path with what the load needs, and nothing of iproute2.
    let tools = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for tool in ["sh", "tr"] {
        let mut found = std::env::split_paths(&path).map(|folder| folder.join(tool));
        let found = found.find(|file| file.exists()).unwrap();
        std::os::unix::fs::symlink(found, tools.path().join(tool)).unwrap();
    }
    let arguments = ["torture", "--kills", "1", "--faults", "kill,partition", "--json"];
    let finished = trunkline().args(arguments).env("PATH", tools.path()).output().unwrap();
    let report = Finished::from(finished).json();
    assert_eq!(report["passed"], true, "{report}");
    assert_eq!(report["faults"]["partition"], 1);
    assert_eq!(report["network"]["used"], "proxy");
    let why = report["network"]["why"].as_str().unwrap();
    assert!(why.contains("'ip' of iproute2 does not run"), "{why}");
    assert_eq!(report["counts"]["rounds_apart"], 0);
}

#[test]
fn the_brokers_of_a_torture_have_the_settings_that_they_are_given() {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("trunkline.toml");
    fs::write(&file, "[broker]\nno_such_setting = 1\n").unwrap();
    let (data, config) = (scratch.path().join("data"), file.to_str().unwrap());
    let arguments = ["torture", "--kills", "1", "--config", config, "--data"];
    let finished = trunkline().args(arguments).arg(&data).output().unwrap();
    assert_eq!(finished.status.code(), Some(1));
    let stderr = String::from_utf8(finished.stderr).unwrap();
    assert!(stderr.contains("no_such_setting"), "{stderr}");
    // What there is to look at is kept where it was wanted.
    assert!(data.exists());
}
