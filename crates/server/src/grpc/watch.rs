//! Following a task over one response stream, through a small session of its own.

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
use trunkline_proto::v1;
use trunkline_types::session::{
    ClientFrame, Connected, Connector, Credit, Hello, Operation, SessionItem,
};
use trunkline_types::{Answer, MessageId, Query, Refusal, RefusalCode, TaskEventBody, TaskUpdate};

/// The news of one task.
pub(crate) struct WatchStream {
    outbox: Arc<Outbox>,
    batch: Vec<SessionItem>,
    news: VecDeque<TaskUpdate>,
    /// The number of the last event there will be, if the task had ended when the watch began.
    last_event: Option<u64>,
    /// When the caller's patience ends, and how long it was.
    deadline: Option<(Pin<Box<Sleep>>, Duration)>,
    is_over: bool,
    _place: Place,
}

/// Follows a task from the event after `after`.
pub(crate) async fn watch(
    hub: &Hub,
    connector: &dyn Connector,
    (task, after): (MessageId, u64),
    time_left: Option<Duration>,
) -> Result<WatchStream, Refusal> {
    // Besides saying at once that there is no such task, this tells whether there will be news.
    let Answer::Task(snapshot) = connector.query(Query::Task(task)).await? else {
        return Err(Refusal::new(RefusalCode::Unavailable, "the broker's answer is no task"));
    };
    let last_event = snapshot.state.is_terminal().then_some(snapshot.last_event);
    let (outbox, place) = hub.streams.open(hub.config.max_waiting_bytes);
    let is_over = last_event == Some(after);
    if !is_over {
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
        let operations = vec![Operation::Watch { task, after }];
        connection.send(ClientFrame::Operations { first: 1, operations });
    }
    Ok(WatchStream {
        outbox,
        batch: Vec::new(),
        news: VecDeque::new(),
        last_event,
        deadline: time_left.map(|span| (Box::pin(tokio::time::sleep(span)), span)),
        is_over,
        _place: place,
    })
}

impl WatchStream {
    fn is_last(&self, update: &TaskUpdate) -> bool {
        match update {
            TaskUpdate::Event(event) => {
                matches!(&event.body, TaskEventBody::Status { state, .. } if state.is_terminal())
            }
            TaskUpdate::Gap { last, .. } => self.last_event.is_some_and(|end| *last >= end),
            TaskUpdate::Progress(_) => false,
        }
    }

    /// Takes one item; a refusal or the broker's farewell ends the stream.
    fn take(&mut self, item: SessionItem) {
        match item {
            SessionItem::Task { update, .. } => self.news.push_back(update),
            SessionItem::Refused { refusal, .. } => self.outbox.end(Err(from_refusal(&refusal))),
            SessionItem::GoAway { reason, .. } => {
                let refusal = Refusal::new(RefusalCode::Unavailable, reason);
                self.outbox.end(Err(from_refusal(&refusal)));
            }
            // The session has no card, no credit, no subscriptions and publishes nothing.
            SessionItem::Done { .. }
            | SessionItem::Accepted(_)
            | SessionItem::Delivery(_)
            | SessionItem::Event(_)
            | SessionItem::Reply(_)
            | SessionItem::Cancel { .. } => {}
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

impl Stream for WatchStream {
    type Item = Result<v1::TaskUpdate, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(update) = this.news.pop_front() {
                if this.is_last(&update) {
                    this.news.clear();
                    this.close();
                }
                return Poll::Ready(Some(Ok(update.into())));
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

impl Drop for WatchStream {
    fn drop(&mut self) {
        self.close();
    }
}
