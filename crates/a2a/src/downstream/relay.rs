//! What the broker's own task is told of the one elsewhere: each piece of an artifact once, however
//! often streams break and tasks are asked for anew.

use super::head::Head;
use crate::content::{of_part, to_artifact, to_bare_payload, to_payload};
use crate::hash::stable;
use crate::task::own_state;
use crate::wire::{self, Artifact, Part, part::Content, stream_response::Payload as Told};
use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};
use trunkline_types::{ArtifactChunk, PauseReason, Payload, Progress, TaskState};

/// The longest name of an artifact that is kept as it is, in bytes.
const LONGEST_NAME: usize = 200;

/// What the broker's task is told next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A piece of an artifact.
    Artifact(ArtifactChunk),
    /// What an artifact says besides its parts, to be noted as a further piece of
    /// [`LINK`](super::LINK) before its next piece.
    Head(Payload),
    /// How far the work is.
    Progress(Progress),
    /// It has ended, or waits for its caller.
    End(End),
}

/// How a turn of a task elsewhere ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It is done, with this answer.
    Completed(Option<Payload>),
    /// It failed.
    Failed(String),
    /// It was declined.
    Rejected(String),
    /// It was called off there.
    Canceled(String),
    /// It waits for its caller.
    Waits {
        /// What for.
        reason: PauseReason,
        /// What its caller is told.
        message: Option<Payload>,
        /// What the question is known by when it is told again. 0 if it asks nothing in words and
        /// was told as an event.
        mark: u64,
        /// Whether the task was shown, and not the change told: one that was just answered may be
        /// shown as it was before. An event is always new.
        shown: bool,
    },
}

/// What was told of a task elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Relay {
    artifacts: Vec<Known>,
    /// What was said of the work last, so that it is not said again.
    doing: Option<Progress>,
}

/// What was told of an artifact.
#[derive(Clone, Debug)]
struct Known {
    /// What it is called at the broker.
    name: SmolStr,
    /// What its pieces were.
    marks: Vec<u64>,
    /// What it says besides.
    head: Head,
}

/// What a question is known by: its words. Without any, when it was asked must do.
fn question(status: &wire::TaskStatus) -> u64 {
    let said = match status.message.clone() {
        Some(message) => {
            // Where it belongs is left out by some of those who tell it.
            let (task_id, context_id) = (String::new(), String::new());
            let message = Some(wire::Message { task_id, context_id, ..message });
            wire::TaskStatus { state: status.state, message, timestamp: None }
        }
        None => status.clone(),
    };
    stable(serde_json::to_string(&said).unwrap_or_default().as_bytes())
}

/// What a piece is, so that it is known again.
fn mark(payload: &Payload) -> u64 {
    let kind = stable(payload.content_type.as_bytes());
    stable(&payload.data) ^ kind.rotate_left(17)
}

impl Relay {
    /// A piece was told.
    pub fn told(&mut self, chunk: &ArtifactChunk) {
        let known = self.known(&chunk.name);
        if !chunk.append {
            known.marks.clear();
        }
        known.marks.push(mark(&chunk.payload));
    }

    /// It was noted what an artifact says besides its parts.
    pub(super) fn noted(&mut self, head: Head) {
        let known = self.known(&head.name);
        known.head = head;
    }

    /// What is known of an artifact; nothing yet, if it is new.
    fn known(&mut self, name: &str) -> &mut Known {
        let place = self.artifacts.iter().position(|known| known.name == name);
        let place = place.unwrap_or_else(|| {
            let head = Head::none(name);
            self.artifacts.push(Known { name: name.into(), marks: Vec::new(), head });
            self.artifacts.len() - 1
        });
        &mut self.artifacts[place]
    }

    /// What is to be told of an answer or an event.
    pub fn take(&mut self, told: Told) -> Vec<Step> {
        match told {
            Told::Task(task) => self.task(task),
            Told::Message(message) => {
                vec![Step::End(End::Completed(Some(to_bare_payload(message))))]
            }
            Told::StatusUpdate(event) => {
                let status = event.status.unwrap_or_default();
                let mark = if status.message.is_some() { question(&status) } else { 0 };
                self.status(status, event.metadata.as_ref(), (mark, false))
            }
            Told::ArtifactUpdate(event) => {
                let artifact = event.artifact.unwrap_or_default();
                self.pieces(artifact, event.append, event.last_chunk)
            }
        }
    }

    /// What is to be told of a task as it stands: what it has more than was told.
    fn task(&mut self, task: wire::Task) -> Vec<Step> {
        let mut steps = Vec::new();
        let state = task.status.as_ref().and_then(|status| own_state(status.state()));
        let is_over = state.is_some_and(TaskState::is_terminal);
        for artifact in task.artifacts {
            let name = name(&artifact);
            let marks: Vec<u64> = artifact.parts.iter().map(|part| mark(&of_part(part))).collect();
            let known = self.artifacts.iter().find(|known| known.name == name);
            let known = known.map_or(&[][..], |known| known.marks.as_slice());
            if marks.starts_with(known) {
                let more = artifact.parts[known.len()..].to_vec();
                let append = !known.is_empty();
                steps.extend(self.pieces(Artifact { parts: more, ..artifact }, append, false));
            } else if is_over || !known.starts_with(&marks) {
                // It was begun anew meanwhile, and is not only behind what was told.
                steps.extend(self.pieces(artifact, false, false));
            }
        }
        let mut status = task.status.unwrap_or_default();
        let is_interrupted = matches!(
            own_state(status.state()),
            Some(TaskState::InputRequired | TaskState::AuthRequired)
        );
        if is_interrupted && status.message.is_none() {
            // Some ask in the conversation only.
            let last = task.history.into_iter().next_back();
            status.message = last.filter(|said| said.role() == wire::Role::Agent);
        }
        let mark = question(&status);
        steps.extend(self.status(status, task.metadata.as_ref(), (mark, true)));
        steps
    }

    fn pieces(&mut self, artifact: Artifact, append: bool, last: bool) -> Vec<Step> {
        let name = name(&artifact);
        let count = artifact.parts.len();
        let (said, known) = (Head::of(&name, &artifact), self.known(&name));
        let head = if append { known.head.continued(&said) } else { said };
        let news = (head != known.head).then(|| Step::Head(head.note()));
        known.head = head;
        let pieces = artifact.parts.into_iter().enumerate().map(|(place, part)| ArtifactChunk {
            name: name.clone(),
            append: append || place > 0,
            last: last && place + 1 == count,
            payload: of_part(&part),
        });
        let pieces: Vec<_> = pieces.collect();
        for chunk in &pieces {
            self.told(chunk);
        }
        news.into_iter().chain(pieces.into_iter().map(Step::Artifact)).collect()
    }

    fn status(
        &mut self,
        status: wire::TaskStatus,
        metadata: Option<&wire::Struct>,
        (mark, shown): (u64, bool),
    ) -> Vec<Step> {
        let state = own_state(status.state());
        let waits = |reason, message: Option<wire::Message>| {
            let message = message.map(to_payload);
            End::Waits { reason, message, mark, shown }
        };
        let text = || status.message.as_ref().map(text_of).unwrap_or_default();
        let end = match state {
            // Nothing follows from a state that nobody knows.
            None | Some(TaskState::Submitted) => return Vec::new(),
            Some(TaskState::Working) => return self.progress(text(), metadata),
            Some(TaskState::Completed) => End::Completed(status.message.map(to_payload)),
            Some(TaskState::Failed) => End::Failed(text()),
            Some(TaskState::Rejected) => End::Rejected(text()),
            Some(TaskState::Canceled) => End::Canceled(text()),
            Some(TaskState::InputRequired) => waits(PauseReason::Input, status.message),
            Some(TaskState::AuthRequired) => waits(PauseReason::Auth, status.message),
        };
        vec![Step::End(end)]
    }

    fn progress(&mut self, text: String, metadata: Option<&wire::Struct>) -> Vec<Step> {
        let said = metadata.and_then(|wire::Struct(fields)| fields.get("progress")?.as_u64());
        let percent = said.map(|percent| u8::try_from(percent.min(100)).unwrap_or(100));
        if percent.is_none() && text.is_empty() {
            return Vec::new();
        }
        let before = self.doing.as_ref().map_or(0, |doing| doing.percent);
        let progress = Progress { percent: percent.unwrap_or(before), text };
        if self.doing.as_ref() == Some(&progress) {
            return Vec::new();
        }
        self.doing = Some(progress.clone());
        vec![Step::Progress(progress)]
    }
}

/// What a plain request, which has no artifacts, is answered with instead: their pieces.
pub fn whole_reply(pieces: &[Payload]) -> Option<Payload> {
    if let [only] = pieces {
        return Some(only.clone());
    }
    let pieces = pieces.iter().filter_map(|piece| to_artifact(piece).ok());
    let parts: Vec<Part> = pieces.flat_map(|piece| piece.parts).collect();
    let message = wire::Message { role: wire::Role::Agent.into(), parts, ..Default::default() };
    (!message.parts.is_empty()).then(|| to_payload(message))
}

/// The name of an artifact at the broker: its id, or what stands for one that is missing or too long.
fn name(artifact: &Artifact) -> SmolStr {
    let id = artifact.artifact_id.as_str();
    if id.is_empty() || id.len() > LONGEST_NAME {
        return format_smolstr!("artifact-{:016x}", stable(id.as_bytes()));
    }
    id.into()
}

/// What a message says, for people.
fn text_of(message: &wire::Message) -> String {
    let said = message.parts.iter().filter_map(|Part { content, .. }| match content.as_ref()? {
        Content::Text(text)
        | Content::Url(text)
        | Content::Data(wire::Value(Value::String(text))) => Some(text.clone()),
        Content::Data(wire::Value(value)) => Some(value.to_string()),
        Content::Raw(_) => None,
    });
    said.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(response: Value) -> Told {
        let read: wire::StreamResponse = serde_json::from_value(response).unwrap();
        read.payload.unwrap()
    }

    fn pieces(steps: &[Step]) -> Vec<(String, bool, bool, String)> {
        let piece = |step: &Step| match step {
            Step::Artifact(chunk) => Some((
                chunk.name.to_string(),
                chunk.append,
                chunk.last,
                chunk.payload.to_text().into_owned(),
            )),
            Step::Head(_) | Step::Progress(_) | Step::End(_) => None,
        };
        steps.iter().filter_map(piece).collect()
    }

    fn task(state: &str, parts: &[&str]) -> Told {
        let parts: Vec<_> = parts.iter().map(|text| json!({ "text": text })).collect();
        let artifacts =
            if parts.is_empty() { json!([]) } else { json!([{"artifactId": "a", "parts": parts}]) };
        told(json!({"task": {"id": "t", "status": {"state": state}, "artifacts": artifacts}}))
    }

    #[test]
    fn a_piece_is_told_once_however_often_the_task_is_shown() {
        let mut relay = Relay::default();
        let update = |text: &str, append: bool, last: bool| {
            told(json!({"artifactUpdate": {
            "taskId": "t", "contextId": "c", "append": append, "lastChunk": last,
            "artifact": {"artifactId": "a", "parts": [{"text": text}]}}}))
        };
        let steps = relay.take(update("1", false, false));
        assert_eq!(pieces(&steps), [("a".into(), false, false, "1".into())]);
        assert!(relay.take(task("TASK_STATE_WORKING", &["1"])).is_empty());
        let steps = relay.take(task("TASK_STATE_WORKING", &["1", "2", "3"]));
        assert_eq!(
            pieces(&steps),
            [("a".into(), true, false, "2".into()), ("a".into(), true, false, "3".into())]
        );
        let steps = relay.take(update("4", true, true));
        assert_eq!(pieces(&steps), [("a".into(), true, true, "4".into())]);
        let steps = relay.take(task("TASK_STATE_COMPLETED", &["1", "2", "3", "4"]));
        assert_eq!(steps, [Step::End(End::Completed(None))]);
        assert!(relay.take(task("TASK_STATE_WORKING", &["1", "2"])).is_empty(), "it is behind");
        // Begun anew while nobody looked.
        let steps = relay.take(task("TASK_STATE_WORKING", &["x", "y"]));
        assert_eq!(
            pieces(&steps),
            [("a".into(), false, false, "x".into()), ("a".into(), true, false, "y".into())]
        );
    }

    #[test]
    fn what_was_told_before_a_restart_is_known_again() {
        let mut before = Relay::default();
        let steps = before.take(task("TASK_STATE_WORKING", &["1", "2"]));
        let mut after = Relay::default();
        for step in &steps {
            let Step::Artifact(chunk) = step else { panic!("{step:?}") };
            after.told(chunk);
        }
        let steps = after.take(task("TASK_STATE_WORKING", &["1", "2", "3"]));
        assert_eq!(pieces(&steps), [("a".into(), true, false, "3".into())]);
    }

    #[test]
    fn every_state_is_told_as_what_it_is() {
        let message = json!({"messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "said"}]});
        for (state, end) in [
            ("FAILED", End::Failed("said".into())),
            ("REJECTED", End::Rejected("said".into())),
            ("CANCELED", End::Canceled("said".into())),
        ] {
            let status = json!({"state": format!("TASK_STATE_{state}"), "message": message});
            let update =
                told(json!({"statusUpdate": {"taskId": "t", "contextId": "c", "status": status}}));
            assert_eq!(Relay::default().take(update), [Step::End(end)]);
        }
        for (state, expected) in
            [("INPUT_REQUIRED", PauseReason::Input), ("AUTH_REQUIRED", PauseReason::Auth)]
        {
            let shown = told(
                json!({"task": {"id": "t", "status": {"state": format!("TASK_STATE_{state}")},
                "history": [message]}}),
            );
            let steps = Relay::default().take(shown);
            let [Step::End(End::Waits { reason, message: Some(asked), mark, shown: true })] =
                steps.as_slice()
            else {
                panic!("{steps:?}")
            };
            assert_eq!((*reason, asked.to_text().as_ref()), (expected, "said"));
            let known = *mark;
            // An event that asks the same is known to do so, whatever else it says.
            let mut message = message.clone();
            message["taskId"] = "t".into();
            let status = json!({"state": format!("TASK_STATE_{state}"), "message": message,
                "timestamp": "2026-01-02T03:04:05Z"});
            let update =
                told(json!({"statusUpdate": {"taskId": "t", "contextId": "c", "status": status}}));
            let steps = Relay::default().take(update);
            let [Step::End(End::Waits { mark, shown: false, .. })] = steps.as_slice() else {
                panic!("{steps:?}")
            };
            assert_eq!(*mark, known);
        }
        let done = Relay::default().take(told(json!({ "message": message })));
        let [Step::End(End::Completed(Some(answer)))] = done.as_slice() else { panic!("{done:?}") };
        assert_eq!(answer.to_text(), "said");
        for state in ["TASK_STATE_SUBMITTED", "TASK_STATE_WORKING", "TASK_STATE_UNSPECIFIED"] {
            assert!(Relay::default().take(task(state, &[])).is_empty());
        }
    }

    #[test]
    fn progress_is_told_when_it_changes() {
        let mut relay = Relay::default();
        let mut doing = |progress: Value| {
            relay.take(told(json!({"statusUpdate": {"taskId": "t", "contextId": "c",
                "status": {"state": "TASK_STATE_WORKING"}, "metadata": progress}})))
        };
        let half = Progress { percent: 50, text: String::new() };
        assert_eq!(doing(json!({"progress": 50})), [Step::Progress(half)]);
        assert!(doing(json!({"progress": 50})).is_empty());
        assert!(doing(json!({})).is_empty());
        assert_eq!(doing(json!({"progress": 1000})).len(), 1);
    }
}
