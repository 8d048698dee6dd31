//! How much memory an item takes while it waits, near enough to bound it.

use trunkline_types::session::SessionItem;
use trunkline_types::{
    AgentInfo, Failure, GatheredPart, Payload, Publish, TaskEventBody, TaskUpdate,
};

/// Counted for every item besides what it points to.
const FIXED: usize = 128;

/// The bytes of an item. What is shared with the broker counts in full: the broker may let go
/// of it while it waits here.
pub(crate) fn weight(item: &SessionItem) -> usize {
    let more = match item {
        SessionItem::Done { .. }
        | SessionItem::Accepted(_)
        | SessionItem::Canceled(_)
        | SessionItem::Pressure(_) => 0,
        SessionItem::Refused { refusal, .. } => refusal.message.len(),
        SessionItem::Delivery(delivery) => {
            publish(&delivery.publish)
                + delivery.messages.iter().map(payload).sum::<usize>()
                + size_of_val(&*delivery.missed)
        }
        SessionItem::Event(event) => publish(&event.publish),
        SessionItem::Reply(reply) => result(&reply.result),
        SessionItem::Gathered(gathered) => {
            let part = |part: &GatheredPart| size_of_val(part) + result(&part.result);
            gathered.parts.iter().map(part).sum()
        }
        SessionItem::Agent(news) => agent(&news.agent),
        SessionItem::Task { update, .. } => task(update),
        SessionItem::Cancel { reason, .. }
        | SessionItem::Drain { reason }
        | SessionItem::GoAway { reason, .. } => reason.len(),
    };
    FIXED + more
}

fn payload(payload: &Payload) -> usize {
    payload.content_type.len() + payload.data.len()
}

fn result(result: &Result<Payload, Failure>) -> usize {
    match result {
        Ok(answer) => payload(answer),
        Err(failure) => failure.reason.len(),
    }
}

fn agent(AgentInfo { card, breakers, .. }: &AgentInfo) -> usize {
    let texts =
        card.types.iter().chain(&card.capabilities).map(|text| size_of_val(text) + text.len());
    let skills = card.skills.iter().map(|skill| size_of_val(skill) + skill.as_str().len());
    let labels = card.labels.iter().map(|pair| size_of_val(pair) + pair.0.len() + pair.1.len());
    size_of::<AgentInfo>()
        + card.name.len()
        + card.description.len()
        + texts.chain(skills).chain(labels).sum::<usize>()
        + size_of_val(breakers.as_slice())
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
