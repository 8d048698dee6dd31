//! The ways in which a machine stops, and what must be there afterwards.

use super::{Peer, card, get, hello, on, task};
use std::time::Duration;
use trunkline_broker::{Broker, BrokerConfig};
use trunkline_log::{Loss, MemoryDisk};
use trunkline_types::{Durability, Outcome, TaskState};

/// Flushes what somebody waits for and nothing else.
fn unhurried(disk: &MemoryDisk) -> BrokerConfig {
    let mut config = on(disk);
    config.log.flush_within = Duration::from_hours(1);
    config
}

/// A broker of which all is on disk that it began with.
pub(crate) async fn open(disk: &MemoryDisk) -> Broker {
    let broker = Broker::open(unhurried(disk)).await.unwrap();
    // Welcomed only once it is registered on disk, and everything before it is.
    let first = Peer::open(&broker, hello(90, Some(card("y", "first")))).await.unwrap();
    first.connection.close();
    broker
}

/// A way in which the machine stops.
pub(crate) struct Stop {
    level: Durability,
    loss: Loss,
    disk: MemoryDisk,
    /// Whether what was confirmed last must be there afterwards; `None` if that is open.
    kept: Option<bool>,
}

impl Stop {
    /// The broker that is opened afterwards.
    pub(crate) async fn open(&self) -> Broker {
        let Self { level, loss, .. } = self;
        let opened = Broker::open(unhurried(&self.disk)).await;
        opened.unwrap_or_else(|error| panic!("{level}, {loss:?}: {error}"))
    }

    /// Whether what was confirmed last is there, as it must be.
    pub(crate) fn judged(&self, there: bool) -> bool {
        let Self { level, loss, kept, .. } = self;
        assert!(kept.is_none_or(|kept| kept == there), "{level}, {loss:?}: there: {there}");
        there
    }

    /// The broker takes new work and gets it done.
    pub(crate) async fn works_on(&self, broker: &Broker) {
        let mut sender = Peer::open(broker, hello(91, None)).await.unwrap();
        let mut agent = Peer::open(broker, hello(92, Some(card("z", "later")))).await.unwrap();
        let work = task("later", "x");
        let id = work.envelope.id;
        sender.publish(work).await.unwrap();
        let delivery = agent.delivery().await;
        let number = agent.settle(delivery.token, Outcome::Complete { reply: None });
        agent.answer(number).await.unwrap();
        let state = get(broker, id).await.unwrap().state;
        assert_eq!(state, TaskState::Completed, "{}, {:?}", self.level, self.loss);
    }
}

/// Every way in which the machine can stop at this moment. `level` is that of what was confirmed
/// last: what is `synced` is flushed, and everything else is written, as nothing has been flushed
/// since.
pub(crate) fn stops(disk: &MemoryDisk, level: Durability) -> Vec<Stop> {
    let torn = (0..8).map(Loss::Torn);
    [Loss::Nothing, Loss::Unsynced]
        .into_iter()
        .chain(torn)
        .map(|loss| {
            let disk = disk.fork();
            disk.crash(loss);
            let kept = match loss {
                _ if level == Durability::Synced => Some(true),
                Loss::Nothing => Some(true),
                Loss::Unsynced => Some(false),
                Loss::Torn(_) => None,
            };
            Stop { level, loss, disk, kept }
        })
        .collect()
}
