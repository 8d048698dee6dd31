//! An agent that fails again and again gets no work for a while: the work waits instead of using
//! up its attempts, until a probe shows that the agent has recovered.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{AgentFilter, BreakerState};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = BrokerConfig::ephemeral();
    config.engine.breaker_failures = 3;
    config.engine.breaker_open = Duration::from_millis(500);
    let broker = Broker::open(config).await?;
    let works = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&works);
    let agent = broker.agent("printer").skill("print", move |_: Task| {
        let works = switch.load(SeqCst);
        async move { if works { Ok("printed") } else { Err(HandlerError::retry("no paper")) } }
    });
    let _agent = agent.start().await?;
    let send = || broker.send(Destination::skill("print").expect("a name"), "").attempts(1);
    for _ in 0..3 {
        println!("{}", send().wait().await.expect_err("there is no paper"));
    }
    let breakers = broker.agents(AgentFilter::default()).await?.agents.remove(0).breakers;
    println!("the breaker is {} for {} ms", breakers[0].state, breakers[0].open_for_ms);
    assert_ne!(breakers[0].state, BreakerState::Closed); // half-open, if half a second is over
    works.store(true, SeqCst);
    let reply = send().wait_at_most(Duration::from_mins(1)).wait().await?; // waits, then probes
    println!("{}", reply.text());
    assert_eq!(reply.text(), "printed");
    Ok(())
}
