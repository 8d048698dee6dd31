//! Options of commands that no other file has: each changes what happens.

use crate::harness::{Broker, Running, trunkline, until};
use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;
use trunkline_agent::Session;
use trunkline_client::{Client, ClientConfig};

#[test]
fn a_command_runs_in_the_directory_that_is_named() {
    let broker = Broker::start();
    let directory = broker.scratch().join("place");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("note"), "found").unwrap();
    let place = directory.to_str().unwrap();
    let _agent = broker.agent(["--skill", "read", "--directory", place, "--", "cat", "note"]);
    assert_eq!(broker.run(["send", "--skill", "read", "--wait"]).ok(), "found");
}

#[test]
fn a_reply_over_the_limit_that_is_named_fails_the_attempt() {
    let broker = Broker::start();
    let _agent = broker.agent(["--skill", "echo", "--reply-limit", "4B", "--", "cat"]);
    let send = |data: &str| {
        let send = ["send", "--skill", "echo", "--attempts", "1", "--wait", "--data", data];
        broker.run(send)
    };
    assert_eq!(send("four").ok(), "four");
    let stderr = send("fives").fails(10);
    assert!(stderr.contains('4'), "{stderr}");
}

#[test]
fn as_many_commands_run_at_once_as_are_allowed() {
    let broker = Broker::start();
    let place = broker.scratch().join("meet");
    fs::create_dir(&place).unwrap();
    // Each ends only when the other is there too.
    let script = "touch $TRUNKLINE_TASK_ID; until [ $(ls | wc -l) = 2 ]; do sleep 0.02; done";
    let mut agent = broker.command(["agent", "--skill", "meet", "--concurrency", "2"]);
    agent.arg("--directory").arg(&place).args(["--", "sh", "-c", script]);
    let mut agent = Running::start(&mut agent);
    agent.says("connected to");
    let both = [(); 2].map(|()| broker.spawn(["send", "--skill", "meet", "--wait"]));
    for sender in both {
        sender.finish().ok();
    }
}

#[test]
fn a_command_that_is_called_off_has_as_much_grace_as_is_named() {
    let broker = Broker::start();
    let (begun, done) = (broker.scratch().join("begun"), broker.scratch().join("done"));
    let script = format!(
        "trap 'sleep 600; touch {}; exit' TERM; echo $$ > {}; while :; do sleep 0.05; done",
        done.display(),
        begun.display()
    );
    let _agent = broker.agent(["--skill", "slow", "--grace", "0s", "--", "sh", "-c", &script]);
    let id = broker.run(["send", "--skill", "slow"]).ok();
    let child = until("the child runs", || {
        fs::read_to_string(&begun).ok().filter(|text| text.ends_with('\n'))
    });
    broker.run(["task", "cancel", &id]).ok();
    until("the child is gone", || {
        let alive = Command::new("kill").args(["-0", child.trim()]).output();
        (!alive.unwrap().status.success()).then_some(())
    });
    assert!(!done.exists(), "it had no time to end by itself");
}

#[test]
fn an_agent_waits_for_its_commands_no_longer_than_is_named() {
    let broker = Broker::start();
    let begun = broker.scratch().join("begun");
    let script = format!("touch {}; exec sleep 600", begun.display());
    let options = ["--skill", "slow", "--drain-timeout", "100ms", "--", "sh", "-c", &script];
    let mut agent = broker.agent(options);
    broker.run(["send", "--skill", "slow"]).ok();
    until("the child runs", || begun.exists().then_some(()));
    agent.terminate();
    agent.says("what it held goes back");
    agent.finish().ok();
}

#[test]
fn a_broker_waits_for_held_work_no_longer_than_is_named() {
    let mut broker =
        Broker::configured("[server]\ndrain_grace = \"1h\"\n", ["--drain-timeout", "100ms"]);
    let begun = broker.scratch().join("begun");
    let script = format!("touch {}; exec sleep 600", begun.display());
    let _agent = broker.agent(["--skill", "slow", "--", "sh", "-c", &script]);
    broker.run(["send", "--skill", "slow"]).ok();
    until("the child runs", || begun.exists().then_some(()));
    let process = broker.take();
    process.terminate();
    process.finish().ok();
}

#[test]
fn a_broker_listens_beyond_loopback_if_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let port_file = directory.path().join("port");
    let mut serve = trunkline();
    serve.args(["serve", "--ephemeral", "--listen", "0.0.0.0:0", "--insecure", "--port-file"]);
    let _broker = Running::start(serve.arg(&port_file));
    let address = until("the address is written", || fs::read_to_string(&port_file).ok());
    assert!(address.starts_with("0.0.0.0:"), "{address}");
}

#[test]
fn what_a_crash_may_take_is_said_with_the_message() {
    let mut broker = Broker::start();
    let [lost, kept] = ["ephemeral", "buffered"].map(|durability| {
        broker.run(["send", "--skill", "nobody", "--durability", durability]).ok()
    });
    broker.run(["message", "get", &lost]).ok();
    broker.kill();
    broker.restart();
    broker.run(["message", "get", &lost]).fails(5);
    let kept = broker.run(["message", "get", &kept, "--json"]).json();
    assert_eq!(kept["copies"][0]["state"], "parked");
}

#[test]
fn tasks_are_listed_by_agent_and_by_conversation() {
    let broker = Broker::start();
    let talk = broker.run(["send", "--skill", "nobody", "--context", "talk"]).ok();
    let direct = broker.run(["send", "--to", "agent:clerk", "--context", "other"]).ok();
    let listed = |option: &str, value: &str| {
        let page = broker.run(["task", "list", option, value, "--json"]).json();
        let tasks = page["tasks"].as_array().unwrap().iter();
        tasks.map(|task| task["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(listed("--context", "talk"), [talk]);
    assert_eq!(listed("--agent", "clerk"), [direct]);
}

#[test]
fn a_key_that_is_used_for_something_else_is_refused() {
    let broker = Broker::start();
    let send =
        |data: &str| broker.run(["send", "--skill", "x", "--key", "order-7", "--data", data]);
    let first = send("7").ok();
    assert_eq!(send("7").ok(), first);
    let stderr = send("8").fails(4);
    assert!(stderr.contains("order-7"), "{stderr}");
}

#[test]
fn a_client_tries_to_connect_for_no_longer_than_is_set() {
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let connect_timeout = Duration::from_millis(50);
    let client = Client::new(&ClientConfig { connect_timeout, ..ClientConfig::new(url) }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refusal = runtime.block_on(async {
        let opened = Session::open(std::sync::Arc::new(client));
        tokio::time::timeout(Duration::from_mins(1), opened).await.expect("it gives up")
    });
    assert_eq!(refusal.err().unwrap().code, trunkline_types::RefusalCode::Unavailable);
}

#[test]
fn a_session_is_carried_as_the_command_line_says() {
    for (transport, begins) in
        [("framed", b"\0trunk1\n"), ("auto", b"\0trunk1\n"), ("grpc", b"PRI * HT")]
    {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let word = std::thread::spawn(move || {
            let mut word = [0; 8];
            listener.accept().unwrap().0.read_exact(&mut word).unwrap();
            word
        });
        // Whoever takes the call hangs up, so that it fails.
        let arguments = ["publish", "a.b", "--data", "x", "--url", &url, "--transport", transport];
        crate::harness::run(arguments).fails(3);
        assert_eq!(&word.join().unwrap(), begins, "{transport}");
    }
    let stderr = crate::harness::run(["publish", "a.b", "--transport", "tcp"]).fails(2);
    assert!(stderr.contains("none of auto, framed, grpc"), "{stderr}");
}

#[test]
fn a_pattern_with_an_empty_token_is_refused_before_anything_is_asked() {
    for arguments in [["subscribe", "a..b"], ["publish", "a..b"], ["subscribe", ".>"]] {
        let stderr = crate::harness::run(arguments).fails(2);
        assert!(stderr.contains(arguments[1]) && stderr.contains("empty"), "{stderr}");
    }
}

#[test]
fn no_filter_is_empty_or_too_long() {
    let long = format!("topic == '{}'", "x".repeat(4096));
    for (filter, told) in [(" ", "leave it out"), (&long, "the limit is 4096")] {
        let stderr = crate::harness::run(["subscribe", "a", "--filter", filter]).fails(2);
        assert!(stderr.contains(told), "{stderr}");
    }
}

/// A broker with an agent whose every attempt fails, and no breaker between them.
fn failing(id: &str) -> (Broker, Running) {
    let broker = Broker::configured("[broker]\nbreaker_failures = 0\n", []);
    let agent = broker.agent(["--id", id, "--skill", "fail", "--", "false"]);
    (broker, agent)
}

#[test]
fn a_letter_that_is_sent_again_has_the_priority_that_is_named() {
    let (broker, _agent) = failing("a");
    let letters = ["slow", "fast"].map(|data| {
        let send = ["send", "--skill", "fail", "--attempts", "1", "--wait", "--data", data];
        broker.run(send).fails(10);
        let newest = broker.run(["dead", "list", "--limit", "1", "--json"]).json();
        newest[0]["id"].as_str().unwrap().to_owned()
    });
    for (letter, priority) in letters.iter().zip(["low", "urgent"]) {
        let mut redrive = broker.command(["dead", "redrive", letter, "--to", "skill:log"]);
        assert!(redrive.args(["--priority", priority]).output().unwrap().status.success());
    }
    let file = broker.scratch().join("log");
    let script = format!("cat >> {0}; echo >> {0}", file.display());
    let _log = broker.agent(["--id", "log", "--skill", "log", "--", "sh", "-c", &script]);
    let lines = until("both are handled", || {
        fs::read_to_string(&file).ok().filter(|text| text.matches('\n').count() == 2)
    });
    assert_eq!(lines, "fast\nslow\n");
}

#[test]
fn of_letters_with_one_id_the_inbox_says_which() {
    let (broker, _a) = failing("a");
    let _b = broker.agent(["--id", "b", "--skill", "fail", "--", "false"]);
    let id = broker.run(["send", "--to", "agents:a,b", "--attempts", "1"]).ok();
    until("both copies died", || (broker.figure("dead_letters") == 2).then_some(()));
    let several = broker.run(["dead", "purge", &id, "--yes"]).fails(4);
    assert!(several.contains("agent:a, agent:b"), "{several}");
    let shown = broker.run(["dead", "show", &id, "--inbox", "agent:b", "--json"]).json();
    assert_eq!(shown["inbox"], "agent:b");
    broker.run(["dead", "purge", &id, "--inbox", "agent:b", "--yes"]).ok();
    let left = broker.run(["dead", "list", "--json"]).json();
    assert_eq!((left.as_array().unwrap().len(), &left[0]["inbox"]), (1, &"agent:a".into()));
}
