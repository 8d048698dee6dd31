//! The official SDKs of A2A as clients of the real binary, each from its registry.
//!
//! Without a registry there is nothing to test with, which is said and is no failure, unless `CI`
//! is set: there it must be had.

use super::harness::{Broker, Running, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use std::fs;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use trunkline_agent::{Agent, HandlerError, HandlerResult, Host, Task};
use trunkline_client::{Client, ClientConfig};
use trunkline_types::PauseReason;

#[path = "../../../../examples/a2a/agent.rs"]
mod example;

/// What is installed. A new version is a decision: it may speak otherwise.
const PYTHON_SDK: &str = "a2a-sdk[grpc,signing]==1.3.0";
/// With what its servers need.
const PYTHON_SERVER: [&str; 2] = ["a2a-sdk[grpc,http-server]==1.3.0", "uvicorn==0.54.0"];
const PYTHON_SDK_03: &str = "a2a-sdk[grpc,http-server]==0.3.26";
const JAVASCRIPT_SDK: [&str; 3] =
    ["@a2a-js/sdk@1.3.0", "@grpc/grpc-js@1.14.7", "@bufbuild/protobuf@2.17.0"];
/// What both are put through for an agent that is named. Requests of 0.3 over gRPC cannot name one, so
/// that those go to the root.
const SPOKEN: [(&str, &str); 5] = [
    ("1.0", "JSONRPC"),
    ("1.0", "HTTP+JSON"),
    ("1.0", "GRPC"),
    ("0.3", "JSONRPC"),
    ("0.3", "HTTP+JSON"),
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdks")
}

/// Runs a command to its end; what it said if it failed.
fn succeeds(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.trim().to_owned()) }
}

/// A folder that is filled once for all test runs, or why it cannot be.
fn installed(
    name: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // One test at a time, in whichever process.
    let lock =
        fs::File::create(folder.with_extension("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let done = folder.join("installed");
    if !done.exists() {
        let _ = fs::remove_dir_all(&folder);
        install(&folder)?;
        fs::write(&done, "").map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

/// The interpreter with a Python SDK.
fn python(sdk: &[&str]) -> Option<PathBuf> {
    let name = sdk.concat().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let folder = installed(&format!("python-{name}"), |folder| {
        succeeds(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let pip = folder.join("bin/pip");
        succeeds(Command::new(pip).args(["install", "--quiet"]).args(sdk))
    });
    or_skipped("the Python SDK of A2A", folder).map(|folder| folder.join("bin/python"))
}

/// A script that finds the JavaScript SDK beside it.
fn javascript() -> Option<PathBuf> {
    let name = JAVASCRIPT_SDK.concat().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let folder = installed(&format!("javascript-{name}"), |folder| {
        fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        // Otherwise it would look for a package in the folders above.
        let package = folder.join("package.json");
        fs::write(package, "{\"private\": true}").map_err(|error| error.to_string())?;
        let mut npm = Command::new("npm");
        npm.current_dir(folder).args(["install", "--silent", "--no-audit", "--no-fund"]);
        succeeds(npm.args(JAVASCRIPT_SDK))
    });
    let folder = or_skipped("the JavaScript SDK of A2A", folder)?;
    let script = folder.join("client.mjs");
    fs::copy(sources().join("client.mjs"), &script).unwrap();
    Some(script)
}

#[allow(clippy::print_stderr, reason = "whoever runs the tests is to know what was not tested")]
fn or_skipped<T>(what: &str, had: Result<T, String>) -> Option<T> {
    match had {
        Ok(had) => Some(had),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{what} cannot be installed: {why}");
            eprintln!("SKIPPED: {what} cannot be installed: {why}");
            None
        }
    }
}

/// A broker with an agent in this process.
struct Stage {
    broker: Broker,
    /// Lets the agent go on with what takes long.
    gate: Arc<Notify>,
    _agent: Agent,
    _runtime: Runtime,
}

/// What the agent does, by the first word of what it is told.
async fn work(task: Task, gate: Arc<Notify>) -> HandlerResult<String> {
    let text = task.text().into_owned();
    match text.as_str() {
        "ask" => match task.messages().last() {
            None => Err(HandlerError::pause(PauseReason::Input, Some("which?".into()))),
            Some(said) => Ok(format!("{text}: {}", said.to_text())),
        },
        "write" => {
            if task.messages().is_empty() {
                task.artifact("out", "one", false, false).await?;
                return Err(HandlerError::pause(PauseReason::Input, None));
            }
            task.progress(50, "half").await?;
            task.artifact("out", "two", true, true).await?;
            Ok("written".to_owned())
        }
        "steps" => {
            let steps = [("one", false), ("two", false), ("three", true)];
            let step = task.messages().len();
            let (text, last) = steps[step];
            task.artifact("out", text, step > 0, last).await?;
            if last {
                return Ok("all done".to_owned());
            }
            Err(HandlerError::pause(PauseReason::Input, None))
        }
        "long" => {
            task.artifact("out", "one", false, false).await?;
            gate.notified().await;
            task.artifact("out", "two", true, false).await?;
            gate.notified().await;
            task.artifact("out", "three", true, true).await?;
            Ok("long done".to_owned())
        }
        "hold" => std::future::pending().await,
        _ => Ok(text),
    }
}

impl Stage {
    fn set() -> Self {
        let settings = "[server]\na2a_agent = \"helper\"\na2a_push_allow = \"127.0.0.1\"\n";
        let broker = Broker::configured(settings, []);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let gate = Arc::new(Notify::new());
        let agent = runtime.block_on(async {
            let config = ClientConfig::new(format!("http://{}", broker.address()));
            let client = Client::new(&config).unwrap();
            let gate = gate.clone();
            let handler = move |task| work(task, gate.clone());
            client.agent("helper").workers(1..=64).skill("help", handler).start().await.unwrap()
        });
        Self { broker, gate, _agent: agent, _runtime: runtime }
    }

    fn url(&self) -> String {
        format!("{}/agents/helper", self.root())
    }

    /// Where the agent is too, for those that cannot name one.
    fn root(&self) -> String {
        format!("http://{}", self.broker.address())
    }
}

#[test]
fn the_python_sdk_does_everything_over_every_binding_in_both_versions() {
    let Some(python) = python(&[PYTHON_SDK]) else { return };
    let stage = Stage::set();
    for (version, binding) in SPOKEN {
        let mut client = Command::new(&python);
        client.arg("-B").arg(sources().join("client.py")).args([&stage.url(), version, binding]);
        let done = succeeds(&mut client);
        assert!(done.is_ok(), "{version} over {binding}: {}", done.unwrap_err());
    }
    let mut client = Command::new(&python);
    client.arg("-B").arg(sources().join("client.py")).args([&stage.root(), "0.3", "GRPC"]);
    let done = succeeds(&mut client);
    assert!(done.is_ok(), "0.3 over GRPC: {}", done.unwrap_err());
}

/// A key in the form that the system's tools write.
fn key(folder: &Path, pkcs8: &[u8]) -> PathBuf {
    let file = folder.join("key.pem");
    let encoded = STANDARD.encode(pkcs8);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n");
    fs::write(&file, pem).unwrap();
    file
}

#[test]
fn the_python_sdk_verifies_the_signatures_of_cards() {
    let Some(python) = python(&[PYTHON_SDK]) else { return };
    let random = SystemRandom::new();
    let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ed25519 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    for pkcs8 in [p256.as_ref(), ed25519.as_ref()] {
        let folder = tempfile::tempdir().unwrap();
        let file = key(folder.path(), pkcs8);
        let settings = format!("[server]\na2a_signing_key = \"{}\"\n", file.display());
        let broker = Broker::configured(&settings, ["--ephemeral"]);
        let description = "Zählt \u{1f980} \"wörtlich\".";
        let named = ["--id", "counter", "--skill", "count", "--description", description];
        let mut command = broker.command(["agent"]);
        let mut agent = Running::start(command.args(named).args(["--", "true"]));
        agent.says("connected to");
        let url = format!("http://{}", broker.address());
        for url in [format!("{url}/agents/counter"), url] {
            let mut client = Command::new(&python);
            client.arg(sources().join("signed.py")).arg(&url);
            let done = succeeds(&mut client);
            assert!(done.is_ok(), "{url}: {}", done.unwrap_err());
        }
    }
}

#[test]
fn the_python_client_of_the_examples_calls_the_agent_in_rust() {
    let Some(python) = python(&[PYTHON_SDK]) else { return };
    let broker = Broker::with(["--ephemeral"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = format!("http://{}", broker.address());
    let _agent = runtime.block_on(example::start(&url)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/a2a/client.py");
    let mut client = Command::new(&python);
    let output = client.arg(script).arg(format!("{url}/agents/writer")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("What is it to be about?") && said.contains("Chapter 3"), "{said}");
}

#[test]
fn the_python_sdk_of_the_earlier_version_finds_what_it_knows() {
    let Some(python) = python(&[PYTHON_SDK_03]) else { return };
    let stage = Stage::set();
    let (url, root) = (stage.url(), stage.root());
    for (url, binding) in [(&url, "JSONRPC"), (&url, "HTTP+JSON"), (&root, "GRPC")] {
        let mut client = Command::new(&python);
        client.arg("-B").arg(sources().join("client_03.py")).args([url, binding]);
        let done = succeeds(&mut client);
        assert!(done.is_ok(), "{binding}: {}", done.unwrap_err());
    }
}

#[test]
fn the_javascript_sdk_does_everything_over_every_binding_in_both_versions() {
    let Some(script) = javascript() else { return };
    let stage = Stage::set();
    for (version, binding) in SPOKEN {
        let mut client = Command::new("node");
        client.arg(&script).args([&stage.url(), version, binding]);
        let done = succeeds(&mut client);
        assert!(done.is_ok(), "{version} over {binding}: {}", done.unwrap_err());
    }
    let mut client = Command::new("node");
    client.arg(&script).args([&stage.root(), "0.3", "GRPC"]);
    let done = succeeds(&mut client);
    assert!(done.is_ok(), "0.3 over GRPC: {}", done.unwrap_err());
}

#[test]
fn a_stream_of_the_python_sdk_goes_on_after_the_broker_was_killed() {
    let Some(python) = python(&[PYTHON_SDK]) else { return };
    let mut stage = Stage::set();
    let mut command = Command::new(&python);
    command
        .arg("-B")
        .arg(sources().join("client.py"))
        .args([&stage.url(), "kill"])
        .stdin(Stdio::piped());
    let mut client = Running::start(&mut command);
    let mut told = client.stdout().lines().map_while(Result::ok);
    let ready = told.next().unwrap();
    assert!(ready.starts_with("READY "), "{ready}");
    stage.broker.kill();
    let cut = told.next().unwrap();
    assert!(cut.starts_with("CUT "), "{cut}");
    stage.broker.restart();
    stage.gate.notify_one();
    client.stdin().write_all(b"\n").unwrap();
    let live = told.next();
    assert_eq!(live.as_deref(), Some("LIVE"), "{:?}", client.finish());
    // Not before the client follows the task again.
    stage.gate.notify_one();
    let last = told.next();
    assert_eq!(last.as_deref(), Some("OK"), "{:?}", client.finish());
    until("no dead letter and nothing twice", || {
        (stage.broker.figure("tasks_completed") == 1).then_some(())
    });
}

/// The official server as an agent of a broker, by one binding.
struct Python {
    process: Running,
    told: Box<dyn Iterator<Item = String>>,
    broker: Broker,
}

impl Python {
    fn start(python: &Path, spoken: &[&str]) -> Self {
        let mut command = Command::new(python);
        command.arg(sources().join("server.py")).args(spoken).stdin(Stdio::piped());
        let mut process = Running::start(&mut command);
        let mut told = Box::new(process.stdout().lines().map_while(Result::ok));
        let ready = told.next().unwrap();
        let url = ready.strip_prefix("READY ").unwrap();
        // What a killed broker held comes back when its lease has run out.
        let settings = "[broker]\nlease = \"2s\"\n[server]\na2a_proxy_allow = \"127.0.0.1\"\n";
        let broker = Broker::configured(settings, []);
        // It listens, but may not answer yet.
        let added = broker.run(["agents", "add", "--a2a", url, "--id", "far"]).ok();
        assert!(
            added.starts_with(&format!("added far: {} {} at ", spoken[0], spoken[1])),
            "{added}"
        );
        Self { process, told, broker }
    }

    fn send(&self, text: &str) -> String {
        self.broker.run(["send", "--to", "agent:far", "--data", text, "--wait"]).ok()
    }
}

#[test]
fn the_python_sdks_own_server_is_an_agent_by_every_binding_and_version() {
    let Some(python) = python(&PYTHON_SERVER) else { return };
    for spoken in [
        &["JSONRPC", "1.0"][..],
        &["HTTP+JSON", "1.0"],
        &["GRPC", "1.0"],
        &["JSONRPC", "0.3"],
        &["HTTP+JSON", "0.3"],
        &["JSONRPC", "1.0", "without streams"],
    ] {
        let server = Python::start(&python, spoken);
        assert_eq!(server.send("hello"), "hello", "{spoken:?}");
        assert_eq!(server.send("write"), "written", "{spoken:?}");
        let failed = server.broker.run(["send", "--to", "agent:far", "--data", "fail", "--wait"]);
        assert!(failed.stderr.contains("no luck"), "{spoken:?} {failed:?}");
        let asked = server.broker.run(["send", "--to", "agent:far", "--data", "ask"]).ok();
        let state = |id: &str| server.broker.run(["task", "get", id, "--json"]).json();
        until(format!("it asks, {spoken:?}"), || {
            (state(&asked)["state"] == "input-required").then_some(())
        });
        server.broker.run(["task", "continue", &asked, "--data", "this"]).ok();
        let done = until(format!("it is answered, {spoken:?}"), || {
            let task = state(&asked);
            (task["state"] == "completed").then_some(task)
        });
        assert_eq!(done["result"]["text"], "this", "{spoken:?}");
    }
}

#[test]
fn a_task_of_the_python_sdks_own_server_goes_on_after_the_broker_was_killed() {
    let Some(python) = python(&PYTHON_SERVER) else { return };
    let mut server = Python::start(&python, &["JSONRPC", "1.0"]);
    let id = server.broker.run(["send", "--to", "agent:far", "--data", "long"]).ok();
    assert_eq!(server.told.next().as_deref(), Some("RUN 1 long"));
    let state = |server: &Python| server.broker.run(["task", "get", &id, "--json"]).json();
    // It was noted who does it, and the first piece of its artifact has come.
    until("it is noted", || (state(&server)["last_event"].as_u64()? >= 5).then_some(()));
    server.broker.kill();
    server.broker.restart();
    server.process.stdin().write_all(b"\n").unwrap();
    let done = until("it is done", || {
        let task = state(&server);
        assert_ne!(task["state"], "failed", "{task}");
        (task["state"] == "completed").then_some(task)
    });
    assert_eq!(done["result"]["text"], "written");
    // What it is told next is its second run.
    assert_eq!(server.send("hello"), "hello");
    assert_eq!(server.told.next().as_deref(), Some("RUN 2 hello"));
}
