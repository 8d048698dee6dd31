//! Options of agents, of watching them, and of what is sent; what is said to numbers out of range.

use crate::a2a_push::call;
use crate::harness::{Broker, Running, run, trunkline, until};
use serde_json::{Value, json};
use std::fs;

#[test]
fn an_agent_takes_work_only_while_its_own_check_passes() {
    let broker = Broker::start();
    let fit = broker.scratch().join("fit");
    let check = format!("test -e {}", fit.display());
    let options = ["--skill", "echo", "--health", &check, "--health-every", "2s", "--", "cat"];
    let mut agent = Running::start(broker.command(["agent"]).args(options));
    agent.says("the agent is not fit for work");
    let takes_nothing = || {
        let asked = broker.run(["request", "--skill", "echo", "--timeout", "300ms"]);
        (asked.code == Some(11)).then_some(())
    };
    until("it takes nothing", takes_nothing);
    fs::write(&fit, "").unwrap();
    broker.run(["send", "--skill", "echo", "--data", "x", "--wait"]).ok();
    fs::remove_file(&fit).unwrap();
    let line = agent.says("the agent is not fit for work");
    assert!(line.contains("exit status: 1"), "{line}");
    until("it takes nothing again", takes_nothing);
}

#[test]
fn health_is_checked_as_often_as_is_named_and_no_check_may_take_longer() {
    let broker = Broker::start();
    let directory = broker.scratch().join("place");
    fs::create_dir(&directory).unwrap();
    let place = directory.to_str().unwrap();
    // Where the agent's command runs too.
    let options = ["--directory", place, "--health", "echo >> looks; sleep 600"];
    let mut agent = broker.command(["agent", "--skill", "echo", "--health-every", "100ms"]);
    let mut agent = Running::start(agent.args(options).args(["--", "cat"]));
    let line = agent.says("the agent is not fit for work");
    assert!(line.contains("the check takes longer than 100ms"), "{line}");
    // With the default between them it would take minutes.
    until("it looks again and again", || {
        let looks = fs::read_to_string(directory.join("looks")).ok()?;
        (looks.lines().count() >= 20).then_some(())
    });
}

#[test]
fn only_a_payload_above_the_size_that_is_named_is_compressed() {
    let broker = Broker::configured("[broker]\nbreaker_failures = 0\n", []);
    let _fail = broker.agent(["--skill", "fail", "--", "false"]);
    let text = "x".repeat(3000);
    for (above, encoding) in [("2999", "zstd"), ("3000", "identity"), ("4KiB", "identity")] {
        let mut send = broker.command(["send", "--skill", "fail", "--wait", "--attempts", "1"]);
        send.args(["--compress", "zstd", "--compress-above", above, "--data", &text]);
        let sent = crate::harness::Finished::from(send.output().unwrap()).fails(10);
        assert!(!sent.contains("no smaller"), "{sent}");
        let letters = broker.run(["dead", "list", "--limit", "1", "--json"]).json();
        let found = letters[0]["payload"]["encoding"].as_str().unwrap_or("identity");
        assert_eq!(found, encoding, "above {above}");
    }
    let stderr = run(["send", "--skill", "x", "--compress-above", "1"]).fails(2);
    assert!(stderr.contains("--compress <ENCODING>"), "{stderr}");
}

#[test]
fn a_watcher_is_told_only_of_the_agents_that_it_names() {
    let broker = Broker::start();
    let wanted = ["--type", "biller", "--capability", "refunds", "--label", "tier=gold"];
    let watches: Vec<_> = wanted
        .chunks(2)
        .map(|filter| {
            let mut watch = broker.command(["agents", "watch", "--count", "1"]);
            let mut watch = Running::start(watch.args(filter));
            watch.says("watching the agents");
            watch
        })
        .collect();
    let others = ["--type", "clerk", "--capability", "quotes", "--label", "tier=tin"];
    let agent = |id: &str, card: &[&str]| {
        let mut agent = broker.command(["agent", "--id", id, "--skill", "echo"]);
        let mut agent = Running::start(agent.args(card).args(["--", "cat"]));
        agent.says("connected to");
        agent
    };
    let _other = agent("other", &others);
    let _wanted = agent("wanted", &wanted);
    for watch in watches {
        assert!(watch.finish().ok().starts_with("joined   wanted\t"));
    }
}

#[test]
fn a_number_out_of_range_brings_the_range() {
    let id = "0192f0c1-2d3e-7000-8000-00000000002a";
    for (command, range) in [
        (&["context", "talk", "--history", "-1"][..], "0..=4294967295"),
        (&["task", "get", id, "--history", "-1"], "0..=4294967295"),
        (&["task", "watch", id, "--after", "-1"], "from 0 to 18446744073709551615"),
        (&["task", "list", "--limit", "-1"], "1..=1000"),
        (&["agents", "list", "--limit", "-1"], "1..=4294967295"),
        (&["agents", "watch", "--count", "-1"], "from 1 to 18446744073709551615"),
        (&["dead", "list", "--limit", "-1"], "1..=4294967295"),
        (&["schedule", "list", "--limit", "-1"], "1..=4294967295"),
        (&["subscribe", "x", "--count", "-1"], "from 1 to 18446744073709551615"),
        (&["dead", "redrive", "--all", "--rate", "-1/s"], "1/s to 100000/s"),
        (&["dead", "redrive", "--all", "--rate", "100001/s"], "1/s to 100000/s"),
    ] {
        let finished = crate::harness::Finished::from(trunkline().args(command).output().unwrap());
        let stderr = finished.fails(2);
        assert!(stderr.contains(range), "{command:?}: {stderr}");
    }
    let every = ["agent", "--skill", "x", "--health", "true", "--health-every", "0s", "--", "cat"];
    assert!(run(every).fails(2).contains("the range begins at 1ms"));
}

#[test]
fn a_data_directory_that_is_not_there_is_named_with_what_helps() {
    for command in [&["verify", "/no/such"][..], &["backup", "/no/such", "--to", "/no/where"]] {
        let finished = crate::harness::Finished::from(trunkline().args(command).output().unwrap());
        let stderr = finished.fails(5);
        assert!(stderr.contains("error: there is no directory /no/such\nhint: "), "{stderr}");
    }
}

#[test]
fn without_a_file_the_environment_is_checked() {
    let check = |variables: &[(&str, &str)]| {
        let mut check = trunkline();
        check.args(["config", "check"]).envs(variables.iter().copied());
        crate::harness::Finished::from(check.output().unwrap())
    };
    assert_eq!(check(&[]).ok(), "the environment is right and has 0 settings");
    let lease = check(&[("TRUNKLINE_BROKER__LEASE", "1m")]);
    assert_eq!(lease.ok(), "the environment is right and has 1 setting");
    let stderr = check(&[("TRUNKLINE_BROKER__LEASE", "1ms")]).fails(2);
    assert!(stderr.contains("the range is 100ms to 1d"), "{stderr}");
    let stderr = check(&[("TRUNKLINE_SERVER__LISTEN", "0.0.0.0:7420")]).fails(2);
    assert!(stderr.contains("insecure"), "{stderr}");
}

#[test]
fn an_agent_says_what_its_replies_are_and_compresses_them() {
    let broker = Broker::start();
    let options = ["--skill", "echo", "--content-type", "application/x-ndjson"];
    let pack = ["--compress", "zstd", "--compress-above", "3000", "--", "cat"];
    let mut agent = Running::start(broker.command(["agent"]).args(options).args(pack));
    agent.says("connected to");
    for (length, encoding) in [(3000, "identity"), (3001, "zstd")] {
        let text = "x".repeat(length);
        broker.run(["send", "--skill", "echo", "--data", &text, "--wait"]).ok();
        let task = &broker.run(["task", "list", "--limit", "1", "--json"]).json()["tasks"][0];
        let result = &task["result"];
        assert_eq!(result["content_type"], "application/x-ndjson");
        assert_eq!(result["encoding"].as_str().unwrap_or("identity"), encoding, "{result}");
    }
    for command in [&["send", "--skill", "x"][..], &["agent", "--skill", "x"]] {
        let mut wrong = trunkline();
        wrong.args(command).args(["--content-type", "not a type", "--", "cat"]);
        let stderr = crate::harness::Finished::from(wrong.output().unwrap()).fails(2);
        assert!(stderr.contains("'not a type' is no media type such as application/json"));
    }
}

#[test]
fn an_agent_takes_only_the_events_that_its_filter_wants_and_its_share_of_a_group() {
    let broker = Broker::start();
    let log = broker.scratch().join("log");
    // A line in one write: two agents add to the file at the same time.
    let script = format!("line=$(cat); echo \"$line\" >> {}", log.display());
    let agents: Vec<_> = ["ann", "bob"]
        .map(|id| {
            let card = ["--id", id, "--filter", "payload.total > 100", "--group", "desk"];
            let topics = ["--on-topic", "orders.>", "--on-topic", "bills.>"];
            let mut agent = broker.command(["agent"]);
            agent.args(card).args(topics).args(["--", "sh", "-c", &script]);
            let mut agent = Running::start(&mut agent);
            agent.says("connected to");
            agent
        })
        .into();
    for (topic, total) in [("orders.new", 7), ("orders.new", 107), ("bills.new", 8)] {
        let data = format!("{{\"total\":{total}}}");
        let json = ["--content-type", "application/json", "--data", &data];
        let mut publish = broker.command(["publish", topic]);
        assert!(publish.args(json).output().unwrap().status.success());
    }
    let last = ["--content-type", "application/json", "--data", "{\"total\":1000}"];
    assert!(broker.command(["publish", "bills.new"]).args(last).output().unwrap().status.success());
    until("both events are handled", || {
        let lines = fs::read_to_string(&log).ok()?;
        (lines.contains("107") && lines.contains("1000")).then_some(())
    });
    for agent in agents {
        agent.terminate();
        agent.finish().ok();
    }
    let mut lines: Vec<_> = fs::read_to_string(&log).unwrap().lines().map(str::to_owned).collect();
    lines.sort_unstable();
    // Each once, although two would take it.
    assert_eq!(lines, ["{\"total\":1000}", "{\"total\":107}"]);
    let stderr = run(["agent", "--skill", "x", "--filter", "true", "--", "cat"]).fails(2);
    assert!(stderr.contains("--on-topic"), "{stderr}");
}

#[test]
fn a_card_tells_of_its_agent_what_the_command_line_says() {
    let broker = Broker::start();
    let card = ["--name", "Ann", "--code-version", "1.2", "--region", "north", "--id", "ann"];
    let mut agent = broker.command(["agent", "--skill", "echo", "--description", "echoes"]);
    let mut agent = Running::start(agent.args(card).args(["--", "cat"]));
    agent.says("connected to");
    let agents = broker.run(["agents", "list", "--json"]).json();
    let found = agents.to_string();
    for part in ["\"name\":\"Ann\"", "\"version\":\"1.2\"", "\"region\":\"north\"", "echoes"] {
        assert!(found.contains(part), "{part} is not in {found}");
    }
}

#[test]
fn what_a_command_writes_can_be_an_artifact() {
    let broker = Broker::start();
    let _agent = broker.agent(["--skill", "echo", "--artifact", "out", "--", "cat"]);
    let id = broker.run(["send", "--skill", "echo", "--data", "text"]).ok();
    let events = broker.run(["task", "watch", &id, "--json"]).ok();
    assert!(events.contains(r#""name":"out""#) && events.contains(r#""last":true"#), "{events}");
    let task = broker.run(["task", "get", &id, "--json"]).json();
    assert_eq!(task["result"]["text"].as_str().unwrap_or_default(), "", "{task}");
    // What is no task has no artifacts.
    let reply = broker.run(["request", "--skill", "echo", "--data", "asked"]).ok();
    assert_eq!(reply, "asked");
}

#[test]
fn what_a_command_writes_is_an_artifact_for_a_client_of_the_standard() {
    let broker = Broker::start();
    let _agent =
        broker.agent(["--id", "helper", "--skill", "echo", "--artifact", "out", "--", "cat"]);
    let parts = json!([{"text": "written"}]);
    let message = json!({"messageId": "m", "role": "ROLE_USER", "parts": parts});
    let body = json!({ "message": message }).to_string();
    let answer = call(&broker, "POST", "/message:send", "", &body);
    let task = serde_json::from_str::<Value>(&answer).unwrap()["task"].clone();
    assert_eq!(task["status"]["state"], "TASK_STATE_COMPLETED", "{task}");
    let artifact = &task["artifacts"][0];
    assert_eq!(artifact["artifactId"], "out", "{task}");
    assert_eq!(artifact["parts"][0]["text"], "written", "{task}");
    assert_eq!(task["status"].get("message"), None, "{task}");
}
