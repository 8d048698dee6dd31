//! What flows through a broker, and what may come in its way: full inboxes, clocks, restarts.

mod clocks;
mod events;
mod headers;
mod ids;
mod leases;
mod outside;

use crate::stage::{Peer, Stage};
use trunkline_engine::{Command, Effect};
use trunkline_types::session::{ClientFrame, Credit, Subscription};
use trunkline_types::{Durability, Publish};

pub(crate) fn to(pattern: &str) -> Subscription {
    Subscription::new(pattern.parse().unwrap())
}

pub(crate) fn kept(pattern: &str) -> Subscription {
    Subscription { durable: true, ..to(pattern) }
}

pub(crate) fn credit(stage: &mut Stage, peer: &Peer, deliveries: u32, events: u32) -> Vec<Effect> {
    let frame = ClientFrame::Credit(Credit { deliveries, events });
    stage.handle(Command::Frame { connection: peer.connection, frame, verdicts: Vec::new() })
}

pub(crate) fn synced(mut publish: Publish) -> Publish {
    publish.options.durability = Some(Durability::Synced);
    publish
}
