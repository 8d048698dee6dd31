//! What reads the bodies of requests, for the fuzz targets, which try it with bytes that nobody meant
//! well. It is no part of what the crate offers.

use super::{body, jsonrpc, query};
use crate::check;
use crate::compat::{self, Form};
use crate::content::{self, Place};
use crate::fault::Fault;
use crate::wire;
use serde::de::DeserializeOwned;
use serde_json::Value;
use trunkline_types::{MessageId, Partition, Payload, WallTime};

/// The method and the parameters of a request of JSON-RPC.
///
/// # Errors
/// It is no such request.
pub fn call(bytes: &[u8]) -> Result<(String, Value), Fault> {
    jsonrpc::envelope(bytes, &mut Value::Null)
}

/// The JSON in a body of HTTP+JSON.
///
/// # Errors
/// It is no JSON.
pub fn parsed(bytes: &[u8]) -> Result<Value, Fault> {
    body::parsed(bytes)
}

/// The request that a query stands for.
pub fn asked(query: &str) -> Value {
    query::request(query)
}

/// A message of the standard out of JSON.
///
/// # Errors
/// The field that is wrong.
pub fn message<T: DeserializeOwned>(value: Value) -> Result<T, Fault> {
    body::message(value)
}

/// A request of 0.3 to send a message, as one of 1.0.
///
/// # Errors
/// The field that is wrong.
pub fn send_03(params: Value) -> Result<Value, Fault> {
    compat::send(params)
}

/// A request of 0.3 about one task, as one of 1.0.
///
/// # Errors
/// The field that is wrong.
pub fn task_03(params: Value) -> Result<Value, Fault> {
    compat::named_task(params)
}

/// A request of 0.3 to set a webhook, as one of 1.0: of the task that a path names, or that it
/// names itself.
///
/// # Errors
/// The field that is wrong.
pub fn webhook_03(task: Option<&str>, params: Value) -> Result<Value, Fault> {
    match task {
        Some(task) => compat::push_config_of(task, params),
        None => compat::push_config(params),
    }
}

/// The task and the webhook that a request of 0.3 names.
///
/// # Errors
/// It names none.
pub fn named_03(params: &Value) -> Result<(String, Option<String>), Fault> {
    compat::named_config(params)
}

/// A message as 0.3 tells it, with kinds or as its proto file had it.
pub fn told_03(message: &wire::Message, with_kinds: bool) -> Value {
    compat::message(if with_kinds { Form::Kinds } else { Form::Proto }, message)
}

/// A message as an agent gets it, and as it is shown afterwards.
///
/// # Errors
/// What the message lacks.
pub fn carried(message: wire::Message) -> Result<(Payload, wire::Message), Fault> {
    check::message("message", &message)?;
    let role = message.role();
    let payload = content::to_payload(message);
    let task = MessageId::from_parts(1, Partition(0), 1);
    let place = Place { task, context: "c", at: WallTime(1) };
    let shown = content::to_message(&payload, role, place)?;
    Ok((payload, shown))
}

/// A part of an artifact as an agent gets it, and the parts that are shown of that.
///
/// # Errors
/// What the part lacks.
pub fn carried_part(part: &wire::Part) -> Result<(Payload, Vec<wire::Part>), Fault> {
    check::parts("parts", std::slice::from_ref(part))?;
    let payload = content::of_part(part);
    let shown = content::to_artifact(&payload)?;
    Ok((payload, shown.parts))
}
