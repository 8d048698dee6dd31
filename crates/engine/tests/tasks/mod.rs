//! Tasks that can be followed: listed, read with what was said in them, continued, called off with
//! all that they led to, and forgotten when their time is over.

mod descendants;
mod history;
mod index;
mod lists;
mod resume;
mod retention;
mod watching;

use crate::stage::{Peer, Stage};
use std::sync::Arc;
use trunkline_engine::Command;
use trunkline_types::session::{ClientFrame, Operation};
use trunkline_types::{Answer, Kind, MessageId, Publish, Query, TaskSnapshot, TaskState};

/// A task for somebody.
pub(crate) fn task(stage: &mut Stage, to: &str) -> Publish {
    let mut publish = stage.message(Kind::Request, to);
    publish.options.task = true;
    publish
}

/// A task as it is made while another one is handled.
pub(crate) fn child(stage: &mut Stage, of: &Publish, to: &str) -> Publish {
    let mut publish = task(stage, to);
    publish.envelope.causation_id = Some(of.envelope.id);
    publish.envelope.root_id = of.envelope.root_id.or(Some(of.envelope.id));
    publish
}

/// Publishes many tasks, as few frames as may be.
pub(crate) fn publish_all(stage: &mut Stage, peer: &mut Peer, tasks: &[Publish]) {
    for batch in tasks.chunks(stage.config.limits.operations_per_frame) {
        let operations: Vec<_> =
            batch.iter().map(|task| Operation::Publish(Arc::new(task.clone()))).collect();
        let (first, connection) = (peer.next, peer.connection);
        peer.next += operations.len() as u64;
        let frame = ClientFrame::Operations { first, operations };
        stage.handle(Command::Frame { connection, frame, verdicts: Vec::new() });
    }
}

pub(crate) fn shown(stage: &mut Stage, id: MessageId) -> TaskSnapshot {
    match stage.query(Query::task(id)) {
        Ok(Answer::Task(task)) => *task,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn state(stage: &mut Stage, id: MessageId) -> TaskState {
    shown(stage, id).state
}
