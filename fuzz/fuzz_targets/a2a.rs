//! What clients of A2A send, and agents elsewhere answer, as JSON of 1.0 and of 0.3: reading it
//! never panics, a mistake is told in words, what is let in comes back through our own words as the
//! same, and an integer stays one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use trunkline_a2a::wire::{self, part::Content};
use trunkline_a2a::{Ask, Binding, DownstreamCard, EventReader, Fault, Interface, Spoken, fuzzing};

/// Whole numbers below this are exact as doubles, which is what protobuf has.
const EXACT: u64 = 1 << 53;

fuzz_target!(|data: &[u8]| {
    let Some((&which, body)) = data.split_first() else { return };
    match which {
        0 => rpc(body),
        1 => rest(body),
        2 => rest_03(body),
        3 => {
            let _ = std::str::from_utf8(body).map(|query| any_request(&fuzzing::asked(query)));
        }
        4 => card(body),
        5 => events(body),
        6 => parts(body),
        other => answer(other, body),
    }
});

/// A request of JSON-RPC, whose method says which it is.
fn rpc(body: &[u8]) {
    let Some((method, params)) = told(fuzzing::call(body)) else { return };
    match method.as_str() {
        "SendMessage" | "SendStreamingMessage" => send(params),
        "GetTask" => request::<wire::GetTaskRequest>(params),
        "ListTasks" => request_with_time::<wire::ListTasksRequest>(params),
        "CancelTask" => request::<wire::CancelTaskRequest>(params),
        "SubscribeToTask" => request::<wire::SubscribeToTaskRequest>(params),
        "GetExtendedAgentCard" => request::<wire::GetExtendedAgentCardRequest>(params),
        "CreateTaskPushNotificationConfig" => request::<wire::TaskPushNotificationConfig>(params),
        "GetTaskPushNotificationConfig" => {
            request::<wire::GetTaskPushNotificationConfigRequest>(params);
        }
        "ListTaskPushNotificationConfigs" => {
            request::<wire::ListTaskPushNotificationConfigsRequest>(params);
        }
        "DeleteTaskPushNotificationConfig" => {
            request::<wire::DeleteTaskPushNotificationConfigRequest>(params);
        }
        "message/send" | "message/stream" => send_03(params),
        "tasks/get" => task_03::<wire::GetTaskRequest>(params),
        "tasks/cancel" => task_03::<wire::CancelTaskRequest>(params),
        "tasks/resubscribe" => task_03::<wire::SubscribeToTaskRequest>(params),
        "tasks/pushNotificationConfig/set" => webhook_03(None, params),
        _ => drop(told(fuzzing::named_03(&params))),
    }
}

/// A body of HTTP+JSON, which a path says the meaning of: whatever it may be.
fn rest(body: &[u8]) {
    let Some(value) = told(fuzzing::parsed(body)) else { return };
    send(value.clone());
    any_request(&value);
}

fn rest_03(body: &[u8]) {
    let Some(value) = told(fuzzing::parsed(body)) else { return };
    send_03(value.clone());
    task_03::<wire::GetTaskRequest>(value.clone());
    webhook_03(Some("t"), value.clone());
    webhook_03(None, value);
}

fn any_request(value: &Value) {
    request::<wire::GetTaskRequest>(value.clone());
    request_with_time::<wire::ListTasksRequest>(value.clone());
    request::<wire::CancelTaskRequest>(value.clone());
    request::<wire::TaskPushNotificationConfig>(value.clone());
}

fn send(params: Value) {
    let given = params.clone();
    let Some(request) = told(fuzzing::message::<wire::SendMessageRequest>(params)) else { return };
    same(&request);
    over_protobuf(&request);
    if let (Some(given), Some(wire::Struct(kept))) = (given.get("metadata"), &request.metadata) {
        assert_eq!(given.as_object(), Some(kept), "metadata is free, and stays as it is");
    }
    request.message.into_iter().for_each(message);
}

/// A message comes to an agent and is shown with all that it says.
fn message(message: wire::Message) {
    for part in &message.parts {
        one_part(part);
    }
    let Some((_, shown)) = told(fuzzing::carried(message.clone())) else { return };
    assert_eq!(contents(&shown.parts), contents(&message.parts));
    assert_eq!(shown.message_id, message.message_id);
    assert_eq!(shown.metadata, message.metadata);
    assert_eq!(shown.extensions, message.extensions);
    assert_eq!(shown.reference_task_ids, message.reference_task_ids);
}

fn parts(body: &[u8]) {
    let Some(value) = told(fuzzing::parsed(body)) else { return };
    if let Some(part) = told(fuzzing::message::<wire::Part>(value)) {
        same(&part);
        one_part(&part);
    }
}

fn one_part(part: &wire::Part) {
    let Some((_, shown)) = told(fuzzing::carried_part(part)) else { return };
    assert_eq!(contents(&shown), contents(std::slice::from_ref(part)));
}

fn contents(parts: &[wire::Part]) -> Vec<(Option<&Content>, Option<&wire::Struct>, &str)> {
    parts.iter().map(|it| (it.content.as_ref(), it.metadata.as_ref(), &*it.filename)).collect()
}

/// What 0.3 says is what 1.0 would, and told in the words of 0.3 it is that again.
fn send_03(params: Value) {
    let Some(made) = told(fuzzing::send_03(params)) else { return };
    let Some(request) = told(fuzzing::message::<wire::SendMessageRequest>(made)) else { return };
    same(&request);
    let Some(said) = request.message else { return };
    // What lacks something is refused before anybody tells it again.
    if told(fuzzing::carried(said.clone())).is_none() {
        return;
    }
    for with_kinds in [true, false] {
        let again = json!({ "message": fuzzing::told_03(&said, with_kinds) });
        let again = fuzzing::send_03(again).and_then(fuzzing::message::<wire::SendMessageRequest>);
        let back = again.expect("what was told can be read").message.expect("it has a message");
        assert_eq!(contents(&back.parts), contents(&said.parts));
        assert_eq!(back.message_id, said.message_id);
    }
    message(said);
}

fn task_03<T: Kept>(params: Value) {
    if let Some(made) = told(fuzzing::task_03(params)) {
        request::<T>(made);
    }
}

fn webhook_03(task: Option<&str>, params: Value) {
    if let Some(made) = told(fuzzing::webhook_03(task, params)) {
        request::<wire::TaskPushNotificationConfig>(made);
    }
}

/// What is kept of the wire.
trait Kept: Serialize + DeserializeOwned + PartialEq + Debug {}
impl<T: Serialize + DeserializeOwned + PartialEq + Debug> Kept for T {}

fn request<T: Kept>(params: Value) {
    if let Some(request) = told(fuzzing::message::<T>(params)) {
        same(&request);
    }
}

/// Of times our own words tell milliseconds only.
fn request_with_time<T: Kept>(params: Value) {
    if let Some(request) = told(fuzzing::message::<T>(params)) {
        same_words(&request);
    }
}

/// What was let in comes back through our own words.
fn same<T: Kept>(value: &T) {
    let words = serde_json::to_string(value).expect("what was read can be told");
    let back = serde_json::from_str::<T>(&words).expect("what was told can be read");
    assert_eq!(back, *value, "{words}");
}

/// What was told is told again in the same words.
fn same_words<T: Kept>(value: &T) {
    let words = serde_json::to_string(value).expect("what was read can be told");
    let back = serde_json::from_str::<T>(&words).expect("what was told can be read");
    assert_eq!(serde_json::to_string(&back).expect("it was told before"), words);
}

/// Over gRPC it is the same, but for numbers that a double does not hold.
fn over_protobuf(request: &wire::SendMessageRequest) {
    let back = wire::SendMessageRequest::decode(&*request.encode_to_vec());
    let back = back.expect("what was encoded can be decoded");
    let free = |it: &wire::SendMessageRequest| {
        Value::Object(it.metadata.clone().map_or_else(Default::default, |wire::Struct(all)| all))
    };
    numbers(&free(request), &free(&back));
}

/// Holds free JSON against what came of it.
fn numbers(before: &Value, after: &Value) {
    match (before, after) {
        (Value::Number(was), Value::Number(is)) => {
            let is_exact = was.as_i64().is_some_and(|whole| whole.unsigned_abs() < EXACT);
            if is_exact {
                assert_eq!(was, is, "an integer stays one");
            } else {
                assert_eq!(was.as_f64(), is.as_f64());
            }
        }
        (Value::Array(was), Value::Array(is)) => {
            assert_eq!(was.len(), is.len());
            was.iter().zip(is).for_each(|(was, is)| numbers(was, is));
        }
        (Value::Object(was), Value::Object(is)) => {
            assert_eq!(was.len(), is.len());
            was.iter().zip(is).for_each(|((name, was), (other, is))| {
                assert_eq!(name, other);
                numbers(was, is);
            });
        }
        (was, is) => assert_eq!(was, is),
    }
}

fn card(body: &[u8]) {
    match DownstreamCard::read(body, |_| Ok(())) {
        Ok(card) => assert!(!card.interface.url.ends_with('/'), "{card:?}"),
        Err(told) => assert!(told.contains(' '), "{told:?}"),
    }
}

/// Events are the same however their stream is cut.
fn events(body: &[u8]) {
    let Some((&cut, body)) = body.split_first() else { return };
    let read = |size: usize| {
        let (mut reader, mut events) = (EventReader::new(64), Vec::new());
        let problem = body.chunks(size).try_for_each(|piece| reader.read(piece, &mut events));
        (events, problem)
    };
    assert_eq!(read(usize::from(cut).max(1)), read(body.len().max(1)));
}

/// What an agent elsewhere answers.
fn answer(which: u8, body: &[u8]) {
    let interface = Interface {
        url: "http://a".to_owned(),
        binding: if which & 1 == 0 { Binding::JsonRpc } else { Binding::Rest },
        spoken: if which & 2 == 0 { Spoken::V1 } else { Spoken::V03 },
        tenant: String::new(),
    };
    let ask = match which / 4 % 3 {
        0 => Ask::Get("t".to_owned(), 1),
        1 => Ask::Subscribe("t".to_owned()),
        _ => Ask::Cancel("t".to_owned()),
    };
    match interface.event(&ask, body) {
        Ok(read) => same_words(&read),
        Err(trouble) => assert!(!trouble.text.is_empty(), "{trouble:?}"),
    }
    let _ = interface.answer(&ask, 404, None, body);
}

/// What was read, unless it was refused, which has its words.
fn told<T>(read: Result<T, Fault>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(fault) => {
            assert!(!fault.message.is_empty(), "{fault:?}");
            None
        }
    }
}
