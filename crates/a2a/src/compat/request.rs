//! Requests of 0.3 as those of 1.0.

use crate::fault::Fault;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// Takes a field by either spelling of its name.
fn take(fields: &mut Fields, names: &[&str]) -> Option<Value> {
    let found: Vec<Value> = names.iter().filter_map(|name| fields.remove(*name)).collect();
    found.into_iter().find(|value| !value.is_null())
}

fn object(field: &str, value: Value) -> Result<Fields, Fault> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(Fault::field(field, "is no object")),
    }
}

/// A request to send a message.
pub(crate) fn send(params: Value) -> Result<Value, Fault> {
    let mut params = object("params", params)?;
    let in_proto = params.contains_key("request");
    let message = take(&mut params, &["message", "request"]);
    let configuration = take(&mut params, &["configuration"]);
    let mut request = Fields::new();
    if let Some(said) = message {
        request.insert("message".into(), Value::Object(self::message(said)?));
    }
    if let Some(configuration) = configuration {
        let fields = object("configuration", configuration)?;
        request.insert("configuration".into(), Value::Object(configured(fields, in_proto)?));
    }
    if let Some(metadata) = take(&mut params, &["metadata"]) {
        request.insert("metadata".into(), metadata);
    }
    Ok(Value::Object(request))
}

pub(super) fn message(said: Value) -> Result<Fields, Fault> {
    let mut fields = object("message", said)?;
    fields.remove("kind");
    let role = match fields.get("role").and_then(Value::as_str) {
        Some("user") => Some("ROLE_USER"),
        Some("agent") => Some("ROLE_AGENT"),
        _ => None,
    };
    if let Some(role) = role {
        fields.insert("role".into(), role.into());
    }
    let parts = match take(&mut fields, &["parts", "content"]) {
        Some(Value::Array(parts)) => parts,
        Some(_) => return Err(Fault::field("message.parts", "is no list")),
        None => Vec::new(),
    };
    let numbered = parts.into_iter().enumerate();
    let parts = numbered.map(|(at, value)| part(&format!("message.parts[{at}]"), value));
    fields.insert("parts".into(), parts.collect::<Result<Vec<Value>, Fault>>()?.into());
    Ok(fields)
}

fn part(place: &str, value: Value) -> Result<Value, Fault> {
    let mut fields = object(place, value)?;
    let kind = take(&mut fields, &["kind"]);
    let mut made = Fields::new();
    let mut metadata = take(&mut fields, &["metadata"]);
    if let Some(file) = take(&mut fields, &["file"]) {
        let mut file = object(&format!("{place}.file"), file)?;
        let mut put = |name: &str, from: &[&str]| {
            if let Some(value) = take(&mut file, from) {
                made.insert(name.into(), value);
            }
        };
        put("raw", &["bytes", "fileWithBytes", "file_with_bytes"]);
        put("url", &["uri", "fileWithUri", "file_with_uri"]);
        put("mediaType", &["mimeType", "mime_type"]);
        put("filename", &["name"]);
    } else if let Some(data) = take(&mut fields, &["data"]) {
        let mut data = match data {
            // The proto file has an object around the object.
            Value::Object(mut around) if kind.is_none() && around.len() == 1 => {
                around.remove("data").unwrap_or(Value::Object(around))
            }
            data => data,
        };
        // A value that is no object travels as the field of one, and says so.
        let wrapped = metadata.as_mut().and_then(Value::as_object_mut);
        if wrapped.is_some_and(|known| known.remove(super::answer::WRAPPED) == Some(true.into())) {
            data = data.get_mut("value").map(Value::take).unwrap_or_default();
            if metadata.as_ref().and_then(Value::as_object).is_some_and(Map::is_empty) {
                metadata = None;
            }
        }
        made.insert("data".into(), data);
    } else if let Some(text) = take(&mut fields, &["text"]) {
        made.insert("text".into(), text);
    } else {
        return Err(Fault::field(place, "needs one of text, file and data"));
    }
    if let Some(metadata) = metadata {
        made.insert("metadata".into(), metadata);
    }
    Ok(Value::Object(made))
}

fn configured(mut fields: Fields, in_proto: bool) -> Result<Fields, Fault> {
    let mut made = Fields::new();
    if let Some(modes) = take(&mut fields, &["acceptedOutputModes", "accepted_output_modes"]) {
        made.insert("acceptedOutputModes".into(), modes);
    }
    let names = ["pushNotificationConfig", "pushNotification", "push_notification"];
    if let Some(push) = take(&mut fields, &names) {
        let place = "configuration.pushNotificationConfig";
        made.insert("taskPushNotificationConfig".into(), Value::Object(pushed(place, push)?));
    }
    // None and all of them were the same.
    let length = take(&mut fields, &["historyLength", "history_length"]);
    if let Some(length) = length.filter(|length| *length != 0) {
        made.insert("historyLength".into(), length);
    }
    // Protobuf leaves out what is false.
    let blocking = take(&mut fields, &["blocking"]).or(in_proto.then_some(Value::Bool(false)));
    match blocking {
        None => {}
        Some(Value::Bool(blocking)) => {
            made.insert("returnImmediately".into(), (!blocking).into());
        }
        Some(_) => return Err(Fault::field("configuration.blocking", "is neither true nor false")),
    }
    Ok(made)
}

/// What is said of a webhook.
fn pushed(place: &str, push: Value) -> Result<Fields, Fault> {
    let mut fields = object(place, push)?;
    let said = take(&mut fields, &["authentication"]);
    if let Some(said) = said {
        let field = format!("{place}.authentication");
        let mut said = object(&field, said)?;
        let schemes = take(&mut said, &["schemes"]);
        let first = schemes.and_then(|schemes| Some(schemes.as_array()?.first()?.clone()));
        let first = first.filter(|scheme| *scheme != "");
        let missing = || Fault::field(format!("{field}.schemes"), "is required: at least one");
        said.insert("scheme".into(), first.ok_or_else(missing)?);
        fields.insert("authentication".into(), Value::Object(said));
    }
    Ok(fields)
}

/// A request to set a webhook of a task that it names itself.
pub(crate) fn push_config(params: Value) -> Result<Value, Fault> {
    let mut params = object("params", params)?;
    let task = take(&mut params, &["taskId", "task_id", "id"]);
    let config = take(&mut params, &["pushNotificationConfig", "push_notification_config"]);
    let mut made = match config {
        Some(config) => pushed("pushNotificationConfig", config)?,
        None => Fields::new(),
    };
    if let Some(task) = task {
        made.insert("taskId".into(), task);
    }
    Ok(Value::Object(made))
}

/// A request to set a webhook of the task that a path names. The proto file puts the config
/// into a second one, with the id beside it.
pub(crate) fn push_config_of(task: &str, body: Value) -> Result<Value, Fault> {
    let mut fields = object("body", body)?;
    let id = take(&mut fields, &["configId", "config_id"]);
    let mut inner = match take(&mut fields, &["config"]) {
        Some(inner) => object("config", inner)?,
        None => fields,
    };
    let names = ["pushNotificationConfig", "push_notification_config"];
    let config = take(&mut inner, &names).unwrap_or(Value::Object(inner));
    let mut made = pushed("config.pushNotificationConfig", config)?;
    if let Some(id) = id {
        made.entry("id").or_insert(id);
    }
    made.insert("taskId".into(), task.into());
    Ok(Value::Object(made))
}

/// The task and the webhook that a request of JSON-RPC names.
pub(crate) fn named_config(params: &Value) -> Result<(String, Option<String>), Fault> {
    let text = |name: &str| params.get(name).and_then(Value::as_str).map(str::to_owned);
    let task = text("id").ok_or_else(|| Fault::field("id", "is required: the task's"))?;
    Ok((task, text("pushNotificationConfigId")))
}

/// A request about one task.
pub(crate) fn named_task(params: Value) -> Result<Value, Fault> {
    let mut params = object("params", params)?;
    let mut request = Fields::new();
    for name in ["id", "metadata"] {
        if let Some(value) = take(&mut params, &[name]) {
            request.insert(name.into(), value);
        }
    }
    let length = take(&mut params, &["historyLength", "history_length"]);
    // From a query it is a text.
    if let Some(length) = length.filter(|length| *length != 0 && *length != "0") {
        request.insert("historyLength".into(), length);
    }
    Ok(Value::Object(request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_ways_to_write_a_message_come_to_the_same() {
        let by_kind = json!({"message": {
            "kind": "message", "messageId": "m", "role": "user", "contextId": "c",
            "parts": [
                {"kind": "text", "text": "x", "metadata": {"a": 1}},
                {"kind": "data", "data": {"data": {}}},
                {"kind": "file", "file": {"bytes": "AA==", "mimeType": "image/png", "name": "a"}},
                {"kind": "file", "file": {"uri": "http://b"}},
                {"kind": "data", "data": {"value": [1]}, "metadata": {"data_part_compat": true}},
            ],
        }});
        let in_proto = json!({"request": {
            "messageId": "m", "role": "ROLE_USER", "contextId": "c",
            "content": [
                {"text": "x", "metadata": {"a": 1}},
                {"data": {"data": {"data": {}}}},
                {"file": {"file_with_bytes": "AA==", "mime_type": "image/png", "name": "a"}},
                {"file": {"fileWithUri": "http://b"}},
                {"data": {"data": {"value": [1]}}, "metadata": {"data_part_compat": true}},
            ],
        }});
        let expected = json!({"message": {
            "messageId": "m", "role": "ROLE_USER", "contextId": "c",
            "parts": [
                {"text": "x", "metadata": {"a": 1}},
                {"data": {"data": {}}},
                {"raw": "AA==", "mediaType": "image/png", "filename": "a"},
                {"url": "http://b"},
                {"data": [1]},
            ],
        }});
        assert_eq!(send(by_kind).unwrap(), expected);
        assert_eq!(send(in_proto).unwrap(), expected);
    }

    #[test]
    fn what_is_left_out_of_a_configuration_means_what_it_meant() {
        let configured = |params: Value| send(params).unwrap()["configuration"].clone();
        let message = json!({"role": "user", "parts": []});
        let of = |configuration: Value| json!({"message": message, "configuration": configuration});
        assert_eq!(configured(of(json!({"historyLength": 0}))), json!({}));
        let blocking = json!({"blocking": false, "historyLength": 3});
        let expected = json!({"returnImmediately": true, "historyLength": 3});
        assert_eq!(configured(of(blocking)), expected);
        let in_proto = json!({"request": message, "configuration": {}});
        assert_eq!(configured(in_proto), json!({"returnImmediately": true}));
        let push =
            json!({"url": "u", "authentication": {"schemes": ["Bearer"], "credentials": "c"}});
        let expected =
            json!({"url": "u", "authentication": {"scheme": "Bearer", "credentials": "c"}});
        let made = configured(of(json!({ "pushNotificationConfig": push })));
        assert_eq!(made["taskPushNotificationConfig"], expected);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (params, field) in [
            (json!([]), "params"),
            (json!({"message": 1}), "message"),
            (json!({"message": {"parts": [{"kind": "text"}]}}), "message.parts[0]"),
            (json!({"message": {}, "configuration": {"blocking": 1}}), "configuration.blocking"),
            (
                json!({"message": {}, "configuration": {"pushNotificationConfig":
                    {"url": "u", "authentication": {"credentials": "c"}}}}),
                "configuration.pushNotificationConfig.authentication.schemes",
            ),
        ] {
            let told = send(params).unwrap_err().to_rpc();
            assert_eq!(told["data"][1]["fieldViolations"][0]["field"], field);
        }
    }
}
