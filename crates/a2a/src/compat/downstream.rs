//! What an agent of 0.3 answers, as 1.0 tells it. The broker is its client then.

use super::request::message;
use crate::fault::Fault;
use crate::task::own_state;
use crate::wire;
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// An answer or an event as the stream of 1.0 has it. It is told by its `kind`, or, in the JSON of the
/// proto file, by the one field that it has.
pub(crate) fn told(said: Value) -> Result<Value, Fault> {
    let Value::Object(mut fields) = said else {
        return Err(Fault::field("result", "is no object"));
    };
    let kind = fields.remove("kind");
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or_default();
    let (name, made) = match kind {
        "message" => ("message", message(Value::Object(fields))?.into()),
        "status-update" => ("statusUpdate", status_update(fields)?),
        "artifact-update" => {
            let artifact = fields.remove("artifact").unwrap_or_default();
            fields.insert("artifact".to_owned(), self::artifact("artifact", artifact)?);
            ("artifactUpdate", Value::Object(fields))
        }
        "task" => ("task", task(fields)?),
        // Some leave it out where there is only one thing that it can be.
        "" if fields.contains_key("status") => ("task", task(fields)?),
        "" => return within(fields),
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(Fault::field("result.kind", format!("is '{shown}'")));
        }
    };
    Ok(json!({ name: made }))
}

/// What the one field of an answer says that tells its kind.
fn within(fields: Fields) -> Result<Value, Fault> {
    let only = fields.into_iter().next().filter(|(_, said)| said.is_object());
    let (name, mut said) = only.ok_or_else(|| Fault::field("result", "says nothing"))?;
    let kind = match name.as_str() {
        "task" => "task",
        "message" | "msg" => "message",
        "statusUpdate" => "status-update",
        "artifactUpdate" => "artifact-update",
        other => {
            let shown: String = other.chars().take(64).collect();
            return Err(Fault::field("result", format!("is '{shown}'")));
        }
    };
    said["kind"] = kind.into();
    told(said)
}

fn task(mut fields: Fields) -> Result<Value, Fault> {
    fields.remove("kind");
    if let Some(status) = fields.remove("status") {
        fields.insert("status".to_owned(), self::status(status)?);
    }
    for (name, made) in [
        ("artifacts", artifact as fn(&str, Value) -> Result<Value, Fault>),
        ("history", |_place, said| Ok(message(said)?.into())),
    ] {
        match fields.remove(name) {
            None | Some(Value::Null) => {}
            Some(Value::Array(items)) => {
                let items = items.into_iter().map(|item| made(name, item));
                let items = items.collect::<Result<Vec<_>, _>>()?;
                fields.insert(name.to_owned(), items.into());
            }
            Some(_) => return Err(Fault::field(name, "is no list")),
        }
    }
    Ok(Value::Object(fields))
}

fn status_update(mut fields: Fields) -> Result<Value, Fault> {
    fields.remove("final");
    let status = fields.remove("status").unwrap_or_default();
    fields.insert("status".to_owned(), self::status(status)?);
    Ok(Value::Object(fields))
}

fn status(said: Value) -> Result<Value, Fault> {
    let Value::Object(mut fields) = said else {
        return Err(Fault::field("status", "is no object"));
    };
    let named = fields.get("state").and_then(Value::as_str).unwrap_or_default();
    let known = wire::TaskState::Submitted as i32..=wire::TaskState::AuthRequired as i32;
    let state = known
        .filter_map(|number| wire::TaskState::try_from(number).ok())
        .find(|state| {
            let is_proto = state.as_str_name() == named.replace("CANCELLED", "CANCELED");
            is_proto || own_state(*state).is_some_and(|own| own.as_str() == named)
        })
        // `unknown`, or what nobody knows.
        .unwrap_or(wire::TaskState::Unspecified);
    fields.insert("state".to_owned(), state.as_str_name().into());
    let update = fields.remove("update");
    match fields.remove("message").or(update) {
        None | Some(Value::Null) => {}
        Some(said) => {
            fields.insert("message".to_owned(), message(said)?.into());
        }
    }
    // It is of no account to us, and some write it without an offset.
    fields.remove("timestamp");
    Ok(Value::Object(fields))
}

fn artifact(place: &str, said: Value) -> Result<Value, Fault> {
    let Value::Object(mut fields) = said else {
        return Err(Fault::field(place, "is no object"));
    };
    // Parts are those of a message.
    let parts = fields.remove("parts").unwrap_or_else(|| json!([]));
    let mut carried = message(json!({ "parts": parts }))?;
    fields.insert("parts".to_owned(), carried.remove("parts").unwrap_or_default());
    Ok(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compat::{Form, task as shown};

    #[test]
    fn what_was_told_in_the_earlier_version_comes_back_as_it_was() {
        let task: wire::Task = serde_json::from_value(json!({
            "id": "t", "contextId": "c",
            "status": {"state": "TASK_STATE_INPUT_REQUIRED", "message": {
                "messageId": "m", "role": "ROLE_AGENT", "parts": [{"text": "which?"}, {"data": [5]}]}},
            "artifacts": [{"artifactId": "a", "name": "a", "parts": [
                {"text": "x"}, {"raw": "AA==", "mediaType": "image/png", "filename": "f"}]}],
            "history": [{"messageId": "n", "role": "ROLE_USER", "parts": [{"url": "http://u"}]}],
        }))
        .unwrap();
        let proto = json!({"task": shown(Form::Proto, &task)});
        for said in [shown(Form::Kinds, &task), shown(Form::Proto, &task), proto] {
            let back = told(said).unwrap();
            let back: wire::StreamResponse = serde_json::from_value(back).unwrap();
            assert_eq!(back.payload, Some(wire::stream_response::Payload::Task(task.clone())));
        }
    }

    #[test]
    fn events_are_told_by_their_kind() {
        let status = json!({"kind": "status-update", "taskId": "t", "contextId": "c", "final": true,
            "status": {"state": "completed", "timestamp": "2025-10-28T10:30:00"}});
        assert_eq!(
            told(status).unwrap(),
            json!({"statusUpdate": {
            "taskId": "t", "contextId": "c", "status": {"state": "TASK_STATE_COMPLETED"}}})
        );
        let artifact = json!({"kind": "artifact-update", "taskId": "t", "contextId": "c", "append": true,
            "artifact": {"artifactId": "a", "parts": [{"kind": "text", "text": "x"}]}});
        assert_eq!(
            told(artifact).unwrap(),
            json!({"artifactUpdate": {
            "taskId": "t", "contextId": "c", "append": true,
            "artifact": {"artifactId": "a", "parts": [{"text": "x"}]}}})
        );
        let message = json!({"kind": "message", "messageId": "m", "role": "agent", "parts": []});
        assert_eq!(told(message).unwrap()["message"]["role"], "ROLE_AGENT");
        let status = json!({"statusUpdate": {"taskId": "t", "contextId": "c",
            "status": {"state": "TASK_STATE_CANCELLED"}}});
        assert_eq!(told(status).unwrap()["statusUpdate"]["status"]["state"], "TASK_STATE_CANCELED");
        let message = json!({"message": {"messageId": "m", "role": "ROLE_AGENT", "content": []}});
        assert_eq!(told(message).unwrap()["message"]["messageId"], "m");
        for wrong in [
            json!(1),
            json!({"kind": "x"}),
            json!({}),
            json!({"x": {}}),
            json!({"task": 1}),
            json!({"kind": "task", "history": 1}),
        ] {
            assert!(told(wrong).is_err());
        }
    }
}
