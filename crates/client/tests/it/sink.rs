//! A sink that shows a test what it was told, in order.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;
use trunkline_types::session::{SessionItem, Sink, Welcome};

/// Longer than anything takes here, so that a test that waits for nothing fails.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// What a sink was told.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Item(SessionItem),
    Reconnected(Welcome),
}

struct Teller(UnboundedSender<Told>);

impl Sink for Teller {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        for item in items.drain(..) {
            let _ = self.0.send(Told::Item(item));
        }
    }

    fn reconnected(&self, welcome: &Welcome) {
        let _ = self.0.send(Told::Reconnected(welcome.clone()));
    }
}

/// The test's end of a sink.
pub(crate) struct Ear(UnboundedReceiver<Told>);

pub(crate) fn sink() -> (Arc<dyn Sink>, Ear) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Teller(sender)), Ear(receiver))
}

impl Ear {
    pub(crate) async fn next(&mut self) -> Told {
        timeout(PATIENCE, self.0.recv()).await.expect("told in time").expect("the sink is held")
    }

    pub(crate) async fn item(&mut self) -> SessionItem {
        match self.next().await {
            Told::Item(item) => item,
            Told::Reconnected(welcome) => panic!("reconnected: {welcome:?}"),
        }
    }

    pub(crate) async fn reconnected(&mut self) -> Welcome {
        match self.next().await {
            Told::Reconnected(welcome) => welcome,
            Told::Item(item) => panic!("not reconnected: {item:?}"),
        }
    }

    /// Waits until the session has let go of its sink, and returns what it was told until then.
    pub(crate) async fn rest(mut self) -> Vec<Told> {
        let mut rest = Vec::new();
        while let Some(told) = timeout(PATIENCE, self.0.recv()).await.expect("the session ends") {
            rest.push(told);
        }
        rest
    }
}
