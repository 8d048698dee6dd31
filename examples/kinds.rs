//! Kinds of messages, and the ids that tie them together. Whatever a handler sends names its cause,
//! its root and its conversation: the runtime sees to it.

#![allow(clippy::print_stdout, reason = "it shows what happens")]

use std::time::Duration;
use tokio::{sync::mpsc, time::timeout};
use trunkline_agent::prelude::*;
use trunkline_broker::{Broker, BrokerConfig};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let broker = Broker::open(BrokerConfig::ephemeral()).await?;
    let (heard, mut hears) = mpsc::unbounded_channel();
    let boss = broker.agent("boss").workers(1..=1).on_message(move |task: Task| {
        let heard = heard.clone();
        async move { Ok(heard.send(task.envelope().clone())?) }
    });
    let boss = boss.start().await?;
    let digger = broker.agent("digger").skill("dig", |task: Task| async move {
        task.report_status(Destination::agent("boss")?, "half way").await?;
        task.report_error(Destination::agent("boss")?, "a rock").await?;
        task.share_context(Destination::agent("boss")?, "a map").await?;
        task.respond("it is deep").await?; // to the agent that asked
        task.broadcast("mind the hole").await?;
        Ok("done")
    });
    let _digger = digger.start().await?;
    let request = boss.session().request(Destination::skill("dig")?, "").context("garden".parse()?);
    let id = request.timeout(Duration::from_mins(1)).await?.request;
    for kind in [Kind::Status, Kind::Error, Kind::ContextShare, Kind::Response, Kind::Broadcast] {
        let said = timeout(Duration::from_mins(1), hears.recv()).await?.ok_or("no more")?;
        println!("{}: {}, about {:?}", said.kind, said.payload.to_text(), said.correlation_id);
        assert_eq!((said.kind, said.causation_id, said.root_id), (kind, Some(id), Some(id)));
        assert_eq!(said.context_id, Some("garden".parse()?));
    }
    Ok(())
}
