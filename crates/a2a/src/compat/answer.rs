//! Answers of 1.0 as 0.3 told them.

use crate::fault::FaultKind;
use crate::handler::Item;
use crate::task::own_state;
use crate::wire::send_message_response::Payload as Sent;
use crate::wire::stream_response::Payload as Told;
use crate::wire::{self, Part, Struct, part::Content};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Says of a `data` part that its value is no object, but the field `value` of one.
pub(super) const WRAPPED: &str = "data_part_compat";

/// How 0.3 is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// With a field `kind`.
    Kinds,
    /// As the JSON of the proto file.
    Proto,
}

/// An object without the fields that have nothing.
fn fields<const N: usize>(all: [(&str, Value); N]) -> Map<String, Value> {
    let said = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    };
    all.into_iter()
        .filter(|(_, value)| said(value))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn free(metadata: Option<&Struct>) -> Value {
    metadata.map_or(Value::Null, |Struct(fields)| Value::Object(fields.clone()))
}

fn plain(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

impl Form {
    /// An object of a kind.
    fn of(self, kind: &str, mut made: Map<String, Value>) -> Value {
        if self == Self::Kinds {
            made.insert("kind".to_owned(), kind.into());
        }
        Value::Object(made)
    }

    fn state(self, state: wire::TaskState) -> String {
        match (self, own_state(state)) {
            (Self::Kinds, Some(own)) => own.to_string(),
            (Self::Kinds, None) => "unknown".to_owned(),
            (Self::Proto, _) => state.as_str_name().replace("CANCELED", "CANCELLED"),
        }
    }

    fn part(self, part: &Part) -> Value {
        let mut metadata = free(part.metadata.as_ref());
        let (kind, name, content) = match &part.content {
            Some(Content::Text(text)) => ("text", "text", text.as_str().into()),
            Some(Content::Data(wire::Value(value))) => {
                let data = if value.is_object() {
                    value.clone()
                } else {
                    let Struct(mut known) = part.metadata.clone().unwrap_or_default();
                    known.insert(WRAPPED.to_owned(), true.into());
                    metadata = Value::Object(known);
                    json!({ "value": value })
                };
                match self {
                    Self::Kinds => ("data", "data", data),
                    Self::Proto => ("data", "data", json!({ "data": data })),
                }
            }
            Some(Content::Raw(bytes)) => {
                let name = if self == Self::Kinds { "bytes" } else { "fileWithBytes" };
                ("file", "file", file(part, name, STANDARD.encode(bytes)))
            }
            Some(Content::Url(url)) => {
                let name = if self == Self::Kinds { "uri" } else { "fileWithUri" };
                ("file", "file", file(part, name, url.clone()))
            }
            None => ("text", "text", "".into()),
        };
        let mut made = fields([("metadata", metadata)]);
        made.insert(name.to_owned(), content);
        self.of(kind, made)
    }

    fn parts(self, parts: &[Part]) -> Value {
        parts.iter().map(|part| self.part(part)).collect()
    }

    fn message(self, message: &wire::Message) -> Value {
        let role = match (self, message.role()) {
            (Self::Kinds, wire::Role::User) => "user",
            (Self::Kinds, _) => "agent",
            (Self::Proto, role) => role.as_str_name(),
        };
        let (parts, references) = match self {
            Self::Kinds => ("parts", plain(&message.reference_task_ids)),
            Self::Proto => ("content", Value::Null),
        };
        let mut made = fields([
            ("messageId", message.message_id.as_str().into()),
            ("contextId", message.context_id.as_str().into()),
            ("taskId", message.task_id.as_str().into()),
            ("role", role.into()),
            ("metadata", free(message.metadata.as_ref())),
            ("extensions", plain(&message.extensions)),
            ("referenceTaskIds", references),
        ]);
        made.insert(parts.to_owned(), self.parts(&message.parts));
        self.of("message", made)
    }

    fn status(self, status: Option<&wire::TaskStatus>) -> Value {
        let Some(status) = status else { return Value::Null };
        let message = status.message.as_ref().map(|message| self.message(message));
        Value::Object(fields([
            ("state", self.state(status.state()).into()),
            ("message", message.unwrap_or_default()),
            ("timestamp", plain(&status.timestamp)),
        ]))
    }

    fn artifact(self, artifact: &wire::Artifact) -> Value {
        let mut made = fields([
            ("artifactId", artifact.artifact_id.as_str().into()),
            ("name", artifact.name.as_str().into()),
            ("description", artifact.description.as_str().into()),
            ("metadata", free(artifact.metadata.as_ref())),
            ("extensions", plain(&artifact.extensions)),
        ]);
        made.insert("parts".to_owned(), self.parts(&artifact.parts));
        Value::Object(made)
    }
}

fn file(part: &Part, name: &str, content: String) -> Value {
    let mut made = fields([
        ("mimeType", part.media_type.as_str().into()),
        ("name", part.filename.as_str().into()),
    ]);
    made.insert(name.to_owned(), content.into());
    Value::Object(made)
}

/// A task.
pub(crate) fn task(form: Form, task: &wire::Task) -> Value {
    let made = fields([
        ("id", task.id.as_str().into()),
        ("contextId", task.context_id.as_str().into()),
        ("status", form.status(task.status.as_ref())),
        ("artifacts", task.artifacts.iter().map(|known| form.artifact(known)).collect()),
        ("history", task.history.iter().map(|said| form.message(said)).collect()),
        ("metadata", free(task.metadata.as_ref())),
    ]);
    form.of("task", made)
}

/// A message.
pub(crate) fn message(form: Form, said: &wire::Message) -> Value {
    form.message(said)
}

/// One piece of news of a stream.
pub(crate) fn streamed(form: Form, item: &Item) -> Value {
    let (name, told) = match &item.response.payload {
        Some(Told::Task(known)) => ("task", task(form, known)),
        Some(Told::Message(said)) => ("message", form.message(said)),
        Some(Told::StatusUpdate(event)) => {
            let made = fields([
                ("taskId", event.task_id.as_str().into()),
                ("contextId", event.context_id.as_str().into()),
                ("status", form.status(event.status.as_ref())),
                ("final", item.last.into()),
                ("metadata", free(event.metadata.as_ref())),
            ]);
            ("statusUpdate", form.of("status-update", made))
        }
        Some(Told::ArtifactUpdate(event)) => {
            let artifact = event.artifact.as_ref().map(|artifact| form.artifact(artifact));
            let made = fields([
                ("taskId", event.task_id.as_str().into()),
                ("contextId", event.context_id.as_str().into()),
                ("artifact", artifact.unwrap_or_default()),
                ("append", event.append.into()),
                ("lastChunk", event.last_chunk.into()),
                ("metadata", free(event.metadata.as_ref())),
            ]);
            ("artifactUpdate", form.of("artifact-update", made))
        }
        None => return Value::Null,
    };
    match form {
        Form::Kinds => told,
        Form::Proto => json!({ name: told }),
    }
}

/// What sending a message is answered with.
pub(crate) fn sent(form: Form, made: &wire::SendMessageResponse) -> Value {
    let (name, told) = match &made.payload {
        Some(Sent::Task(made)) => ("task", task(form, made)),
        Some(Sent::Message(said)) => ("message", form.message(said)),
        None => return Value::Null,
    };
    match form {
        Form::Kinds => told,
        Form::Proto => json!({ name: told }),
    }
}

/// What is said of a webhook.
pub(crate) fn pushed(form: Form, config: &wire::TaskPushNotificationConfig) -> Value {
    let auth = config.authentication.as_ref().map(|auth| {
        let mut made = fields([("credentials", auth.credentials.as_str().into())]);
        made.insert("schemes".to_owned(), json!([auth.scheme]));
        Value::Object(made)
    });
    let said = Value::Object(fields([
        ("id", config.id.as_str().into()),
        ("url", config.url.as_str().into()),
        ("token", config.token.as_str().into()),
        ("authentication", auth.unwrap_or_default()),
    ]));
    match form {
        Form::Kinds => json!({"taskId": config.task_id, "pushNotificationConfig": said}),
        Form::Proto => {
            let name = format!("tasks/{}/pushNotificationConfigs/{}", config.task_id, config.id);
            json!({"name": name, "pushNotificationConfig": said})
        }
    }
}

/// The code of an error in JSON-RPC: those that 0.3 does not know are told as what they are there.
pub(crate) fn rpc_code(kind: FaultKind) -> i32 {
    match kind {
        FaultKind::ExtensionSupportRequired | FaultKind::VersionNotSupported => -32600,
        _ => kind.rpc_code(),
    }
}

/// The name of an error over HTTP.
pub(crate) fn fault_type(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::TaskNotFound => "TaskNotFoundError",
        FaultKind::TaskNotCancelable => "TaskNotCancelableError",
        FaultKind::PushNotificationNotSupported => "PushNotificationNotSupportedError",
        FaultKind::UnsupportedOperation => "UnsupportedOperationError",
        FaultKind::ContentTypeNotSupported | FaultKind::NotJson => "ContentTypeNotSupportedError",
        FaultKind::InvalidAgentResponse => "InvalidAgentResponseError",
        FaultKind::ExtendedAgentCardNotConfigured => "AuthenticatedExtendedCardNotConfiguredError",
        FaultKind::Parse => "JSONParseError",
        FaultKind::MethodNotFound | FaultKind::MethodNotAllowed => "MethodNotFoundError",
        FaultKind::ExtensionSupportRequired
        | FaultKind::VersionNotSupported
        | FaultKind::InvalidRequest
        | FaultKind::Loop => "InvalidRequestError",
        FaultKind::InvalidParams
        | FaultKind::TooLarge
        | FaultKind::AgentNotFound
        | FaultKind::KeyConflict => "InvalidParamsError",
        FaultKind::Internal
        | FaultKind::Forbidden
        | FaultKind::Exhausted
        | FaultKind::Unavailable => "InternalError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> wire::Task {
        serde_json::from_value(json!({
            "id": "t", "contextId": "c",
            "status": {
                "state": "TASK_STATE_CANCELED", "timestamp": "2025-10-28T10:30:00.000Z",
                "message": {"messageId": "m", "role": "ROLE_AGENT", "parts": [
                    {"text": "x"}, {"data": 5}, {"raw": "AA==", "filename": "f"}, {"url": "u"},
                ]},
            },
            "artifacts": [{"artifactId": "a", "parts": [{"data": {"n": 1}}]}],
        }))
        .unwrap()
    }

    #[test]
    fn a_task_is_told_with_kinds() {
        let expected = json!({
            "kind": "task", "id": "t", "contextId": "c",
            "status": {
                "state": "canceled", "timestamp": "2025-10-28T10:30:00.000Z",
                "message": {"kind": "message", "messageId": "m", "role": "agent", "parts": [
                    {"kind": "text", "text": "x"},
                    {"kind": "data", "data": {"value": 5}, "metadata": {"data_part_compat": true}},
                    {"kind": "file", "file": {"bytes": "AA==", "name": "f"}},
                    {"kind": "file", "file": {"uri": "u"}},
                ]},
            },
            "artifacts": [{"artifactId": "a", "parts": [{"kind": "data", "data": {"n": 1}}]}],
        });
        assert_eq!(task(Form::Kinds, &example()), expected);
    }

    #[test]
    fn a_task_is_told_as_the_proto_file_had_it() {
        let expected = json!({
            "id": "t", "contextId": "c",
            "status": {
                "state": "TASK_STATE_CANCELLED", "timestamp": "2025-10-28T10:30:00.000Z",
                "message": {"messageId": "m", "role": "ROLE_AGENT", "content": [
                    {"text": "x"},
                    {"data": {"data": {"value": 5}}, "metadata": {"data_part_compat": true}},
                    {"file": {"fileWithBytes": "AA==", "name": "f"}},
                    {"file": {"fileWithUri": "u"}},
                ]},
            },
            "artifacts": [{"artifactId": "a", "parts": [{"data": {"data": {"n": 1}}}]}],
        });
        assert_eq!(task(Form::Proto, &example()), expected);
    }

    #[test]
    fn codes_that_were_not_known_are_told_by_others() {
        for &kind in FaultKind::ALL {
            let code = rpc_code(kind);
            let known = (-32007..=-32001).contains(&code) || (-32700..=-32600).contains(&code);
            assert!(known, "{kind:?} {code}");
            assert!(fault_type(kind).ends_with("Error"));
        }
    }
}
