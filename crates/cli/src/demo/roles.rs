//! The agents of the demo, each in a process of its own.

use super::args::Role;
use super::files::{count_todos, count_words};
use crate::error::CliError;
use serde_json::json;
use std::future::pending;
use std::num::ParseIntError;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use trunkline_agent::{Agent, HandlerError, Host, Reply, Task};
use trunkline_client::{Client, ClientConfig};
use trunkline_types::{Destination, Payload, Topic};

/// Marks the file whose first worker is to hold it until it is killed.
pub(super) const HOLD: &str = "demo-hold";
/// Names the file.
pub(super) const PATH: &str = "demo-path";
/// The topic on which a finished file is told.
pub(super) const FILE_DONE: &str = "demo.file.done";
/// The topic on which a worker tells that it holds the marked file.
pub(super) const WORKER_HOLDS: &str = "demo.worker.holds";

/// How long the answer to a request may take, a killed worker included.
const ANSWER: Duration = Duration::from_secs(30);
/// How often the work of a killed worker is tried in all.
const ATTEMPTS: u32 = 3;

/// Is an agent until it is told to end: by a signal, or, if it is `tied`, when whoever started it
/// is gone.
///
/// # Errors
/// The broker refuses the agent or ends its session.
pub(super) async fn play(role: Role, number: u32, url: &str, tied: bool) -> Result<(), CliError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let client = Client::new(&ClientConfig::new(url))?;
    let agent = start(&client, role, number).await?;
    tokio::select! {
        refusal = agent.ended() => return Err(refusal.into()),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = alone(), if tied => {}
    }
    agent.stop().await;
    Ok(())
}

/// Waits until the other end of stdin is gone.
async fn alone() {
    let mut stdin = tokio::io::stdin();
    let mut nothing = [0; 64];
    while stdin.read(&mut nothing).await.is_ok_and(|bytes| bytes > 0) {}
}

async fn start(client: &Client, role: Role, number: u32) -> Result<Agent, CliError> {
    let id = format!("{}-{number}", role.word());
    let agent = client.agent(&id);
    let agent = match role {
        Role::CountWords => {
            agent.description("counts the words of a text").skill(role.word(), words).workers(1..=4)
        }
        Role::FindTodo => agent
            .description("counts the lines of a text that leave something to be done")
            .skill(role.word(), todos)
            .workers(1..=4),
        Role::Summary => agent
            .description("asks the others about a file and says what they said")
            .skill(role.word(), summary)
            .workers(1..=32),
    };
    Ok(agent.start().await?)
}

async fn words(task: Task) -> Result<String, HandlerError> {
    if task.header(HOLD).is_some() && task.attempt() == 1 {
        // From now on losing this process costs an attempt.
        task.started();
        let holds = json!({ "pid": std::process::id(), "task": task.id().to_string() });
        task.publish(Topic::new(WORKER_HOLDS)?, holds.to_string()).await?;
        // Whoever marked the file kills this process now.
        return pending().await;
    }
    Ok(count_words(&task.text()).to_string())
}

async fn todos(task: Task) -> Result<String, HandlerError> {
    Ok(count_todos(&task.text()).to_string())
}

async fn summary(task: Task) -> Result<String, HandlerError> {
    let text = task.payload();
    let ask = |role: Role| {
        let to = Destination::skill(role.word())?;
        Ok::<_, HandlerError>(task.request(to, text.clone()).timeout(ANSWER))
    };
    // More than one attempt makes it work that survives whoever does it, and the broker too.
    let mut words = ask(Role::CountWords)?.attempts(ATTEMPTS);
    if let Some(mark) = task.header(HOLD) {
        words = words.header(HOLD, mark);
    }
    let todos = ask(Role::FindTodo)?;
    let (words, todos) = tokio::try_join!(words.into_future(), todos.into_future())?;
    let (words, todos) = (number(&words)?, number(&todos)?);
    let path = task.header(PATH).unwrap_or("a text");
    let summary = json!({ "path": path, "words": words, "todos": todos }).to_string();
    task.publish(Topic::new(FILE_DONE)?, Payload::new("application/json", summary.clone())).await?;
    Ok(summary)
}

fn number(reply: &Reply) -> Result<u64, HandlerError> {
    let text = reply.text();
    text.parse().map_err(|error: ParseIntError| {
        HandlerError::fail(format_args!("'{text}' is no number: {error}"))
    })
}
