//! The HTTP+JSON binding.
//!
//! Answers are of the standard's media type, which is a recommendation; a client that speaks of
//! plain JSON gets that.

use super::body::{message, parsed, read, unwanted};
use super::{hint, json, query, sse};
use crate::check::Checked;
use crate::endpoint::Rest;
use crate::fault::{Fault, FaultKind};
use crate::handler::{Call, Handler, Item};
use crate::wire;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;

/// The media type of this binding.
const KIND: &str = "application/a2a+json";
/// What JSON is called besides.
const PLAIN: &str = "application/json";

/// Answers an operation.
pub(super) async fn answer(
    handler: &Arc<Handler>,
    call: Result<Call, Fault>,
    rest: Rest,
    request: Request,
) -> Response {
    let kind = kind(request.headers());
    let mut response = match Box::pin(operate(handler, call, rest, request)).await {
        Ok(response) => response,
        Err(fault) => refused(&fault),
    };
    if let Some(named) = response.headers_mut().get_mut(header::CONTENT_TYPE)
        && *named == KIND
    {
        *named = HeaderValue::from_static(kind);
    }
    response
}

/// The media type of what a client is answered: plain JSON for one that sends it, or that takes it
/// by name and the standard's not.
fn kind(headers: &HeaderMap) -> &'static str {
    let names = |header: &header::HeaderName, kind: &str| {
        let values = headers.get_all(header).iter().filter_map(|value| value.to_str().ok());
        let mut named = values
            .flat_map(|value| value.split(','))
            .map(|value| value.split(';').next().unwrap_or_default().trim());
        named.any(|value| value.eq_ignore_ascii_case(kind))
    };
    let takes = names(&header::ACCEPT, PLAIN) && !names(&header::ACCEPT, KIND);
    if names(&header::CONTENT_TYPE, PLAIN) || takes { PLAIN } else { KIND }
}

/// An error as this binding tells it.
pub(super) fn refused(fault: &Fault) -> Response {
    let status = StatusCode::from_u16(fault.kind.http_status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, KIND, fault.to_http().to_string());
    hint(&mut response, fault);
    response
}

async fn operate(
    handler: &Arc<Handler>,
    call: Result<Call, Fault>,
    rest: Rest,
    request: Request,
) -> Result<Response, Fault> {
    let (parts, body) = request.into_parts();
    let most = handler.config.body_bytes;
    let mut call = match call {
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
    let mut value = match posted {
        Some(body) => parsed(&body)?,
        None => query::request(parts.uri.query().unwrap_or_default()),
    };
    call.name_agent_in(&mut value)?;
    match rest {
        Rest::Send => Ok(ok(&handler.send(&call, message(value)?).await?)),
        Rest::Stream => {
            let stream = handler.send_stream(&call, message(value)?).await?;
            Ok(sse::answer(stream, Words))
        }
        Rest::List => Ok(listed(&handler.list(&call, message(value)?).await?)),
        Rest::Get(id) => Ok(ok(&handler.get(&call, with(value, "id", &id)?).await?)),
        Rest::Cancel(id) => Ok(ok(&handler.cancel(&call, with(value, "id", &id)?).await?)),
        Rest::Subscribe(id) => {
            let stream = handler.subscribe(&call, with(value, "id", &id)?).await?;
            Ok(sse::answer(stream, Words))
        }
        Rest::ExtendedCard => Ok(ok(&handler.extended_card(&call, message(value)?).await?)),
        Rest::CardOf03 => Err(Fault::new(FaultKind::MethodNotFound, "nothing is here in 1.0")),
        Rest::CreatePush(task) => {
            Ok(ok(&handler.create_push(&call, with(value, "taskId", &task)?).await?))
        }
        Rest::ListPush(task) => {
            Ok(ok(&handler.list_push(&call, with(value, "taskId", &task)?).await?))
        }
        Rest::GetPush(task, id) => {
            Ok(ok(&handler.get_push(&call, of_config(value, &task, &id)?).await?))
        }
        Rest::DeletePush(task, id) => {
            handler.delete_push(&call, of_config(value, &task, &id)?).await?;
            Ok(json(StatusCode::OK, KIND, "{}".to_owned()))
        }
    }
}

/// A request about one push notification config.
fn of_config<T: DeserializeOwned + Checked>(
    mut value: Value,
    task: &str,
    id: &str,
) -> Result<T, Fault> {
    if let Value::Object(fields) = &mut value {
        fields.insert("taskId".to_owned(), task.into());
    }
    with(value, "id", id)
}

/// A request with the field that its path names, which its body must not contradict.
fn with<T: DeserializeOwned + Checked>(
    mut value: Value,
    field: &str,
    named: &str,
) -> Result<T, Fault> {
    if let Value::Object(fields) = &mut value {
        let said = fields.insert(field.to_owned(), named.into());
        if let Some(said) = said.filter(|said| *said != named && *said != "") {
            let said: String = said.to_string().chars().take(128).collect();
            return Err(Fault::field(field, format!("is {said}, but the path names '{named}'")));
        }
    }
    message(value)
}

fn ok(message: &impl Serialize) -> Response {
    match serde_json::to_string(message) {
        Ok(text) => json(StatusCode::OK, KIND, text),
        Err(error) => refused(&Fault::new(FaultKind::Internal, error.to_string())),
    }
}

/// A page of tasks, whose fields are all there however empty they are.
pub(super) fn page(page: &wire::ListTasksResponse) -> Result<Value, Fault> {
    let wire::ListTasksResponse { tasks, next_page_token, page_size, total_size } = page;
    let tasks = serde_json::to_value(tasks)
        .map_err(|error| Fault::new(FaultKind::Internal, error.to_string()))?;
    Ok(serde_json::json!({
        "tasks": tasks,
        "nextPageToken": next_page_token,
        "pageSize": page_size,
        "totalSize": total_size,
    }))
}

fn listed(tasks: &wire::ListTasksResponse) -> Response {
    match page(tasks) {
        Ok(page) => json(StatusCode::OK, KIND, page.to_string()),
        Err(fault) => refused(&fault),
    }
}

/// How this binding tells a stream.
struct Words;

impl sse::Words for Words {
    fn item(&self, item: &Item) -> Value {
        sse::response(item)
    }

    fn fault(&self, fault: &Fault) -> (Option<&'static str>, Value) {
        (Some("error"), fault.to_http())
    }
}
