//! What a task's events come to: its state as of a number, what it asked, its artifacts.

use crate::content::to_artifact;
use crate::downstream::{Head, is_note};
use crate::fault::Fault;
use crate::wire::{Artifact, TaskArtifactUpdateEvent};
use std::collections::BTreeMap;
use trunkline_types::{
    ArtifactChunk, Payload, TaskEvent, TaskEventBody, TaskState, TaskUpdate, WallTime,
};

/// What the events of a task come to, as far as they were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fold {
    /// The artifacts in the order in which they were begun.
    pub(crate) artifacts: Vec<Artifact>,
    /// What artifacts say besides their parts, where the broker has noted that.
    pub(crate) heads: BTreeMap<String, Head>,
    /// The number of the last event that was read or is missing.
    pub(crate) last: u64,
    /// When that one was made; unknown while it is missing.
    pub(crate) at: Option<WallTime>,
    /// The latest state and its reason.
    pub(crate) state: Option<(TaskState, Option<String>)>,
    /// What was said last, while the task goes towards waiting for an answer or waits.
    pub(crate) question: Option<(Payload, WallTime)>,
    /// The first and the last number that is missing.
    pub(crate) gap: Option<(u64, u64)>,
}

impl Fold {
    /// Takes the next news of a task.
    pub(crate) fn take(&mut self, update: &TaskUpdate) -> Result<(), Fault> {
        if let TaskUpdate::Event(TaskEvent { body: TaskEventBody::Artifact(chunk), .. }) = update
            // What the broker notes for itself is no client's affair.
            && !is_note(chunk)
        {
            self.add(chunk)?;
        }
        self.follow(update);
        Ok(())
    }

    /// Takes the next news of a task without keeping its artifacts.
    pub(crate) fn follow(&mut self, update: &TaskUpdate) {
        match update {
            TaskUpdate::Event(TaskEvent { number, at, body, .. }) => {
                self.last = *number;
                self.at = Some(*at);
                match body {
                    TaskEventBody::Status { state, reason } => {
                        self.state = Some((*state, reason.clone()));
                        // What was said before a task is submitted again is the answer.
                        if *state == TaskState::Submitted {
                            self.question = None;
                        }
                    }
                    TaskEventBody::Message { payload, .. } => {
                        self.question = Some((payload.clone(), *at));
                    }
                    TaskEventBody::Artifact(chunk) => {
                        if let Some(head) = Head::read(chunk) {
                            self.dress(head);
                        }
                    }
                }
            }
            TaskUpdate::Gap { first, last } => {
                self.last = *last;
                self.at = None;
                self.gap = Some((self.gap.map_or(*first, |(known, _)| known), *last));
            }
            TaskUpdate::Progress(_) => {}
        }
    }

    /// Continues an artifact, or begins it anew.
    fn add(&mut self, chunk: &ArtifactChunk) -> Result<(), Fault> {
        let piece = self.piece(chunk)?;
        match self.artifacts.iter_mut().find(|known| known.artifact_id == piece.artifact_id) {
            Some(known) if chunk.append => known.parts.extend(piece.parts),
            Some(known) => *known = piece,
            None => self.artifacts.push(piece),
        }
        Ok(())
    }

    /// An artifact says something else besides its parts from now on.
    fn dress(&mut self, head: Head) {
        let id = self.heads.get(&head.name).map_or_else(|| head.name.clone(), Head::id);
        if let Some(known) = self.artifacts.iter_mut().find(|known| known.artifact_id == id) {
            head.put_on(known);
        }
        self.heads.insert(head.name.clone(), head);
    }

    /// One piece of an artifact.
    fn piece(&self, chunk: &ArtifactChunk) -> Result<Artifact, Fault> {
        let mut artifact = to_artifact(&chunk.payload)?;
        artifact.artifact_id = chunk.name.to_string();
        match self.heads.get(chunk.name.as_str()) {
            Some(head) => head.put_on(&mut artifact),
            None if artifact.name.is_empty() => artifact.name.clone_from(&artifact.artifact_id),
            None => {}
        }
        Ok(artifact)
    }

    /// What a stream tells of a piece of an artifact.
    pub(crate) fn artifact_event(
        &self,
        chunk: &ArtifactChunk,
        task_id: String,
        context_id: String,
    ) -> Result<TaskArtifactUpdateEvent, Fault> {
        Ok(TaskArtifactUpdateEvent {
            task_id,
            context_id,
            artifact: Some(self.piece(chunk)?),
            append: chunk.append,
            last_chunk: chunk.last,
            metadata: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trunkline_types::Epoch;

    fn event(number: u64, body: TaskEventBody) -> TaskUpdate {
        TaskUpdate::Event(TaskEvent { number, epoch: Epoch(1), at: WallTime(number), body })
    }

    fn chunk(number: u64, name: &str, append: bool, text: &str) -> TaskUpdate {
        let payload = Payload::text(text);
        let chunk = ArtifactChunk { name: name.into(), append, last: false, payload };
        event(number, TaskEventBody::Artifact(chunk))
    }

    fn status(number: u64, state: TaskState) -> TaskUpdate {
        event(number, TaskEventBody::Status { state, reason: None })
    }

    #[test]
    fn pieces_are_appended_and_an_artifact_can_begin_anew() {
        let mut fold = Fold::default();
        for update in [
            chunk(3, "a", false, "1"),
            chunk(4, "b", true, "x"),
            chunk(5, "a", true, "2"),
            TaskUpdate::Gap { first: 6, last: 8 },
        ] {
            fold.take(&update).unwrap();
        }
        assert_eq!((fold.last, fold.gap), (8, Some((6, 8))));
        let parts: Vec<_> = fold.artifacts.iter().map(|artifact| artifact.parts.len()).collect();
        assert_eq!(parts, [2, 1]);
        fold.take(&chunk(9, "a", false, "3")).unwrap();
        assert_eq!(fold.artifacts[0].parts.len(), 1);
    }

    #[test]
    fn a_question_stands_while_its_task_waits_and_an_answer_is_none() {
        let mut fold = Fold::default();
        let said = |number, text: &str| {
            event(number, TaskEventBody::Message { from: None, payload: text.into() })
        };
        for update in [said(3, "which?"), status(4, TaskState::InputRequired)] {
            fold.follow(&update);
        }
        assert_eq!(fold.question, Some(("which?".into(), WallTime(3))));
        for update in [said(5, "this"), status(6, TaskState::Submitted)] {
            fold.follow(&update);
        }
        assert_eq!((fold.question, fold.at), (None, Some(WallTime(6))));
    }
}
