//! Following something over one response stream, through a small session of its own.

use super::deadline::too_late;
use crate::hub::Hub;
use crate::session::{BrokerSide, Outbox, Place};
use futures_util::Stream;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;
use tonic::Status;
use trunkline_proto::status::from_refusal;
use trunkline_types::session::{
    ClientFrame, Connected, Connector, Credit, Hello, Operation, SessionItem,
};
use trunkline_types::{Refusal, RefusalCode};

/// What a stream follows.
pub(crate) trait Followed: Unpin {
    /// What it is told.
    type News: Unpin;
    /// How that travels.
    type Wire: From<Self::News>;

    /// The news in an item, if there is any.
    fn news(item: SessionItem) -> Option<Self::News>;

    /// Whether nothing comes after these news.
    fn is_last(&self, news: &Self::News) -> bool;
}

/// The news of one thing that is followed.
pub(crate) struct WatchStream<F: Followed> {
    followed: F,
    outbox: Arc<Outbox>,
    batch: Vec<SessionItem>,
    news: VecDeque<F::News>,
    /// When the caller's patience ends, and how long it was.
    deadline: Option<(Pin<Box<Sleep>>, Duration)>,
    is_over: bool,
    _place: Place,
}

impl<F: Followed> WatchStream<F> {
    /// Follows what `operation` asks for; nothing at all, if there will be no news.
    pub(crate) async fn open(
        hub: &Hub,
        connector: &dyn Connector,
        followed: F,
        operation: Option<Operation>,
        time_left: Option<Duration>,
    ) -> Result<Self, Refusal> {
        let (outbox, place) = hub.streams.open(hub.config.max_waiting_bytes);
        let is_over = operation.is_none();
        if let Some(operation) = operation {
            let hello = Hello {
                session: hub.ids.session(),
                card: None,
                credit: Credit::default(),
                subscriptions: Vec::new(),
                next_operation: 1,
                held: Vec::new(),
            };
            let Connected { connection, .. } =
                connector.connect(hello, Arc::new(BrokerSide(outbox.clone()))).await?;
            outbox.attach(connection.clone());
            connection.send(ClientFrame::Operations { first: 1, operations: vec![operation] });
        }
        Ok(Self {
            followed,
            outbox,
            batch: Vec::new(),
            news: VecDeque::new(),
            deadline: time_left.map(|span| (Box::pin(tokio::time::sleep(span)), span)),
            is_over,
            _place: place,
        })
    }

    /// Takes one item; a refusal or the broker's farewell ends the stream.
    fn take(&mut self, item: SessionItem) {
        match item {
            SessionItem::Refused { refusal, .. } => self.outbox.end(Err(from_refusal(&refusal))),
            SessionItem::GoAway { reason, .. } => {
                let refusal = Refusal::new(RefusalCode::Unavailable, reason);
                self.outbox.end(Err(from_refusal(&refusal)));
            }
            item => self.news.extend(F::news(item)),
        }
    }

    /// Says goodbye: nothing of this session is worth keeping.
    fn close(&mut self) {
        self.is_over = true;
        if let Some(connection) = self.outbox.connection() {
            connection.close();
        }
        self.outbox.end(Ok(()));
    }
}

impl<F: Followed> Stream for WatchStream<F> {
    type Item = Result<F::Wire, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(news) = this.news.pop_front() {
                if this.followed.is_last(&news) {
                    this.news.clear();
                    this.close();
                }
                return Poll::Ready(Some(Ok(news.into())));
            }
            if this.is_over {
                return Poll::Ready(None);
            }
            if let Some((sleep, span)) = &mut this.deadline
                && sleep.as_mut().poll(context).is_ready()
            {
                let status = too_late(*span);
                this.close();
                return Poll::Ready(Some(Err(status)));
            }
            match ready!(this.outbox.poll_take(context, &mut this.batch)) {
                None => {
                    let mut batch = std::mem::take(&mut this.batch);
                    batch.drain(..).for_each(|item| this.take(item));
                    this.batch = batch;
                }
                Some(end) => {
                    this.close();
                    return Poll::Ready(end.err().map(Err));
                }
            }
        }
    }
}

impl<F: Followed> Drop for WatchStream<F> {
    fn drop(&mut self) {
        self.close();
    }
}
