//! Servers of A2A elsewhere as agents: the commands, and what kills do to a task that is there.

use super::harness::{Broker, Running, run, until};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

/// A broker whose agent notes each run, and ends a run when it is let.
struct There {
    broker: Broker,
    _agent: Running,
    runs: PathBuf,
    gate: PathBuf,
}

impl There {
    fn start() -> Self {
        let broker = Broker::start();
        let (runs, gate) = (broker.scratch().join("runs"), broker.scratch().join("gate"));
        assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
        let script = format!("echo begun >> '{}'; cat '{}'", runs.display(), gate.display());
        let agent = broker.agent(["--id", "digger", "--skill", "dig", "--", "sh", "-c", &script]);
        Self { broker, _agent: agent, runs, gate }
    }

    fn url(&self) -> String {
        format!("http://{}/agents/digger", self.broker.address())
    }

    fn runs(&self) -> usize {
        fs::read_to_string(&self.runs).unwrap_or_default().lines().count()
    }

    /// Lets the run end with this reply.
    fn open(&self, reply: &str) {
        fs::write(&self.gate, reply).unwrap();
    }
}

fn add(near: &Broker, url: &str) {
    let added = near.run(["agents", "add", "--a2a", url, "--id", "far", "--allow-private"]).ok();
    assert!(added.starts_with("added far: JSONRPC 1.0 at "), "{added}");
}

fn task(near: &Broker, id: &str) -> Value {
    near.run(["task", "get", id, "--json"]).json()
}

fn presence(near: &Broker) -> String {
    near.run(["agents", "get", "far", "--json"]).json()["presence"].as_str().unwrap().to_owned()
}

/// Begins a task and waits until the broker has noted who does it.
fn begun(near: &Broker, there: &There) -> String {
    let id = near.run(["send", "--to", "agent:far", "--data", "x"]).ok();
    until("it is begun there", || (there.runs() == 1).then_some(()));
    // It was submitted and begun, noted before it was sent, and after it was taken.
    until("it is noted here", || (task(near, &id)["last_event"].as_u64()? >= 4).then_some(()));
    id
}

fn done(near: &Broker, there: &There, id: &str) {
    there.open("treasure");
    let task = until("it is done", || {
        let task = task(near, id);
        let state = task["state"].as_str().unwrap();
        assert!(["working", "submitted", "completed"].contains(&state), "{task}");
        (state == "completed").then_some(task)
    });
    assert_eq!(task["result"]["text"], "treasure", "{task}");
    assert_eq!(there.runs(), 1);
    assert_eq!(near.figure("tasks_completed"), 1);
}

#[test]
fn a_task_elsewhere_completes_once_although_the_broker_was_killed_meanwhile() {
    // What a killed broker held comes back when its lease has run out.
    let (there, mut near) = (There::start(), Broker::configured("[broker]\nlease = \"2s\"\n", []));
    add(&near, &there.url());
    let id = begun(&near, &there);
    near.kill();
    near.restart();
    done(&near, &there, &id);
    assert_eq!(there.broker.figure("tasks_completed"), 1);
}

#[test]
fn a_task_elsewhere_goes_on_after_the_server_there_was_killed() {
    let (mut there, near) = (There::start(), Broker::start());
    add(&near, &there.url());
    let id = begun(&near, &there);
    there.broker.kill();
    until("it is away", || (presence(&near) == "offline").then_some(()));
    let listed = near.run(["agents", "list", "--a2a"]).ok();
    assert!(listed.contains("cannot be read"), "{listed}");
    there.broker.restart();
    until("it is back", || (presence(&near) != "offline").then_some(()));
    done(&near, &there, &id);
}

/// A server that takes one message and does not answer, and completes those after it at once.
#[derive(Clone)]
struct Silent {
    url: String,
    /// Whether it asks back first, and is silent at what it is told then.
    asks: bool,
    /// The ids of the messages that it was sent.
    sent: Arc<Mutex<Vec<String>>>,
}

impl Silent {
    fn start(asks: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let sent = Arc::new(Mutex::new(Vec::new()));
        let interface = json!({"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"});
        let card = json!({
            "name": "Silent", "description": "Says nothing.", "version": "1",
            "supportedInterfaces": [interface], "capabilities": {},
            "defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"],
            "skills": [{"id": "dig", "name": "Dig", "description": "Digs.", "tags": ["dig"]}],
        });
        let silent = Self { url, asks, sent };
        let server = silent.clone();
        // They end with the process of the test.
        thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (card, server) = (card.clone(), server.clone());
                thread::spawn(move || server.serve(&connection, &card));
            }
        });
        silent
    }

    /// Its task as it is answered with, in this state.
    fn shown(state: &str) -> Value {
        let text = json!({"messageId": "r", "role": "ROLE_AGENT", "parts": [{"text": "treasure"}]});
        let status = json!({"state": format!("TASK_STATE_{state}"), "message": text});
        json!({"id": "t", "contextId": "c", "status": status})
    }

    fn serve(&self, connection: &TcpStream, card: &Value) -> io::Result<()> {
        let mut reader = BufReader::new(connection);
        loop {
            let (mut line, mut length) = (String::new(), 0);
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            while line.trim_end() != "" {
                if let Some(said) = line.to_lowercase().strip_prefix("content-length:") {
                    length = said.trim().parse().unwrap();
                }
                line.clear();
                reader.read_line(&mut line)?;
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let call: Value = serde_json::from_slice(&body).unwrap_or_default();
            let result = |result: Value| json!({"jsonrpc": "2.0", "id": 1, "result": result});
            let answer = match call["method"].as_str() {
                None => card.clone(),
                Some("SendMessage") => {
                    let id = call["params"]["message"]["messageId"].as_str().unwrap().to_owned();
                    let before = {
                        let mut sent = self.sent.lock().unwrap();
                        sent.push(id);
                        sent.len() - 1
                    };
                    if before == usize::from(self.asks) {
                        // Until the one who asks is gone.
                        reader.read_exact(&mut [0])?;
                    }
                    let state =
                        if self.asks && before == 0 { "INPUT_REQUIRED" } else { "COMPLETED" };
                    result(json!({"task": Self::shown(state)}))
                }
                // It has got what it was silent at.
                Some("GetTask") if self.sent().len() > 1 => result(Self::shown("COMPLETED")),
                Some(_) => {
                    let error = json!({"code": -32001, "message": "unknown"});
                    json!({"jsonrpc": "2.0", "id": 1, "error": error})
                }
            };
            let answer = answer.to_string();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length:";
            write!(&mut &*connection, "{head} {}\r\n\r\n{answer}", answer.len())?;
        }
    }

    fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }
}

/// What becomes of a task whose message was on its way to a server when the broker was killed.
fn killed_in_doubt(there: &Silent, more: &[&str]) -> Value {
    let mut near = Broker::configured("[broker]\nlease = \"2s\"\n", []);
    let mut add = vec!["agents", "add", "--a2a", &there.url, "--id", "far", "--allow-private"];
    add.extend(more);
    let added = near.command([]).args(add).output().unwrap();
    assert!(added.status.success(), "{added:?}");
    let id = near.run(["send", "--to", "agent:far", "--data", "x"]).ok();
    if there.asks {
        until("it asks", || (task(&near, &id)["state"] == "input-required").then_some(()));
        near.run(["task", "continue", &id, "--data", "this"]).ok();
    }
    let silent_at = 1 + usize::from(there.asks);
    until("it is sent", || (there.sent().len() == silent_at).then_some(()));
    near.kill();
    near.restart();
    until("it has ended", || {
        let task = task(&near, &id);
        ["failed", "completed"].contains(&task["state"].as_str().unwrap()).then_some(task)
    })
}

#[test]
fn a_message_that_was_on_its_way_when_the_broker_was_killed_is_not_sent_again() {
    let there = Silent::start(false);
    let ended = killed_in_doubt(&there, &[]);
    assert_eq!(ended["state"], "failed", "{ended}");
    let why = ended["reason"].as_str().unwrap();
    assert!(why.contains("not known whether the message reached the agent elsewhere"), "{why}");
    assert_eq!(there.sent().len(), 1);
}

#[test]
fn a_message_that_was_on_its_way_when_the_broker_was_killed_is_sent_again_to_an_idempotent_agent() {
    let there = Silent::start(false);
    let ended = killed_in_doubt(&there, &["--idempotent"]);
    assert_eq!(ended["state"], "completed", "{ended}");
    assert_eq!(ended["result"]["text"], "treasure", "{ended}");
    let sent = there.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0], sent[1], "a server that knows it can tell the repeat");
}

#[test]
fn an_answer_that_was_on_its_way_when_the_broker_was_killed_is_looked_for_and_not_sent_again() {
    let there = Silent::start(true);
    let ended = killed_in_doubt(&there, &[]);
    assert_eq!(ended["state"], "completed", "{ended}");
    assert_eq!(ended["result"]["text"], "treasure", "{ended}");
    assert_eq!(there.sent().len(), 2);
}

#[test]
fn a_server_elsewhere_is_added_listed_and_removed_without_showing_its_secrets() {
    let (there, near) = (There::start(), Broker::start());
    let url = there.url();
    let added = near.run([
        "agents",
        "add",
        "--a2a",
        &url,
        "--allow-private",
        "--idempotent",
        "--bearer",
        "s3cret",
        "--header",
        "x-key=k3y",
        "--refresh",
        "5s",
        "--answer-within",
        "7s",
        "--json",
    ]);
    let added = added.json();
    assert_eq!((&added["id"], &added["skills"][0]), (&"digger".into(), &"dig".into()));
    assert_eq!((&added["refresh_ms"], &added["answer_within_ms"]), (&5_000.into(), &7_000.into()));
    assert_eq!((&added["idempotent"], &added["allow_private"]), (&true.into(), &true.into()));
    let listed = near.run(["agents", "list", "--a2a"]).ok();
    assert!(listed.contains(&url) && listed.contains("takes work"), "{listed}");
    let json = near.run(["agents", "list", "--a2a", "--json"]).ok();
    let shown = near.run(["agents", "get", "digger", "--json"]).ok();
    let tasks = near.run(["task", "list", "--agent", "a2a-proxy", "--json"]).json();
    let order = tasks["tasks"][0]["id"].as_str().unwrap();
    let told = near.run(["task", "get", order, "--history", "9"]).ok();
    let told_json = near.run(["task", "get", order, "--history", "9", "--json"]).ok();
    // The names are there, and dots for the values.
    assert!(told_json.contains("authorization") && told_json.contains('…'), "{told_json}");
    for shown in [&added.to_string(), &listed, &json, &shown, &tasks.to_string(), &told, &told_json]
    {
        assert!(!shown.contains("s3cret") && !shown.contains("k3y"), "{shown}");
    }
    assert_eq!(near.run(["agents", "remove", "digger"]).ok(), "removed digger");
    let gone = near.run(["agents", "remove", "digger"]).fails(5);
    assert!(gone.contains("there is no agent 'digger' elsewhere"), "{gone}");
    let none = near.run(["agents", "list", "--a2a"]);
    assert!(none.stderr.contains("trunkline agents add"), "{none:?}");
    assert_eq!(near.run(["agents", "list", "--json"]).json().as_array().unwrap().len(), 1);
}

#[test]
fn what_a_server_elsewhere_is_called_with_can_be_read_from_files() {
    let (there, near) = (There::start(), Broker::start());
    let url = there.url();
    let (token, key) = (near.scratch().join("token"), near.scratch().join("key"));
    fs::write(&token, "s3cret\n").unwrap();
    fs::write(&key, "k3y\r\n").unwrap();
    let header = format!("x-key={}", key.display());
    let token = token.to_str().unwrap();
    let add = ["agents", "add", "--a2a", &url, "--allow-private", "--header-file", &header];
    let added = near.command([]).args(add).args(["--bearer-file", token, "--json"]).output();
    let added = added.unwrap();
    assert!(added.status.success(), "{added:?}");
    let added: Value = serde_json::from_slice(&added.stdout).unwrap();
    assert_eq!(added["headers"], serde_json::json!(["x-key", "authorization"]));
    let both = near.run(["agents", "add", "--a2a", &url, "--bearer", "x", "--bearer-file", token]);
    assert!(both.stderr.contains("cannot be used with"), "{both:?}");
    let none = near.run(["agents", "add", "--a2a", &url, "--bearer-file", "/nowhere"]).fails(2);
    assert!(none.contains("cannot read /nowhere"), "{none}");
}

#[test]
fn what_cannot_be_added_is_refused_with_what_helps() {
    let near = Broker::start();
    let own = format!("http://{}", near.address());
    let told = near.run(["agents", "add", "--a2a", &own, "--allow-private"]).fails(4);
    assert!(told.contains("leads to this broker itself"), "{told}");
    let told = near.run(["agents", "add", "--a2a", &own]).fails(4);
    assert!(told.contains("server.a2a_proxy_allow could allow it"), "{told}");
    let told = run(["agents", "list", "--a2a", "--skill", "x"]).fails(2);
    assert!(told.contains("cannot be used with"), "{told}");
}
