//! The bounds of the protocol itself. A broker's own limits are narrower.
//!
//! Decoding refuses what is over them, which ends the connection; so a sender checks each
//! operation with [`check_operation`] first, and only that operation is refused.

use trunkline_types::session::{Operation, UpdateBody};
use trunkline_types::{Destination, Outcome, Payload, Publish, Refusal, RefusalCode};

/// The largest frame in bytes: what both sides accept.
pub const FRAME_BYTES: usize = 16 << 20;

/// A sender closes a frame when it has at least this many bytes, so that a frame has room for one
/// more operation of any allowed size.
pub const FRAME_FULL_BYTES: usize = 256 << 10;

/// The longest free text (a reason, a header's name or value, a description) in bytes.
pub const TEXT_BYTES: usize = 64 << 10;

/// The largest operation in bytes: half a frame, so that one always fits beside a full frame.
const OPERATION_BYTES: usize = FRAME_BYTES / 2 + (1 << 20);

const _: () = assert!(FRAME_FULL_BYTES + OPERATION_BYTES < FRAME_BYTES);

/// Estimates an operation's size in a frame (never under by more than its fixed fields, about
/// 200 bytes) and checks it against the bounds of the protocol.
///
/// # Errors
/// A [`Refusal`] with code `too-large` that names the part, its size and the bound.
pub fn check_operation(operation: &Operation) -> Result<usize, Refusal> {
    let mut size = Size { bytes: 0, longest: ("", 0) };
    match operation {
        Operation::Publish(publish) => size.publish(publish),
        Operation::Settle(settle) => match &settle.outcome {
            Outcome::Complete { reply: payload } | Outcome::Pause { message: payload, .. } => {
                if let Some(payload) = payload {
                    size.payload(payload);
                }
            }
            Outcome::Fail { reason }
            | Outcome::Reject { reason }
            | Outcome::Retry { reason, .. }
            | Outcome::DeadLetter { reason } => size.text("the reason", reason),
            Outcome::Release => {}
        },
        Operation::Update(update) => match &update.body {
            UpdateBody::Started => {}
            UpdateBody::Progress(progress) => size.text("the progress text", &progress.text),
            UpdateBody::Artifact(chunk) => {
                size.text("the artifact's name", &chunk.name);
                size.payload(&chunk.payload);
            }
        },
        Operation::Cancel { reason, .. } => size.text("the reason", reason),
        Operation::Continue { payload, .. } => size.payload(payload),
        Operation::Subscribe(subscription) | Operation::Unsubscribe(subscription) => {
            size.bytes += subscription.filter.as_ref().map_or(0, |filter| filter.as_str().len());
        }
        Operation::Redrive(redrive) => {
            if let Some(payload) = &redrive.payload {
                size.payload(payload);
            }
            if let Some(destination) = &redrive.destination {
                size.destination(destination);
            }
        }
        Operation::SetInbox { change, .. } => {
            for binding in change.bindings.iter().flatten() {
                size.label(&binding.key, &binding.value);
            }
        }
        Operation::SetSchedule(schedule) => {
            size.text("the cron expression", &schedule.cron);
            size.text("the time zone", &schedule.zone);
            size.publish(&schedule.publish);
        }
        Operation::WatchAgents(filter) => {
            for text in [&filter.agent_type, &filter.capability].into_iter().flatten() {
                size.text("a text of the filter", text);
            }
            for (key, value) in &filter.labels {
                size.label(key, value);
            }
        }
        Operation::Watch { .. }
        | Operation::Unwatch { .. }
        | Operation::Purge(_)
        | Operation::SetAgent { .. }
        | Operation::Unregister { .. }
        | Operation::RemoveSchedule { .. }
        | Operation::UnwatchAgents => {}
    }
    size.finish()
}

/// Adds up an operation and remembers its longest text.
struct Size {
    bytes: usize,
    longest: (&'static str, usize),
}

impl Size {
    /// What the fixed fields of an operation take at most, roughly.
    const FIXED: usize = 200;

    fn text(&mut self, what: &'static str, text: &str) {
        self.bytes += text.len();
        if text.len() > self.longest.1 {
            self.longest = (what, text.len());
        }
    }

    fn payload(&mut self, payload: &Payload) {
        self.bytes += payload.data.len();
        self.text("the content type", &payload.content_type);
    }

    fn label(&mut self, key: &str, value: &str) {
        self.text("a label's key", key);
        self.text("a label's value", value);
        self.bytes += 10;
    }

    fn publish(&mut self, publish: &Publish) {
        let envelope = &publish.envelope;
        self.payload(&envelope.payload);
        for (name, value) in &envelope.headers {
            self.text("a header's name", name);
            self.text("a header's value", value);
            self.bytes += 8;
        }
        if let Some(text) = &envelope.traceparent {
            self.text("traceparent", text);
        }
        self.destination(&envelope.destination);
    }

    fn destination(&mut self, destination: &Destination) {
        if let Destination::Agents(ids) = destination {
            self.bytes += ids.iter().map(|id| id.as_str().len() + 4).sum::<usize>();
        }
    }

    fn finish(self) -> Result<usize, Refusal> {
        let (what, longest) = self.longest;
        let too_large = |what: &str, size: usize, bound: usize| {
            let message = format!("{what} has {size} bytes, the bound of the protocol is {bound}");
            Err(Refusal::new(RefusalCode::TooLarge, message))
        };
        if longest > TEXT_BYTES {
            return too_large(what, longest, TEXT_BYTES);
        }
        let bytes = self.bytes + Self::FIXED;
        if bytes > OPERATION_BYTES {
            return too_large("the operation", bytes, OPERATION_BYTES);
        }
        Ok(bytes)
    }
}
