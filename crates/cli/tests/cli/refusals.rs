//! What cannot be: each refusal names the thing, its value and the remedy. Snapshots hold the
//! texts.

use crate::harness::{Broker, Finished, Running, run, trunkline};
use std::fs;
use std::net::TcpListener;
use std::path::Path;

/// A text without what differs from run to run.
fn stable(text: &str, changing: &[(&str, &str)]) -> String {
    changing.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn serve(data: &Path, arguments: &[&str]) -> Finished {
    let mut command = trunkline();
    command.args(["serve", "--data"]).arg(data).args(arguments);
    Running::start(&mut command).finish()
}

#[test]
fn no_broker_answers() {
    // Bound and released, so that nobody listens there now.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let url = format!("http://{address}");
    for command in [
        ["stats", "--url", &url, "--no-color"],
        ["send", "--url", &url, "--skill=x"],
        ["agent", "--url", &url, "--skill=x"],
    ] {
        let mut process = trunkline();
        process.args(command);
        if command[0] == "agent" {
            process.args(["--", "cat"]);
        }
        let finished = Finished::from(process.output().unwrap());
        let system = [("(os error 111)", "(os error N)"), ("(os error 61)", "(os error N)")];
        let stderr = stable(&stable(&finished.fails(3), &[(&address, "ADDRESS")]), &system);
        insta::assert_snapshot!("no_broker", stderr);
    }
}

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let stderr = serve(directory.path(), &["--listen", &address]).fails(13);
    insta::assert_snapshot!("port_taken", stable(&stderr, &[(&address, "ADDRESS")]));
}

#[test]
fn beyond_loopback_without_permission() {
    let directory = tempfile::tempdir().unwrap();
    let stderr = serve(directory.path(), &["--listen", "0.0.0.0:0"]).fails(13);
    insta::assert_snapshot!("beyond_loopback", stderr);
}

#[test]
fn a_data_directory_in_use() {
    let mut broker = Broker::start();
    let data = broker.data();
    let stderr = serve(&data, &["--listen", "127.0.0.1:0"]).fails(13);
    let lock = fs::read_to_string(data.join("LOCK")).unwrap();
    let changing = [(data.to_str().unwrap(), "DATA"), (lock.trim(), "PID")];
    insta::assert_snapshot!("data_locked", stable(&stderr, &changing));
    broker.kill();
}

#[test]
fn a_data_directory_of_a_newer_version() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("FORMAT"), "trunkline-log 99\n").unwrap();
    let stderr = serve(directory.path(), &["--listen", "127.0.0.1:0"]).fails(13);
    let changing = [(directory.path().to_str().unwrap(), "DATA")];
    insta::assert_snapshot!("newer_format", stable(&stderr, &changing));
}

#[test]
fn a_payload_over_its_limit_is_refused_and_the_broker_lives_on() {
    let broker = Broker::start();
    let file = broker.scratch().join("large");
    fs::write(&file, vec![b'x'; (1 << 20) + 1]).unwrap();
    let stderr = broker.run(["send", "--skill", "x", "--file", file.to_str().unwrap()]).fails(4);
    insta::assert_snapshot!("payload_too_large", stderr);
    broker.run(["send", "--skill", "x", "--data", "small"]).ok();
}

#[test]
fn mistakes_on_the_command_line() {
    let mistakes: &[&[&str]] = &[
        &["send", "--to", "planet:mars"],
        &["send", "--skill", "two words"],
        &["send", "--data", "x"],
        &["send", "--skill=x", "--ttl=soon"],
        &["send", "--topic=a.b", "--wait"],
        &["request", "--to", "topic:a.b"],
        &["subscribe", "a.>.b", "--json"],
        &["task", "get", "17"],
        &["agent", "--skill", "x"],
        &["serve", "--data=x", "--ephemeral"],
        &["stats", "--url", "nowhere"],
        &["send", "--skill=x", "--file=/nonexistent"],
        &["config", "show", "--url=http://127.0.0.1:1"],
        &["serve", "--principal=me"],
        &["send", "--skill=x", "--not-before=tomorrow"],
        &["send", "--skill=x", "--absent=wait"],
        &["send", "--skill=x", "--compress=zip"],
        &["request", "--skill=x", "--reply-bytes=1KiB"],
        &["request", "--to=all", "--gather=quorum:0"],
        &["agents", "set", "a"],
        &["agents", "set", "a", "--weight=1001"],
        &["inbox", "set", "skill:x"],
        &["inbox", "set", "skill:x", "--bind=urgent"],
        &["inbox", "set", "skill:x", "--when-full=block"],
        &["request", "--to=all", "--gather=quorum:many"],
        &["send", "--to=agents:a,b", "--wait"],
        &["send", "--skill=x", "--delay", "-5s"],
        &["agents", "set", "a", "--weight", "-5"],
        &["dead", "purge"],
        &["dead", "redrive", "--rate=1/s"],
        &["dead", "redrive", "--all", "--rate=1/h"],
        &["dead", "purge", "--all"],
        &["bench", "serializers", "/nonexistent"],
    ];
    let told: Vec<String> = mistakes
        .iter()
        .map(|arguments| {
            let stderr =
                trunkline().args(*arguments).output().map(Finished::from).unwrap().fails(2);
            format!("$ trunkline {}\n{stderr}", arguments.join(" "))
        })
        .collect();
    insta::assert_snapshot!("command_line_mistakes", told.join("\n"));
    run(["nonsense"]).fails(2);
}

#[test]
fn a_long_value_is_not_repeated_in_full() {
    let long = "x".repeat(10_000);
    for arguments in [
        ["send", "--skill", &long],
        ["send", "--skill=a", &format!("--ttl={long}")],
        ["send", "--skill=a", &format!("--not-before={long}")],
        ["send", "--to", &format!("agents:a,{long}")],
        ["task", "get", &long],
    ] {
        let stderr = run(arguments).fails(2);
        assert!(stderr.contains('…') && stderr.len() < 1_000, "{stderr}");
    }
}

#[test]
fn with_json_an_error_is_json_too() {
    let error = |finished: Finished, code| -> serde_json::Value {
        let error: serde_json::Value = serde_json::from_str(&finished.fails(code)).unwrap();
        assert_eq!(error["code"], code);
        error
    };
    let usage = error(run(["send", "--skill", "two words", "--json"]), 2);
    assert!(usage["error"].as_str().unwrap().contains("has the character ' '"), "{usage}");
    assert_eq!(usage["hint"], "try '--help'");
    let broker = Broker::start();
    let unknown = "0192f0c1-2d3e-7000-8000-00000000002a";
    let gone = error(broker.run(["dead", "show", unknown, "--json"]), 5);
    assert_eq!(gone["error"], format!("there is no dead letter {unknown}"));
    assert!(gone["hint"].as_str().unwrap().contains("dead list"), "{gone}");
}
