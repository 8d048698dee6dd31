//! The agent that the conformance kit of `Agent2Agent` (a2aproject/a2a-tck) talks to: what it does
//! is keyed by the beginning of the message's id, as the scenarios of the kit have it. `run` beside
//! this file starts it behind a broker and runs the kit.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_client::{Client, ClientConfig};
use trunkline_types::PauseReason;

/// A whole message or artifact of the standard.
const WHOLE: &str = "application/a2a+json";

/// The id of a message. One that says more than a text or a value travels whole, with its id
/// within; otherwise the content type has it.
fn message_id(payload: &Payload) -> String {
    if let Some((_, id)) = payload.content_type.rsplit_once("; message-id=\"") {
        return id.trim_end_matches('"').to_owned();
    }
    let text = payload.to_text();
    let id = text.split_once("\"messageId\":\"").and_then(|(_, rest)| rest.split_once('"'));
    id.map(|(id, _)| id.to_owned()).unwrap_or_default()
}

/// How long a client may take to come back to a task.
fn patience() -> Duration {
    let said = std::env::var("TCK_STREAMING_TIMEOUT").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(said.unwrap_or(2.0) * 2.0)
}

async fn text(task: &Task, said: &str) -> Result<(), HandlerError> {
    Ok(task.artifact("output", Payload::text(said), false, true).await?)
}

async fn whole(task: &Task, artifact: &'static str) -> Result<(), HandlerError> {
    Ok(task.artifact("output", Payload::new(WHOLE, artifact), false, true).await?)
}

async fn work(task: Task) -> HandlerResult<Option<Payload>> {
    let id = message_id(task.messages().last().unwrap_or(task.payload()));
    println!("{id}");
    // The longer of two that begin alike comes first.
    let known = [
        "tck-artifact-text",
        "tck-artifact-file-url",
        "tck-artifact-file",
        "tck-artifact-data",
        "tck-message-response",
        "tck-input-required",
        "tck-reject-task",
        "tck-stream-001",
        "tck-stream-003",
        "tck-stream-ordering-001",
        "tck-stream-artifact-text",
        "tck-stream-artifact-file",
        "tck-stream-artifact-chunked",
        "test-resubscribe-message-id",
    ];
    let found = known.into_iter().find(|prefix| id.starts_with(prefix)).unwrap_or_default();
    match found {
        "tck-artifact-text" => text(&task, "Generated text content").await?,
        "tck-stream-001" => text(&task, "Stream hello from TCK").await?,
        "tck-stream-003" => text(&task, "Stream task lifecycle").await?,
        "tck-stream-ordering-001" => text(&task, "Ordered output").await?,
        "tck-stream-artifact-text" => text(&task, "Streamed text content").await?,
        "tck-artifact-file" | "tck-stream-artifact-file" => {
            let file =
                r#"{"parts":[{"raw":"dGNr","filename":"output.txt","mediaType":"text/plain"}]}"#;
            whole(&task, file).await?;
        }
        "tck-artifact-file-url" => {
            let link = r#"{"parts":[{"url":"https://example.com/output.txt",
                "filename":"output.txt","mediaType":"text/plain"}]}"#;
            whole(&task, link).await?;
        }
        "tck-artifact-data" => {
            let data = Payload::new("application/json", r#"{"key": "value", "count": 42}"#);
            task.artifact("output", data, false, true).await?;
        }
        "tck-stream-artifact-chunked" => {
            task.artifact("output", Payload::text("chunk-1 "), false, false).await?;
            task.artifact("output", Payload::text("chunk-2"), true, true).await?;
        }
        "tck-message-response" => {
            let message = r#"{"parts":[{"text":"Direct message response"}]}"#;
            return Ok(Some(Payload::new("application/a2a+json; as=message", message)));
        }
        "tck-input-required" => return Err(HandlerError::pause(PauseReason::Input, None)),
        "tck-reject-task" => return Err(HandlerError::reject("rejected")),
        "test-resubscribe-message-id" => tokio::time::sleep(patience()).await,
        _ => return Ok(Some(Payload::text("Hello from TCK"))),
    }
    Ok(None)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("TRUNKLINE_URL").unwrap_or("http://127.0.0.1:7420".to_owned());
    let client = Client::new(&ClientConfig::new(url))?;
    let agent = client.agent("tck").name("Conformance kit").description("Does what the kit asks.");
    let agent = agent.workers(1..=64).skill("tck", work).start().await?;
    println!("ready");
    Err(agent.ended().await.into())
}
