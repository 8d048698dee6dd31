//! Payloads that outlast the frame in which they came.
//!
//! What a frame brings are slices of it, and a slice keeps all of the frame, and of the buffer it was
//! read into. That is well for what goes on at once, and not for a payload that may wait for hours: it
//! gets memory of its own, so that the bounds on payloads are bounds on memory.

use bytes::Bytes;
use std::sync::Arc;
use trunkline_types::session::{Operation, Update, UpdateBody};
use trunkline_types::{Outcome, Payload, Publish, Settle};

/// Parts what the broker may keep from the frame that it came in: what is logged, what tasks are told,
/// and answers, which an ended task keeps. What is ephemeral is not parted, unless it answers: it is
/// there to go on at once.
pub(super) fn part(operations: &mut [Operation]) {
    for operation in operations {
        match operation {
            Operation::Publish(publish) => part_publish(publish, publish.durability().is_logged()),
            Operation::SetSchedule(schedule) => part_publish(&mut schedule.publish, true),
            Operation::Update(Update { body: UpdateBody::Artifact(chunk), .. }) => {
                part_payload(&mut chunk.payload);
            }
            Operation::Continue { payload, .. } => part_payload(payload),
            Operation::Redrive(redrive) => redrive.payload.iter_mut().for_each(part_payload),
            Operation::Settle(Settle {
                outcome: Outcome::Complete { reply: said } | Outcome::Pause { message: said, .. },
                ..
            }) => said.iter_mut().for_each(part_payload),
            _ => {}
        }
    }
}

fn part_publish(publish: &mut Arc<Publish>, is_kept: bool) {
    // Just decoded, so that nobody else has it.
    if let Some(publish) = Arc::get_mut(publish).filter(|_| is_kept) {
        part_payload(&mut publish.envelope.payload);
    }
}

fn part_payload(payload: &mut Payload) {
    payload.data = Bytes::copy_from_slice(&payload.data);
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::session::{LetterAddress, Redrive};
    use trunkline_types::{
        ArtifactChunk, Destination, Durability, Envelope, Epoch, IdSource, Kind, MessageId,
        Partition, PauseReason, PublishOptions, Schedule, Token,
    };

    fn id() -> MessageId {
        IdSource::new(1).next(1, Partition(0))
    }

    fn publish(payload: Payload, durability: Durability) -> Arc<Publish> {
        let to = Destination::Skill("work".parse().unwrap());
        let envelope = Envelope::new(id(), Kind::Request, to, payload);
        let options = PublishOptions { durability: Some(durability), ..PublishOptions::default() };
        Arc::new(Publish { envelope, options })
    }

    /// One of each that may last, with a payload.
    fn lasting(payload: impl Fn() -> Payload) -> Vec<Operation> {
        let token = Token { epoch: Epoch(1), counter: 1 };
        let artifact =
            ArtifactChunk { name: "out".into(), append: false, last: true, payload: payload() };
        let letter = LetterAddress::from(id());
        let (destination, priority) = (None, None);
        let schedule = Schedule {
            name: "daily".parse().unwrap(),
            cron: "0 0 * * *".into(),
            zone: "UTC".into(),
            publish: publish(payload(), Durability::Ephemeral),
        };
        let paused = Outcome::Pause { reason: PauseReason::Input, message: Some(payload()) };
        vec![
            Operation::Publish(publish(payload(), Durability::Synced)),
            Operation::Publish(publish(payload(), Durability::Buffered)),
            Operation::SetSchedule(Box::new(schedule)),
            Operation::Update(Update { token, body: UpdateBody::Artifact(artifact) }),
            Operation::Continue { task: id(), payload: payload() },
            Operation::Redrive(Box::new(Redrive {
                letter,
                id: id(),
                payload: Some(payload()),
                destination,
                priority,
            })),
            Operation::Settle(Settle {
                token,
                outcome: Outcome::Complete { reply: Some(payload()) },
            }),
            Operation::Settle(Settle { token, outcome: paused }),
        ]
    }

    fn data(operation: &Operation) -> &Bytes {
        let payload = match operation {
            Operation::Publish(publish) => &publish.envelope.payload,
            Operation::SetSchedule(schedule) => &schedule.publish.envelope.payload,
            Operation::Update(Update { body: UpdateBody::Artifact(chunk), .. }) => &chunk.payload,
            Operation::Continue { payload, .. } => payload,
            Operation::Redrive(redrive) => redrive.payload.as_ref().unwrap(),
            Operation::Settle(Settle { outcome: Outcome::Complete { reply }, .. }) => {
                reply.as_ref().unwrap()
            }
            Operation::Settle(Settle { outcome: Outcome::Pause { message, .. }, .. }) => {
                message.as_ref().unwrap()
            }
            other => panic!("{other:?}"),
        };
        &payload.data
    }

    #[test]
    fn what_may_stay_lets_go_of_its_frame_and_what_goes_on_is_not_copied() {
        let frame = Bytes::from(vec![7; 64 << 10]);
        let payload = || Payload::new("text/plain", frame.slice(5..261));
        let mut operations = lasting(payload);
        operations.push(Operation::Publish(publish(payload(), Durability::Ephemeral)));
        part(&mut operations);
        let inside = frame.as_ptr_range();
        let passing = operations.pop().unwrap();
        assert!(inside.contains(&data(&passing).as_ptr()));
        for operation in &operations {
            assert_eq!(data(operation), data(&passing));
            assert!(!inside.contains(&data(operation).as_ptr()), "{operation:?}");
        }
    }
}
