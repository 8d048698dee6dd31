//! An agent that any client of `Agent2Agent` reaches: it asks back, writes its result piece by piece,
//! and ends with a message. It opens no port; `client.py` beside this file calls it.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use trunkline_agent::prelude::*;
use trunkline_client::{Client, ClientConfig};
use trunkline_types::PauseReason;

async fn write(task: Task) -> HandlerResult<String> {
    // What its caller said when it was asked; the second time it comes with that.
    let Some(about) = task.messages().last().map(|said| said.to_text().into_owned()) else {
        let question = Payload::text("What is it to be about?");
        return Err(HandlerError::pause(PauseReason::Input, Some(question)));
    };
    for chapter in 1..=3_u8 {
        let text = format!("Chapter {chapter} of what there is to say about {about}.\n");
        task.artifact("book", Payload::text(&text), chapter > 1, chapter == 3).await?;
        task.progress(chapter * 30, format!("chapter {chapter} is written")).await?;
    }
    Ok(format!("Three chapters about {about}."))
}

pub(crate) async fn start(url: &str) -> Result<Agent, Box<dyn std::error::Error>> {
    let client = Client::new(&ClientConfig::new(url))?;
    let agent = client.agent("writer").description("Writes books of three chapters.");
    Ok(agent.skill("write", write).start().await?)
}

#[tokio::main]
#[allow(dead_code, reason = "the tests of the command line start it themselves")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("http://127.0.0.1:7420".to_owned());
    let agent = start(&url).await?;
    println!("its card: {url}/agents/writer/.well-known/agent-card.json");
    Err(agent.ended().await.into())
}
