//! The examples in Python, which the binary has with it, run by the interpreter that is there.

use super::args::DemoArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::output::Output;
use crate::output::units::shown;
use serde_json::{Value, json};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::IsTerminal;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// Names under which an interpreter is looked for where `PYTHON` names none.
const NAMES: [&str; 2] = ["python3", "python"];

/// What an interpreter is asked: whether it has the package.
const QUESTION: &str = "import trunkline; print(trunkline.__version__)";

/// What helps where the package is not there.
const REMEDY: &str = "install it with `pip install ./clients/python`, or name an interpreter that \
                      has it in PYTHON";

/// An example: its name, what it shows, and its source.
struct Example {
    name: &'static str,
    about: &'static str,
    source: &'static str,
}

const EXAMPLES: [Example; 2] = [
    Example {
        name: "research_team",
        about: "a planner, searchers and a writer over the text files of a folder, with the \
                approval of a person",
        source: include_str!("../../../../clients/python/examples/research_team.py"),
    },
    Example {
        name: "crawler",
        about: "a lead and workers that crawl a site of this machine's own",
        source: include_str!("../../../../clients/python/examples/crawler.py"),
    },
];

/// Runs the examples, one after the other.
///
/// # Errors
/// There is no interpreter that has the package, an example fails, or it was interrupted.
pub(super) async fn run(args: &DemoArgs, output: &Output) -> Result<(), CliError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ran = tokio::select! {
        ran = Box::pin(run_all(args, output)) => ran?,
        _ = terminate.recv() => return Err(CliError::new(Exit::Interrupted, "interrupted")),
        _ = interrupt.recv() => return Err(CliError::new(Exit::Interrupted, "interrupted")),
    };
    if output.is_json() { output.value(&Value::Array(ran)) } else { Ok(()) }
}

async fn run_all(args: &DemoArgs, output: &Output) -> Result<Vec<Value>, CliError> {
    let python = interpreter().await?;
    let folder = TempDir::with_prefix("trunkline-demo-")?;
    let mut ran = Vec::new();
    for Example { name, about, source } in EXAMPLES {
        output.note(format_args!("{name}.py: {about}"));
        let file = folder.path().join(format!("{name}.py"));
        fs::write(&file, source)?;
        let mut command = Command::new(&python);
        command.arg(&file).kill_on_drop(true);
        if name == "research_team" {
            // Who reads a file of this would not be asked by anybody.
            if output.is_json() || !std::io::stdin().is_terminal() {
                command.arg("--yes");
            }
            command.arg("agents and tasks").arg(&args.input);
        }
        if output.is_json() {
            command.stdin(Stdio::null()).stdout(Stdio::piped());
        }
        let done = command.spawn()?.wait_with_output().await?;
        if !done.status.success() {
            return Err(CliError::new(Exit::General, format_args!("{name}.py: {}", done.status)));
        }
        ran.push(json!({ "name": name, "output": String::from_utf8_lossy(&done.stdout) }));
    }
    Ok(ran)
}

/// The first interpreter that has the package.
async fn interpreter() -> Result<OsString, CliError> {
    let named = env::var_os("PYTHON").filter(|name| !name.is_empty());
    let names = match &named {
        Some(name) => vec![name.as_os_str()],
        None => NAMES.map(OsStr::new).to_vec(),
    };
    let mut said = None;
    for name in names {
        let asked = Command::new(name).args(["-c", QUESTION]).kill_on_drop(true).output().await;
        match asked {
            Ok(answer) if answer.status.success() => return Ok(name.to_owned()),
            // The first one is the one that is meant.
            Ok(answer) => {
                let stderr = String::from_utf8_lossy(&answer.stderr);
                let last = stderr.trim_end().lines().next_back().unwrap_or("it says nothing");
                let name = name.display();
                let message = format!("{name} cannot import trunkline: {}", shown(last));
                said.get_or_insert(message);
            }
            Err(_) => {}
        }
    }
    let message = said.unwrap_or_else(|| match &named {
        Some(name) => format!("PYTHON is '{}', which does not start", name.display()),
        None => "there is no Python interpreter on the PATH".into(),
    });
    Err(CliError::new(Exit::General, message).hint(REMEDY))
}
