//! Version 0.3 of both bindings over HTTP: which operation of ours is meant, and how it answers.

use super::body::{message, parsed, read, unwanted};
use super::jsonrpc::{Answer, one, unknown};
use super::{hint, json, negotiate, query, sse, well_known};
use crate::compat::{self, Form};
use crate::endpoint::{Endpoint, Rest};
use crate::fault::{Fault, FaultKind};
use crate::handler::{Call, Handler, Item};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json as object};
use std::sync::Arc;
use trunkline_types::TenantId;

/// What stands in front of this version's paths, and would be a tenant in 1.0.
const PREFIX: &str = "v1";

/// Takes the prefix for what it is: there were no tenants.
pub(super) fn strip(endpoint: &mut Endpoint) {
    if endpoint.tenant.as_ref().map(TenantId::as_str) == Some(PREFIX) {
        endpoint.tenant = None;
    }
}

/// Does what a method of JSON-RPC means.
pub(super) async fn operate(
    handler: &Arc<Handler>,
    call: &Call,
    (method, params): (&str, Value),
    id: &Value,
) -> Result<Answer, Fault> {
    let told = |task| Ok(Answer::One(compat::task(Form::Kinds, &task)));
    match method {
        "message/send" => {
            let sent = handler.send(call, message(compat::send(params)?)?).await?;
            Ok(Answer::One(compat::sent(Form::Kinds, &sent)))
        }
        "message/stream" => {
            let stream = handler.send_stream(call, message(compat::send(params)?)?).await?;
            Ok(Answer::Stream(sse::answer(stream, RpcWords(id.clone()))))
        }
        "tasks/get" => told(handler.get(call, message(compat::named_task(params)?)?).await?),
        "tasks/cancel" => told(handler.cancel(call, message(compat::named_task(params)?)?).await?),
        "tasks/resubscribe" => {
            let stream = handler.subscribe(call, message(compat::named_task(params)?)?).await?;
            Ok(Answer::Stream(sse::answer(stream, RpcWords(id.clone()))))
        }
        "agent/getAuthenticatedExtendedCard" => {
            let card = handler.extended_card(call, message(object!({}))?).await?;
            one(&well_known::in_both_versions(&card)?)
        }
        "tasks/pushNotificationConfig/set" => {
            let config = handler.create_push(call, message(compat::push_config(params)?)?).await?;
            Ok(Answer::One(compat::pushed(Form::Kinds, &config)))
        }
        "tasks/pushNotificationConfig/get" => {
            let (task, id) = compat::named_config(&params)?;
            let config = if let Some(id) = id {
                let request = object!({"taskId": task, "id": id});
                handler.get_push(call, message(request)?).await?
            } else {
                // There could be one only, and it needed no name.
                let listed = handler.list_push(call, message(object!({"taskId": task}))?);
                let first = listed.await?.configs.into_iter().next();
                first.ok_or_else(|| {
                    let message = format!("task {task} has no push notification config");
                    Fault::new(FaultKind::TaskNotFound, message)
                })?
            };
            Ok(Answer::One(compat::pushed(Form::Kinds, &config)))
        }
        "tasks/pushNotificationConfig/list" => {
            let (task, _) = compat::named_config(&params)?;
            let listed = handler.list_push(call, message(object!({"taskId": task}))?).await?;
            let configs = listed.configs.iter().map(|known| compat::pushed(Form::Kinds, known));
            Ok(Answer::One(configs.collect()))
        }
        "tasks/pushNotificationConfig/delete" => {
            let (task, id) = compat::named_config(&params)?;
            let request = object!({"taskId": task, "id": id});
            handler.delete_push(call, message(request)?).await?;
            Ok(Answer::One(Value::Null))
        }
        other => Err(unknown(other)),
    }
}

/// How JSON-RPC told a stream.
struct RpcWords(Value);

impl sse::Words for RpcWords {
    fn item(&self, item: &Item) -> Value {
        let result = compat::streamed(Form::Kinds, item);
        object!({"jsonrpc": "2.0", "id": self.0, "result": result})
    }

    fn fault(&self, fault: &Fault) -> (Option<&'static str>, Value) {
        let mut error = fault.to_rpc();
        error["code"] = compat::rpc_code(fault.kind).into();
        (None, object!({"jsonrpc": "2.0", "id": self.0, "error": error}))
    }
}

/// Answers an operation of HTTP+JSON.
pub(super) async fn answer(
    handler: &Arc<Handler>,
    call: Result<Call, Fault>,
    rest: Rest,
    request: Request,
) -> Response {
    match Box::pin(served(handler, call, rest, request)).await {
        Ok(response) => response,
        // What there is in 1.0 only is refused in its words.
        Err(fault) if fault.kind == FaultKind::VersionNotSupported => super::rest::refused(&fault),
        Err(fault) => refused(&fault),
    }
}

async fn served(
    handler: &Arc<Handler>,
    call: Result<Call, Fault>,
    rest: Rest,
    request: Request,
) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let most = handler.config.body_bytes;
    let call = match call {
        Ok(call) => call,
        Err(refusal) => {
            unwanted(&parts.headers, body, most).await;
            return Err(refusal);
        }
    };
    let posted = if parts.method == axum::http::Method::POST {
        Some(read(&parts.headers, body, most).await?)
    } else {
        None
    };
    let value = match posted {
        Some(body) => parsed(&body)?,
        None => query::request(parts.uri.query().unwrap_or_default()),
    };
    let of = |id: String, mut value: Value| {
        // The path says it better than a body might.
        if let Value::Object(fields) = &mut value {
            fields.insert("id".to_owned(), id.into());
        }
        compat::named_task(value)
    };
    let ok = |value: Value| Ok(json(StatusCode::OK, "application/json", value.to_string()));
    match rest {
        Rest::Send => {
            let sent = handler.send(&call, message(compat::send(value)?)?).await?;
            ok(compat::sent(Form::Proto, &sent))
        }
        Rest::Stream => {
            let stream = handler.send_stream(&call, message(compat::send(value)?)?).await?;
            Ok(sse::answer(stream, RestWords))
        }
        Rest::Get(id) => {
            let task = handler.get(&call, message(of(id, value)?)?).await?;
            ok(compat::task(Form::Proto, &task))
        }
        Rest::Cancel(id) => {
            let task = handler.cancel(&call, message(of(id, value)?)?).await?;
            ok(compat::task(Form::Proto, &task))
        }
        Rest::Subscribe(id) => {
            let stream = handler.subscribe(&call, message(of(id, value)?)?).await?;
            Ok(sse::answer(stream, RestWords))
        }
        Rest::CardOf03 => {
            let card = handler.extended_card(&call, message(object!({}))?).await?;
            ok(well_known::in_both_versions(&card)?)
        }
        Rest::CreatePush(task) => {
            let request = compat::push_config_of(&task, value)?;
            let config = handler.create_push(&call, message(request)?).await?;
            ok(compat::pushed(Form::Proto, &config))
        }
        Rest::ListPush(task) => {
            let listed = handler.list_push(&call, message(object!({"taskId": task}))?).await?;
            let configs = listed.configs.iter().map(|known| compat::pushed(Form::Proto, known));
            ok(object!({ "configs": configs.collect::<Vec<Value>>() }))
        }
        Rest::GetPush(task, id) => {
            let request = object!({"taskId": task, "id": id});
            let config = handler.get_push(&call, message(request)?).await?;
            ok(compat::pushed(Form::Proto, &config))
        }
        Rest::DeletePush(task, id) => {
            let request = object!({"taskId": task, "id": id});
            handler.delete_push(&call, message(request)?).await?;
            ok(object!({}))
        }
        Rest::List | Rest::ExtendedCard => Err(negotiate::only_in_1_0()),
    }
}

/// An error as HTTP+JSON told it. Some of its clients read the type, others the code.
fn refused(fault: &Fault) -> Response {
    let status = StatusCode::from_u16(fault.kind.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, "application/json", error(fault).to_string());
    hint(&mut response, fault);
    response
}

fn error(fault: &Fault) -> Value {
    let mut error = fault.to_rpc();
    error["code"] = compat::rpc_code(fault.kind).into();
    error["type"] = compat::fault_type(fault.kind).into();
    error
}

/// How HTTP+JSON told a stream.
struct RestWords;

impl sse::Words for RestWords {
    fn item(&self, item: &Item) -> Value {
        compat::streamed(Form::Proto, item)
    }

    fn fault(&self, fault: &Fault) -> (Option<&'static str>, Value) {
        (Some("error"), error(fault))
    }
}
