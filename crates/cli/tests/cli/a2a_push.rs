//! Webhooks of A2A against a real broker that is killed while it calls them.

use super::harness::{Broker, until};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use trunkline_agent::{Agent, HandlerResult, Host, Task};
use trunkline_client::{Client, ClientConfig};

/// How many tasks there are, and how many pieces each writes.
const TASKS: usize = 8;
const PIECES: usize = 10;

/// Somebody's server.
#[derive(Clone, Default)]
struct Hook(Arc<Heard>);

#[derive(Default)]
struct Heard {
    /// What each task's webhook was told, in the order in which it came.
    told: Mutex<HashMap<String, Vec<Value>>>,
    /// The credentials that came last.
    credentials: Mutex<String>,
    /// Whether it takes nothing.
    refuses: AtomicBool,
    /// Whether it hears what it is told, but does not say so.
    holds: Mutex<bool>,
    /// Told when it does again.
    held: Condvar,
}

impl Hook {
    /// Listens until the test ends.
    fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let hook = self.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let hook = hook.clone();
                thread::spawn(move || hook.serve(stream));
            }
        });
        url
    }

    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some((credentials, body)) = request(&mut reader) {
            let refuses = self.0.refuses.load(Ordering::Relaxed);
            if !refuses {
                *self.0.credentials.lock().unwrap() = credentials;
                let told = body.get("statusUpdate").or(body.get("artifactUpdate"));
                let task = told.and_then(|told| told["taskId"].as_str()).unwrap().to_owned();
                self.0.told.lock().unwrap().entry(task).or_default().push(body);
            }
            let mut holds = self.0.holds.lock().unwrap();
            while *holds {
                holds = self.0.held.wait(holds).unwrap();
            }
            drop(holds);
            let status = if refuses { "500 No" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// From now on it answers, or does not.
    fn hold(&self, holds: bool) {
        *self.0.holds.lock().unwrap() = holds;
        self.0.held.notify_all();
    }

    /// How many calls there were.
    fn calls(&self) -> usize {
        self.0.told.lock().unwrap().values().map(Vec::len).sum()
    }

    /// What the webhook of a task was told, without what came twice in a row.
    fn told(&self, task: &str) -> Vec<Value> {
        let mut told = self.0.told.lock().unwrap().get(task).cloned().unwrap_or_default();
        told.dedup();
        told
    }
}

/// The credentials and the body of the next request; `None` at the end, even if that is in its
/// midst.
fn request(reader: &mut impl BufRead) -> Option<(String, Value)> {
    let (mut length, mut credentials) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim().to_ascii_lowercase().split_once(": ") {
            Some(("content-length", text)) => length = text.parse().unwrap(),
            Some(("authorization", text)) => text.clone_into(&mut credentials),
            None if line.trim().is_empty() => break,
            Some(_) | None => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((credentials, serde_json::from_slice(&body).ok()?))
}

/// The body of an answer to a client of the standard that calls the agent `helper`.
pub(crate) fn call(broker: &Broker, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    // The older version has no pieces in its bodies.
    let (host, length) = (broker.address(), body.len());
    let request = format!(
        "{method} /agents/helper{path} HTTP/1.0\r\nhost: {host}\r\na2a-version: 1.0\r\n{headers}\
         content-type: application/a2a+json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Begins a task with a webhook.
fn begin(broker: &Broker, push: &Value) -> String {
    let parts = json!([{"text": "write"}]);
    let body = json!({
        "message": {"messageId": "m", "role": "ROLE_USER", "parts": parts},
        "configuration": {"returnImmediately": true, "taskPushNotificationConfig": push},
    });
    let answer = call(broker, "POST", "/message:send", "", &body.to_string());
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["task"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// Every event of a task from the first one.
fn events(broker: &Broker, task: &str) -> Vec<Value> {
    let path = format!("/tasks/{task}:subscribe");
    let told = call(broker, "GET", &path, "last-event-id: 0\r\n", "");
    let data = told.lines().filter_map(|line| line.strip_prefix("data: "));
    // The first is the task as it was before any of them.
    data.skip(1).map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// What lets the agent write, and how many pieces it has tried to write.
#[derive(Clone)]
struct Gate {
    permits: Arc<Semaphore>,
    done: Arc<AtomicUsize>,
}

impl Gate {
    fn with(permits: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(permits)), done: Arc::default() }
    }
}

/// An agent that writes a piece for each permit.
fn agent(broker: &Broker, gate: &Gate) -> (Agent, Runtime) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let agent = runtime.block_on(async {
        let config = ClientConfig::new(format!("http://{}", broker.address()));
        let client = Client::new(&config).unwrap();
        let gate = gate.clone();
        let handler = move |task| work(task, gate.clone());
        client.agent("helper").workers(1..=64).skill("help", handler).start().await.unwrap()
    });
    (agent, runtime)
}

async fn work(task: Task, gate: Gate) -> HandlerResult<&'static str> {
    for piece in 0..PIECES {
        gate.permits.acquire().await.unwrap().forget();
        let last = piece == PIECES - 1;
        let written = task.artifact("out", piece.to_string(), piece > 0, last).await;
        gate.done.fetch_add(1, Ordering::Relaxed);
        written?;
    }
    Ok("done")
}

#[test]
fn webhooks_are_told_every_event_in_order_while_the_broker_is_killed() {
    // What the agent did not get said before a kill comes back once its lease has ended.
    let settings = "[server]\na2a_push_allow = \"127.0.0.1\"\n[broker]\nlease = \"4s\"\n";
    let mut broker = Broker::configured(settings, []);
    let gate = Gate::with(0);
    let (_agent, _runtime) = agent(&broker, &gate);
    let hook = Hook::default();
    let url = hook.start();
    let push = json!({ "url": url });
    let tasks: Vec<_> = (0..TASKS).map(|_| begin(&broker, &push)).collect();
    for round in 1..=3 {
        let before = hook.calls();
        hook.hold(true);
        let pieces = TASKS * PIECES / 4;
        gate.permits.add_permits(pieces);
        until("the pieces are written", || {
            (gate.done.load(Ordering::Relaxed) == round * pieces).then_some(())
        });
        // Killed when some have heard of theirs, and nobody has said so.
        until("a webhook is called", || (hook.calls() > before).then_some(()));
        broker.kill();
        hook.hold(false);
        broker.restart();
    }
    // A handler that was begun again writes again.
    gate.permits.add_permits(10 * TASKS * PIECES);
    for task in &tasks {
        let last = until("the webhook is told of the end", || {
            let told = hook.told(task);
            let state = told.last()?["statusUpdate"]["status"]["state"].as_str()?.to_owned();
            ["COMPLETED", "FAILED"].iter().any(|end| state.ends_with(end)).then_some(state)
        });
        assert_eq!(last, "TASK_STATE_COMPLETED");
        let mut happened = events(&broker, task);
        happened.dedup();
        assert_eq!(hook.told(task), happened, "{task}");
    }
}

#[test]
fn webhooks_go_on_at_once_after_the_broker_was_killed() {
    // Nobody here waits for a lease to end.
    let settings = "[server]\na2a_push_allow = \"127.0.0.1\"\n[broker]\nlease = \"1h\"\n";
    let mut broker = Broker::configured(settings, []);
    let gate = Gate::with(0);
    let (_agent, _runtime) = agent(&broker, &gate);
    let hook = Hook::default();
    let push = json!({ "url": hook.start() });
    let tasks: Vec<_> = (0..TASKS).map(|_| begin(&broker, &push)).collect();
    until("every task is begun and its webhook was told so", || {
        tasks.iter().all(|task| !hook.told(task).is_empty()).then_some(())
    });
    broker.kill();
    broker.restart();
    gate.permits.add_permits(10 * TASKS * PIECES);
    for task in &tasks {
        until("the webhook is told of the end", || {
            let told = hook.told(task);
            (told.last()?["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED")
                .then_some(())
        });
    }
}

#[test]
fn what_a_webhook_is_called_with_is_not_shown_and_not_forgotten() {
    let settings = "[server]\na2a_push_allow = \"127.0.0.1\"\na2a_push_attempts = 1\n";
    let broker = Broker::configured(settings, []);
    let gate = Gate::with(PIECES);
    let (_agent, _runtime) = agent(&broker, &gate);
    let hook = Hook::default();
    hook.0.refuses.store(true, Ordering::Relaxed);
    let auth = json!({"scheme": "Bearer", "credentials": "hush-1"});
    let push = json!({"url": hook.start(), "token": "hush-2", "authentication": auth});
    let task = begin(&broker, &push);
    let list = ["dead", "list", "--agent", "a2a-push", "--json"];
    let letter = until("the webhook is given up", || {
        let letters = broker.run(list).json();
        letters[0]["id"].as_str().map(str::to_owned)
    });
    let context = format!("a2a-push:{task}");
    for command in [
        &list[..],
        &["dead", "show", &letter],
        &["dead", "show", &letter, "--json"],
        &["task", "list", "--agent", "a2a-push", "--json"],
        &["task", "get", &letter],
        &["task", "get", &letter, "--history", "9"],
        &["task", "get", &letter, "--history", "9", "--json"],
        &["context", &context, "--json"],
    ] {
        let shown = broker.command([]).args(command).output().unwrap();
        let said = String::from_utf8_lossy(&shown.stdout);
        assert!(shown.status.success() && !said.is_empty(), "{command:?}: {shown:?}");
        assert!(!said.contains("hush"), "{command:?}: {said}");
    }
    let shown = broker.run(["task", "get", &letter, "--history", "9", "--json"]).ok();
    assert!(shown.contains("/hook") && shown.contains('…'), "{shown}");
    // Whoever may see the task's webhooks by A2A still does.
    let path = format!("/tasks/{task}/pushNotificationConfigs");
    assert!(call(&broker, "GET", &path, "", "").contains("hush-1"));
    hook.0.refuses.store(false, Ordering::Relaxed);
    broker.run(["dead", "redrive", &letter]).ok();
    until("the webhook is told of the end", || {
        let told = hook.told(&task);
        (told.last()?["statusUpdate"]["status"]["state"] == "TASK_STATE_COMPLETED").then_some(())
    });
    assert_eq!(*hook.0.credentials.lock().unwrap(), "bearer hush-1");
}
