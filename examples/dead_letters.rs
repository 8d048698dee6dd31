//! Dead letters: what ran out of attempts is kept with every attempt's reason, to be found, edited,
//! sent again or deleted.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_types::DeadLetterFilter;

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let agent = broker
        .agent("parser")
        .skill("parse", |task: Task| async move { Ok(task.text().parse::<u32>()?.to_string()) });
    let _agent = agent.start().await?;
    let session = broker.session().await?;
    for text in ["12x", "?"] {
        let send = session.send(Destination::skill("parse")?, text).attempts(2);
        println!("{}", send.wait().await.expect_err("it is no number"));
    }
    let filter = DeadLetterFilter { reason: Some("digit".into()), ..DeadLetterFilter::default() };
    let letters = session.dead_letters(filter.clone()).await?.letters;
    for letter in &letters {
        let (text, attempts) = (letter.publish.envelope.payload.to_text(), &letter.attempts);
        println!("'{text}' failed {} times, at last: {}", attempts.len(), attempts[1].reason);
    }
    let again =
        session.redrive(letters[1].address()).payload("12").priority(Priority::High).await?;
    session.purge(letters[0].address()).await?;
    assert_eq!(session.wait(again).await?.text(), "12");
    assert!(session.dead_letters(filter).await?.letters.is_empty());
    Ok(())
}
