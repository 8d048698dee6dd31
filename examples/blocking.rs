//! Work that blocks or computes runs on threads of its own, at most so many at once, and holds up
//! nobody: not even in a runtime with one thread.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::sync::mpsc;
use std::time::Duration;
use trunkline_agent::{blocking, prelude::*};
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let (go, goes) = mpsc::channel();
    let goes = tokio::sync::Mutex::new(goes);
    let compute = blocking(move |_: Task| {
        // Keeps its thread until it is told to go on.
        goes.blocking_lock().recv_timeout(Duration::from_mins(1))?;
        Ok("computed")
    });
    let agent = broker
        .agent("mill")
        .skill("compute", compute.threads(1))
        .skill("ask", |_: Task| async { Ok("still here") });
    let _agent = agent.start().await?;

    let ask = |skill| {
        let request = broker.request(Destination::skill(skill).expect("a name"), "");
        request.timeout(Duration::from_mins(1))
    };
    let computed = tokio::spawn(ask("compute").into_future());
    println!("meanwhile: {}", ask("ask").await?.text());
    assert!(!computed.is_finished());
    go.send(())?;
    println!("then: {}", computed.await??.text());
    Ok(())
}
