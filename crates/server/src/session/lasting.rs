//! Payloads that outlast the frame in which they came.
//!
//! What a frame brings are slices of it, and a slice keeps all of the frame, and of the buffer it was
//! read into. That is well for what goes on at once, and not for a payload that may wait for hours: it
//! gets memory of its own, so that the bounds on payloads are bounds on memory.

use bytes::Bytes;
use std::sync::Arc;
use trunkline_types::Payload;
use trunkline_types::session::{Operation, Update, UpdateBody};

/// Parts what the broker keeps from the frame that it came in.
pub(super) fn part(operations: &mut [Operation]) {
    for operation in operations {
        match operation {
            Operation::Publish(publish) if publish.durability().is_logged() => {
                // Just decoded, so that nobody else has it.
                if let Some(publish) = Arc::get_mut(publish) {
                    part_payload(&mut publish.envelope.payload);
                }
            }
            Operation::Update(Update { body: UpdateBody::Artifact(chunk), .. }) => {
                part_payload(&mut chunk.payload);
            }
            Operation::Continue { payload, .. } => part_payload(payload),
            _ => {}
        }
    }
}

fn part_payload(payload: &mut Payload) {
    payload.data = Bytes::copy_from_slice(&payload.data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::session::Operation;
    use trunkline_types::{
        Destination, Durability, Envelope, IdSource, Kind, Partition, Publish, PublishOptions,
    };

    fn publish(data: Bytes, durability: Durability) -> Operation {
        let to = Destination::Skill("work".parse().unwrap());
        let id = IdSource::new(1).next(1, Partition(0));
        let envelope = Envelope::new(id, Kind::Request, to, Payload::new("text/plain", data));
        let options = PublishOptions { durability: Some(durability), ..PublishOptions::default() };
        Operation::Publish(Arc::new(Publish { envelope, options }))
    }

    fn data(operation: &Operation) -> &Bytes {
        let Operation::Publish(publish) = operation else { panic!("{operation:?}") };
        &publish.envelope.payload.data
    }

    #[test]
    fn what_may_wait_for_long_lets_go_of_its_frame_and_what_goes_on_is_not_copied() {
        let frame = Bytes::from(vec![7; 64 << 10]);
        let mut operations =
            [Durability::Synced, Durability::Ephemeral].map(|d| publish(frame.slice(5..261), d));
        part(&mut operations);
        let [kept, passing] = &operations;
        assert_eq!(data(kept), data(passing));
        let inside = frame.as_ptr_range();
        assert!(!inside.contains(&data(kept).as_ptr()));
        assert!(inside.contains(&data(passing).as_ptr()));
    }
}
