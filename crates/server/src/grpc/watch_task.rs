//! Following a task to its end.

use super::watch::{Followed, WatchStream};
use crate::hub::Hub;
use std::time::Duration;
use trunkline_proto::v1;
use trunkline_types::session::{Connector, Operation, SessionItem};
use trunkline_types::{Answer, MessageId, Query, Refusal, RefusalCode, TaskEventBody, TaskUpdate};

/// A task that is followed.
pub(crate) struct FollowedTask {
    /// The number of the last event there will be, if the task had ended when the watch began.
    last_event: Option<u64>,
}

/// Follows a task from the event after `after`.
pub(crate) async fn watch_task(
    hub: &Hub,
    connector: &dyn Connector,
    (task, after): (MessageId, u64),
    time_left: Option<Duration>,
) -> Result<WatchStream<FollowedTask>, Refusal> {
    // Besides saying at once that there is no such task, this tells whether there will be news.
    let Answer::Task(snapshot) = connector.query(Query::task(task)).await? else {
        return Err(Refusal::new(RefusalCode::Unavailable, "the broker's answer is no task"));
    };
    let last_event = snapshot.state.is_terminal().then_some(snapshot.last_event);
    let watch = (last_event != Some(after)).then_some(Operation::Watch { task, after });
    WatchStream::open(hub, connector, FollowedTask { last_event }, watch, time_left).await
}

impl Followed for FollowedTask {
    type News = TaskUpdate;
    type Wire = v1::TaskUpdate;

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
