//! The JSON-RPC 2.0 binding: one endpoint, the method in the body.

use super::body::{message, parsed, read};
use super::negotiate::{self, Version};
use super::{hint, json, rest, sse, v03};
use crate::compat;
use crate::fault::{Fault, FaultKind};
use crate::handler::{Call, Handler, Item};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json as object};
use std::sync::Arc;

/// The media type of this binding.
const KIND: &str = "application/json";

/// What a request is answered with.
pub(super) enum Answer {
    One(Value),
    Stream(Response),
}

/// Answers a request.
pub(super) async fn answer(
    handler: &Arc<Handler>,
    call: Result<Call, Fault>,
    version: Result<Version, Fault>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let read = read(&parts.headers, body, handler.config.body_bytes).await;
    let mut id = Value::Null;
    let mut in_03 = false;
    let answered = async {
        let (method, mut params) = envelope(&read?, &mut id)?;
        let mut call = call?;
        match version? {
            Version::V1 => {
                call.name_agent_in(&mut params)?;
                operate(handler, &call, (method, params), &id).await
            }
            // The names of methods tell the versions apart.
            Version::V03 if !method.contains('/') => Err(negotiate::only_in_1_0()),
            Version::V03 => {
                in_03 = true;
                v03::operate(handler, &call, (&method, params), &id).await
            }
        }
    };
    match Box::pin(answered).await {
        Ok(Answer::One(result)) => {
            let body = object!({"jsonrpc": "2.0", "id": id, "result": result});
            json(StatusCode::OK, KIND, body.to_string())
        }
        Ok(Answer::Stream(response)) => response,
        Err(fault) => {
            // Errors of the operation are answers; those of the transport have its status.
            let status = match fault.kind {
                FaultKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                FaultKind::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                _ => StatusCode::OK,
            };
            let mut error = fault.to_rpc();
            if in_03 {
                error["code"] = compat::rpc_code(fault.kind).into();
            }
            let body = object!({"jsonrpc": "2.0", "id": id, "error": error});
            let mut response = json(status, KIND, body.to_string());
            hint(&mut response, &fault);
            response
        }
    }
}

/// The method and parameters of a request; its id as soon as that is known.
pub(super) fn envelope(body: &[u8], id: &mut Value) -> Result<(String, Value), Fault> {
    let invalid = |why: &str| Err(Fault::new(FaultKind::InvalidRequest, why));
    if body.is_empty() {
        return Err(Fault::new(FaultKind::Parse, "the body is empty"));
    }
    let Value::Object(mut fields) = parsed(body)? else {
        return invalid("the request is no object; batches are not taken");
    };
    match fields.remove("id") {
        Some(named @ (Value::String(_) | Value::Number(_))) => *id = named,
        None | Some(Value::Null) => {}
        Some(_) => return invalid("the id is neither text nor number"),
    }
    if fields.remove("jsonrpc") != Some("2.0".into()) {
        return invalid("jsonrpc must be \"2.0\"");
    }
    let Some(Value::String(method)) = fields.remove("method") else {
        return invalid("the method is no text");
    };
    match fields.remove("params") {
        None | Some(Value::Null) => Ok((method, Value::Object(Map::new()))),
        Some(params) => Ok((method, params)),
    }
}

async fn operate(
    handler: &Arc<Handler>,
    call: &Call,
    (method, params): (String, Value),
    id: &Value,
) -> Result<Answer, Fault> {
    match method.as_str() {
        "SendMessage" => one(&handler.send(call, message(params)?).await?),
        "SendStreamingMessage" => {
            let stream = handler.send_stream(call, message(params)?).await?;
            Ok(Answer::Stream(sse::answer(stream, Words(id.clone()))))
        }
        "GetTask" => one(&handler.get(call, message(params)?).await?),
        "ListTasks" => Ok(Answer::One(rest::page(&handler.list(call, message(params)?).await?)?)),
        "CancelTask" => one(&handler.cancel(call, message(params)?).await?),
        "SubscribeToTask" => {
            let stream = handler.subscribe(call, message(params)?).await?;
            Ok(Answer::Stream(sse::answer(stream, Words(id.clone()))))
        }
        "GetExtendedAgentCard" => one(&handler.extended_card(call, message(params)?).await?),
        "CreateTaskPushNotificationConfig" => {
            one(&handler.create_push(call, message(params)?).await?)
        }
        "GetTaskPushNotificationConfig" => one(&handler.get_push(call, message(params)?).await?),
        "ListTaskPushNotificationConfigs" => {
            one(&handler.list_push(call, message(params)?).await?)
        }
        "DeleteTaskPushNotificationConfig" => {
            handler.delete_push(call, message(params)?).await?;
            Ok(Answer::One(Value::Null))
        }
        other => Err(unknown(other)),
    }
}

/// There is no such method.
pub(super) fn unknown(method: &str) -> Fault {
    let shown: String = method.chars().take(64).collect();
    Fault::new(FaultKind::MethodNotFound, format!("there is no method '{shown}'"))
}

pub(super) fn one(message: &impl Serialize) -> Result<Answer, Fault> {
    serde_json::to_value(message)
        .map(Answer::One)
        .map_err(|error| Fault::new(FaultKind::Internal, error.to_string()))
}

/// How this binding tells a stream: each event is a response to the request with this id.
struct Words(Value);

impl sse::Words for Words {
    fn item(&self, item: &Item) -> Value {
        object!({"jsonrpc": "2.0", "id": self.0, "result": sse::response(item)})
    }

    fn fault(&self, fault: &Fault) -> (Option<&'static str>, Value) {
        (None, object!({"jsonrpc": "2.0", "id": self.0, "error": fault.to_rpc()}))
    }
}
