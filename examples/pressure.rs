//! Pressure: an inbox that fills tells its senders a pace, and sessions keep to it, so that they
//! slow down before they are refused.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::{Duration, Instant};
use trunkline_agent::SessionOptions;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::RefusalCode;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = BrokerConfig::ephemeral();
    config.engine.inbox_ephemeral = 10;
    config.engine.warning = 50; // percent
    config.engine.pressure_pace = Duration::from_millis(100); // when it is all but full
    let broker = Broker::open(config).await?;
    for (obeys, skill) in [(true, "patient"), (false, "hasty")] {
        let to = Destination::skill(skill)?;
        let options = SessionOptions { obey_pressure: obeys, ..SessionOptions::default() };
        let session = broker.session_with(options).await?;
        let begun = Instant::now();
        let refusal = loop {
            if let Err(refusal) = session.tell(to.clone(), "x").await {
                break refusal;
            }
        };
        let took = begun.elapsed();
        println!("obeys: {obeys}, took {took:?}, pressure: {:?}", session.pressure(&to));
        assert_eq!(refusal.code, RefusalCode::InboxFull);
        assert!(!obeys || took > Duration::from_millis(100));
    }
    Ok(())
}
