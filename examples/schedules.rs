//! A message that recurs: a cron expression, here with seconds, read in a time zone.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{DUE_HEADER, Schedule, ScheduleFilter};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let mut ticks = broker.subscribe("clock.tick".parse()?).await?;
    let publish = Arc::new(broker.publish("clock.tick".parse()?, "tick").into_publish());
    let (name, zone) = ("every-second".parse()?, "Europe/Berlin".into());
    let schedule = Schedule { name, cron: "* * * * * *".into(), zone, publish };
    broker.set_schedule(schedule.clone()).await?;

    let mut due = Vec::new();
    for _ in 0..2 {
        let tick = timeout(Duration::from_mins(1), ticks.next()).await?.ok_or("no more")?;
        let header = tick.envelope().headers.iter().find(|(name, _)| name == DUE_HEADER);
        due.push(header.ok_or("when was it due?")?.1.parse::<u64>()?);
        println!("{} was due at {} ms", tick.payload().to_text(), due[due.len() - 1]);
    }
    assert!(due[0] < due[1] && due.iter().all(|at| at % 1000 == 0));
    let page = broker.schedules(ScheduleFilter::default()).await?;
    assert!(page.schedules[0].fired >= 2);
    broker.remove_schedule(schedule.name.clone()).await?;

    let never = Schedule { cron: "0 0 30 2 *".into(), ..schedule };
    println!("{}", broker.set_schedule(never).await.expect_err("there is no 30 February"));
    Ok(())
}
