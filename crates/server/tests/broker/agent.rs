//! A session over the stream.

use super::messages::hello;
use super::running::{Running, soon};
use futures_util::stream;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tonic::Streaming;
use trunkline_proto::v1;
use trunkline_types::session::{
    ClientFrame, Credit, Delivery, Hello, Operation, SessionItem, Welcome,
};
use trunkline_types::{AgentCard, Outcome, Settle, Token};

/// A session over the stream.
pub(crate) struct Agent {
    frames: mpsc::UnboundedSender<v1::ClientFrame>,
    inbound: Streaming<v1::ServerFrame>,
    items: VecDeque<SessionItem>,
    next_operation: u64,
    pub(crate) hello: Hello,
    pub(crate) welcome: Welcome,
}

impl Agent {
    /// An agent with one skill that is willing to hold eight deliveries.
    pub(crate) async fn connect(server: &Running, id: &str, skill: &str) -> Self {
        Self::connect_as(server, 1, id, skill).await
    }

    /// The same with a session id of its own, for one of several.
    pub(crate) async fn connect_as(server: &Running, session: u128, id: &str, skill: &str) -> Self {
        let mut card = AgentCard::new(id.parse().unwrap());
        card.skills.push(skill.parse().unwrap());
        let credit = Credit { deliveries: 8, events: 8 };
        Self::connect_with(server, Hello { card: Some(card), credit, ..hello(session) }).await
    }

    /// A session that introduces itself so.
    pub(crate) async fn connect_with(server: &Running, hello: Hello) -> Self {
        let (frames, receiver) = mpsc::unbounded_channel();
        let next_operation = hello.next_operation;
        frames.send(hello.clone().into()).unwrap();
        let outbound = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|frame| (frame, receiver))
        });
        let mut inbound = server.client().await.connect(outbound).await.unwrap().into_inner();
        let first = soon(inbound.message()).await.unwrap().unwrap();
        let welcome = first.welcome.unwrap().try_into().unwrap();
        Self { frames, inbound, items: VecDeque::new(), next_operation, hello, welcome }
    }

    pub(crate) fn send(&self, frame: ClientFrame) {
        self.frames.send(frame.into()).unwrap();
    }

    pub(crate) fn operate(&mut self, operation: Operation) {
        let first = self.next_operation;
        self.next_operation += 1;
        self.send(ClientFrame::Operations { first, operations: vec![operation] });
    }

    /// The number of the operation that was sent last.
    pub(crate) fn last_operation(&self) -> u64 {
        self.next_operation - 1
    }

    pub(crate) fn settle(&mut self, token: Token, outcome: Outcome) {
        self.operate(Operation::Settle(Settle { token, outcome }));
    }

    /// The next item.
    pub(crate) async fn item(&mut self) -> SessionItem {
        while self.items.is_empty() {
            let frame = soon(self.inbound.message()).await.unwrap().expect("the stream goes on");
            self.items.extend(frame.items.into_iter().map(|item| item.try_into().unwrap()));
        }
        self.items.pop_front().unwrap()
    }

    /// The next delivery; what comes before it is passed over.
    pub(crate) async fn delivery(&mut self) -> Delivery {
        loop {
            if let SessionItem::Delivery(delivery) = self.item().await {
                return delivery;
            }
        }
    }

    /// The next item that is wanted; what comes before it is passed over.
    pub(crate) async fn until<T>(&mut self, wanted: impl Fn(SessionItem) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.item().await) {
                return found;
            }
        }
    }

    /// Waits until an operation is done.
    pub(crate) async fn answered(&mut self, number: u64) {
        loop {
            match self.item().await {
                SessionItem::Done { first, last } if (first..=last).contains(&number) => return,
                SessionItem::Accepted(accepted) if accepted.operation == number => return,
                SessionItem::Refused { operation, refusal } if operation == number => {
                    panic!("{refusal:?}")
                }
                _ => {}
            }
        }
    }
}
