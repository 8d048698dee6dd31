//! Following a task to its end.

use super::watch::{Followed, WatchStream};
use crate::hub::Hub;
use std::marker::PhantomData;
use std::time::Duration;
use trunkline_proto::v1;
use trunkline_types::session::{Connector, Operation, SessionItem};
use trunkline_types::{Answer, MessageId, Query, Refusal, RefusalCode, TaskEventBody, TaskUpdate};

/// A task that is followed, and as what its news travel.
pub(crate) struct FollowedTask<W = v1::TaskUpdate> {
    /// The number of the last event there will be, if the task had ended when the watch began.
    last_event: Option<u64>,
    wire: PhantomData<fn() -> W>,
}

/// Follows a task from the event after `after`.
pub(crate) async fn watch_task<W: From<TaskUpdate>>(
    hub: &Hub,
    connector: &dyn Connector,
    (task, after): (MessageId, u64),
    time_left: Option<Duration>,
) -> Result<WatchStream<FollowedTask<W>>, Refusal> {
    // Besides saying at once that there is no such task, this tells whether there will be news.
    let Answer::Task(snapshot) = connector.query(Query::task(task)).await? else {
        return Err(Refusal::new(RefusalCode::Unavailable, "the broker's answer is no task"));
    };
    let last_event = snapshot.state.is_terminal().then_some(snapshot.last_event);
    let watch = (last_event != Some(after)).then_some(Operation::Watch { task, after });
    let followed = FollowedTask { last_event, wire: PhantomData };
    WatchStream::open(hub, connector, followed, watch, time_left).await
}

impl<W: From<TaskUpdate>> Followed for FollowedTask<W> {
    type News = TaskUpdate;
    type Wire = W;

    fn news(item: SessionItem) -> Option<TaskUpdate> {
        match item {
            SessionItem::Task { update, .. } => Some(update),
            _ => None,
        }
    }

    fn is_last(&self, update: &TaskUpdate) -> bool {
        match update {
            TaskUpdate::Event(event) => {
                matches!(&event.body, TaskEventBody::Status { state, .. } if state.is_terminal())
            }
            TaskUpdate::Gap { last, .. } => self.last_event.is_some_and(|end| *last >= end),
            TaskUpdate::Progress(_) => false,
        }
    }
}
