//! A way to the broker that takes note of all that passes.
//!
//! It stands between the agent runtime and the client, where every publish, delivery, settlement
//! and answer passes in the words of the protocol. So the load is made with the public interface
//! alone, and still nothing that the broker says goes unrecorded.

use super::ledger::Ledger;
use crate::output::units::now;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use trunkline_client::Client;
use trunkline_types::session::{
    BoxFuture, ClientFrame, Connected, Connection, Connector, Hello, Operation, SessionItem, Sink,
    Welcome,
};
use trunkline_types::{Answer, MessageId, Query, Refusal, Token, WallTime};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    client: Client,
    ledger: Arc<Ledger>,
}

impl Witness {
    pub(super) fn new(client: Client, ledger: Arc<Ledger>) -> Self {
        Self { client, ledger }
    }
}

impl Connector for Witness {
    fn connect(
        &self,
        hello: Hello,
        sink: Arc<dyn Sink>,
    ) -> BoxFuture<'_, Result<Connected, Refusal>> {
        let ear = Arc::new(Ear { ledger: Arc::clone(&self.ledger), said: Mutex::default(), sink });
        Box::pin(async move {
            let sink: Arc<dyn Sink> = ear.clone();
            let Connected { connection, welcome } = self.client.connect(hello, sink).await?;
            let connection = Arc::new(Mouth { ear, connection });
            Ok(Connected { connection, welcome })
        })
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<Answer, Refusal>> {
        self.client.query(query)
    }
}

/// What a session said under a number.
enum Said {
    Publish(MessageId),
    Settle(Token),
    Other,
}

/// Hears what the broker says to a session.
struct Ear {
    ledger: Arc<Ledger>,
    /// What was said when and is not answered yet. A lock, because answers come on other threads.
    said: Mutex<HashMap<u64, (Said, WallTime)>>,
    sink: Arc<dyn Sink>,
}

impl Ear {
    fn say(&self, first: u64, operations: &[Operation]) {
        self.ledger.said(operations.len());
        let at = now();
        let mut said = self.said.lock();
        for (number, operation) in (first..).zip(operations) {
            let noted = match operation {
                Operation::Publish(publish) => {
                    self.ledger.published(publish);
                    Said::Publish(publish.envelope.id)
                }
                Operation::Settle(settle) => {
                    self.ledger.settling(settle);
                    Said::Settle(settle.token)
                }
                _ => Said::Other,
            };
            said.insert(number, (noted, at));
        }
    }

    /// Takes an operation's first answer; a second one finds nothing.
    fn answered(&self, number: u64) -> Option<Said> {
        let (said, at) = self.said.lock().remove(&number)?;
        self.ledger.answered(at);
        Some(said)
    }

    fn hear(&self, item: &SessionItem) {
        match item {
            SessionItem::Done { first, last } => {
                for number in *first..=*last {
                    match self.answered(number) {
                        Some(Said::Publish(id)) => self.ledger.accepted(id, None),
                        Some(Said::Settle(token)) => self.ledger.settled(token, Ok(())),
                        Some(Said::Other) | None => {}
                    }
                }
            }
            SessionItem::Accepted(accepted) => {
                if let Some(Said::Publish(id)) = self.answered(accepted.operation) {
                    self.ledger.accepted(id, Some(accepted));
                }
            }
            SessionItem::Refused { operation, refusal } => match self.answered(*operation) {
                Some(Said::Publish(id)) => self.ledger.refused(id, refusal),
                Some(Said::Settle(token)) => self.ledger.settled(token, Err(refusal.clone())),
                Some(Said::Other) | None => {}
            },
            SessionItem::Delivery(delivery) => self.ledger.delivered(delivery),
            SessionItem::GoAway { reason, reconnect: false } => self.ledger.dismissed(reason),
            SessionItem::Event(_)
            | SessionItem::Canceled(_)
            | SessionItem::Reply(_)
            | SessionItem::Task { .. }
            | SessionItem::Cancel { .. }
            | SessionItem::Gathered(_)
            | SessionItem::Pressure(_)
            | SessionItem::Agent(_)
            | SessionItem::Drain { .. }
            | SessionItem::GoAway { .. } => {}
        }
    }
}

impl Sink for Ear {
    fn accept(&self, items: &mut Vec<SessionItem>) {
        for item in items.iter() {
            self.hear(item);
        }
        self.sink.accept(items);
    }

    fn reconnected(&self, welcome: &Welcome) {
        self.ledger.reconnected(welcome);
        self.sink.reconnected(welcome);
    }
}

/// Passes on what a session says.
struct Mouth {
    ear: Arc<Ear>,
    connection: Arc<dyn Connection>,
}

impl Connection for Mouth {
    fn send(&self, frame: ClientFrame) {
        if let ClientFrame::Operations { first, operations } = &frame {
            self.ear.say(*first, operations);
        }
        self.connection.send(frame);
    }

    fn close(&self) {
        self.connection.close();
    }
}
