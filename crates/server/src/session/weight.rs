//! How much memory an item takes while it waits, near enough to bound it.

use trunkline_types::session::SessionItem;
use trunkline_types::{Payload, Publish, TaskEventBody, TaskUpdate};

/// Counted for every item besides what it points to.
const FIXED: usize = 128;

/// The bytes of an item. What is shared with the broker counts in full: the broker may let go
/// of it while it waits here.
pub(crate) fn weight(item: &SessionItem) -> usize {
    let more = match item {
        SessionItem::Done { .. } | SessionItem::Accepted(_) => 0,
        SessionItem::Refused { refusal, .. } => refusal.message.len(),
        SessionItem::Delivery(delivery) => {
            publish(&delivery.publish) + delivery.messages.iter().map(payload).sum::<usize>()
        }
        SessionItem::Event(event) => publish(&event.publish),
        SessionItem::Reply(reply) => match &reply.result {
            Ok(answer) => payload(answer),
            Err(failure) => failure.reason.len(),
        },
        SessionItem::Task { update, .. } => task(update),
        SessionItem::Cancel { reason, .. } | SessionItem::GoAway { reason, .. } => reason.len(),
    };
    FIXED + more
}

fn payload(payload: &Payload) -> usize {
    payload.content_type.len() + payload.data.len()
}

fn publish(publish: &Publish) -> usize {
    let envelope = &publish.envelope;
    let headers = envelope.headers.iter().map(|(name, value)| name.len() + value.len());
    payload(&envelope.payload) + headers.sum::<usize>()
}

fn task(update: &TaskUpdate) -> usize {
    match update {
        TaskUpdate::Progress(progress) => progress.text.len(),
        TaskUpdate::Gap { .. } => 0,
        TaskUpdate::Event(event) => match &event.body {
            TaskEventBody::Status { reason, .. } => reason.as_ref().map_or(0, String::len),
            TaskEventBody::Artifact(chunk) => payload(&chunk.payload),
            TaskEventBody::Message { payload: said, .. } => payload(said),
        },
    }
}
