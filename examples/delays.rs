//! Work that is not to be begun yet: after a delay, or not before a time of the broker's clock.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::{Duration, Instant};
use trunkline_agent::{now, prelude::*};
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::{CopyState, TaskState};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let agent = broker.agent("clock").skill("remind", |_: Task| async { Ok("now") });
    let _agent = agent.start().await?;
    let session = broker.session().await?;

    let begun = Instant::now();
    let span = Duration::from_millis(200);
    let send = || session.send(Destination::skill("remind").expect("a name"), "");
    let delayed = send().delay(span).await?.id;
    // With both, the later of the two counts.
    let both = send().delay(span).not_before(now().after(span * 2)).await?.id;
    let later = send().delay(Duration::from_hours(1)).await?.id;
    assert_eq!(session.message(later).await?.copies[0].state, CopyState::Delayed);
    for (id, span) in [(delayed, span), (both, span * 2)] {
        session.wait(id).await?;
        println!("{id} was done after {:?}", begun.elapsed());
        // A wall clock counts in whole milliseconds.
        assert!(begun.elapsed() + Duration::from_millis(1) >= span);
        assert_eq!(session.task(id).await?.state, TaskState::Completed);
    }
    Ok(())
}
