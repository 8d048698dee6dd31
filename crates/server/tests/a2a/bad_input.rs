//! What is no good request, in every binding and both versions: the standard's own error, and a
//! connection that is as good as before.

use super::bench::{Answer, Bench, Connection, said, soon};
use super::grpc::v1;
use axum::body::Body;
use serde_json::{Value, json};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Service, ServiceExt};
use trunkline_a2a::wire::a2a_service_client::A2aServiceClient;
use trunkline_a2a::wire::{GetTaskRequest, ListTasksRequest};

type Headers = &'static [(&'static str, &'static str)];

const V1: Headers = &[("A2A-Version", "1.0"), ("Content-Type", "application/json")];
const V1_TEXT: Headers = &[("A2A-Version", "1.0"), ("Content-Type", "text/plain")];
const V9: Headers = &[("A2A-Version", "9.9"), ("Content-Type", "application/json")];
const V03: Headers = &[("Content-Type", "application/json")];
const V03_TEXT: Headers = &[("Content-Type", "text/plain")];
const V02: Headers = &[("A2A-Version", "0.2"), ("Content-Type", "application/json")];
const V03_ACME: Headers = &[("Content-Type", "application/json"), ("trunkline-tenant", "acme")];

/// A request that is no good, and what it is refused with: the status of HTTP, the code that the
/// body says, and the reason.
struct Bad {
    method: &'static str,
    path: String,
    headers: Headers,
    body: String,
    status: u16,
    code: i64,
    reason: &'static str,
}

fn rpc(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()
}

fn bad(
    (method, path, headers): (&'static str, &str, Headers),
    body: &(impl ToString + ?Sized),
    (status, code, reason): (u16, i64, &'static str),
) -> Bad {
    let (path, body) = (format!("/agents/helper{path}"), body.to_string());
    Bad { method, path, headers, body, status, code, reason }
}

/// Each kind of bad input by each binding over HTTP: about a task, and a text that is too long.
fn all(task: &str, large: &str) -> Vec<Bad> {
    let large = json!({ "message": said(large) });
    let post = |headers| ("POST", "", headers);
    let send = |headers| ("POST", "/message:send", headers);
    let send_03 = |headers| ("POST", "/v1/message:send", headers);
    let named = json!({"id": task, "tenant": "acme"});
    let (of_acme, of_acme_03) = (format!("/acme/tasks/{task}"), format!("/v1/tasks/{task}"));
    let get = rpc("GetTask", &json!({ "id": task }));
    let get_03 = rpc("tasks/get", &json!({ "id": task }));
    vec![
        bad(post(V1), "{", (200, -32700, "JSON_PARSE")),
        bad(post(V1_TEXT), &get, (415, -32005, "CONTENT_TYPE_NOT_SUPPORTED")),
        bad(post(V9), &get, (200, -32009, "VERSION_NOT_SUPPORTED")),
        bad(post(V1), &rpc("Fly", &json!({})), (200, -32601, "METHOD_NOT_FOUND")),
        bad(post(V1), &rpc("GetTask", &named), (200, -32001, "TASK_NOT_FOUND")),
        bad(post(V1), &rpc("SendMessage", &large), (413, -32602, "TOO_LARGE")),
        bad(send(V1), "{", (400, 400, "JSON_PARSE")),
        bad(send(V1_TEXT), "{}", (415, 415, "CONTENT_TYPE_NOT_SUPPORTED")),
        bad(send(V9), "{}", (400, 400, "VERSION_NOT_SUPPORTED")),
        bad(("POST", "/message:fly", V1), "{}", (404, 404, "METHOD_NOT_FOUND")),
        bad(("GET", &of_acme, V1), "", (404, 404, "TASK_NOT_FOUND")),
        bad(send(V1), &large, (413, 413, "TOO_LARGE")),
        bad(send(V1_TEXT), &large, (415, 415, "CONTENT_TYPE_NOT_SUPPORTED")),
        bad(send(V9), &large, (400, 400, "VERSION_NOT_SUPPORTED")),
        bad(post(V03), "{", (200, -32700, "JSON_PARSE")),
        bad(post(V03_TEXT), &get_03, (415, -32005, "CONTENT_TYPE_NOT_SUPPORTED")),
        bad(post(V02), &get_03, (200, -32009, "VERSION_NOT_SUPPORTED")),
        bad(post(V03), &rpc("message/fly", &json!({})), (200, -32601, "METHOD_NOT_FOUND")),
        bad(post(V03_ACME), &get_03, (200, -32001, "TASK_NOT_FOUND")),
        bad(post(V03), &rpc("message/send", &large), (413, -32602, "TOO_LARGE")),
        bad(send_03(V03), "{", (400, -32700, "JSON_PARSE")),
        bad(send_03(V03_TEXT), "{}", (415, -32005, "CONTENT_TYPE_NOT_SUPPORTED")),
        bad(send_03(V02), "{}", (400, 400, "VERSION_NOT_SUPPORTED")),
        bad(("POST", "/v1/message:fly", V03), "{}", (404, 404, "METHOD_NOT_FOUND")),
        bad(("GET", &of_acme_03, V03_ACME), "", (404, -32001, "TASK_NOT_FOUND")),
        bad(send_03(V03), &large, (413, -32602, "TOO_LARGE")),
    ]
}

/// The code and the reason of an error, however its binding tells it.
fn told(answer: &Answer) -> (i64, String) {
    let body = answer.json();
    let error = body.get("error").unwrap_or(&body);
    let info = &error.get("details").unwrap_or(&error["data"])[0];
    assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo", "{body}");
    (error["code"].as_i64().unwrap(), info["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn bad_input_has_its_error_in_every_binding_and_the_connection_is_good_for_more() {
    let bench = Bench::start().await;
    let id = bench.task("x").await["id"].as_str().unwrap().to_owned();
    // More than what two connections have room for on the way.
    let large = "x".repeat(8 << 20);
    for Bad { method, path, headers, body, status, code, reason } in all(&id, &large) {
        let name = format!("{method} {path} {headers:?}: {reason}");
        let mut connection: Connection = bench.connection().await;
        let answer = connection.send(method, &path, headers, body).await;
        assert_eq!((answer.status, told(&answer)), (status, (code, reason.to_owned())), "{name}");
        let body = rpc("GetTask", &json!({ "id": id }));
        let good = connection.send("POST", "/agents/helper", V1, body).await.json();
        assert_eq!(good["result"]["id"], id.as_str(), "{name}: {good}");
    }
}

/// What a call of gRPC is answered with that says what it is and what it has as it likes.
async fn raw(channel: &mut Channel, method: &str, kind: &str, message: &[u8]) -> (u16, Status) {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let request = axum::http::Request::builder()
        .method("POST")
        .uri(format!("/lf.a2a.v1.A2AService/{method}"))
        .header("content-type", kind)
        .header("te", "trailers")
        .header("a2a-version", "1.0")
        .body(tonic::body::Body::new(Body::from(frame)))
        .unwrap();
    let response = soon(async { channel.ready().await.unwrap().call(request).await }).await;
    let response = response.unwrap();
    let status = Status::from_header_map(response.headers());
    (response.status().as_u16(), status.expect("it is refused at once"))
}

#[tokio::test]
async fn bad_input_has_its_error_over_grpc_and_the_connection_is_good_for_more() {
    let bench = Bench::start().await;
    let id = bench.task("x").await["id"].as_str().unwrap().to_owned();
    let endpoint = Endpoint::from_shared(format!("http://{}", bench.address)).unwrap();
    let mut channel = soon(endpoint.connect()).await.unwrap();
    let mut client = A2aServiceClient::new(channel.clone());
    let get = |tenant: &str, id: &str| {
        let (tenant, id) = (tenant.to_owned(), id.to_owned());
        v1(GetTaskRequest { tenant, id, history_length: None })
    };
    // A message that says that it has more than it has.
    let broken = raw(&mut channel, "SendMessage", "application/grpc", &[0x12, 0x7f, 0]).await;
    let foreign = raw(&mut channel, "SendMessage", "text/plain", b"").await;
    let unknown = raw(&mut channel, "Fly", "application/grpc", b"").await;
    let large = raw(&mut channel, "SendMessage", "application/grpc", &vec![0; 8 << 20]).await;
    let mut other = get("agents/helper", &id);
    other.metadata_mut().insert("a2a-version", "9.9".parse().unwrap());
    let other = client.get_task(other).await.unwrap_err();
    let theirs = client.get_task(get("agents/helper/acme", &id)).await.unwrap_err();
    for (http, status, code, reason) in [
        (Some(200), broken, Code::InvalidArgument, "INVALID_REQUEST"),
        (Some(415), foreign, Code::InvalidArgument, "CONTENT_TYPE_NOT_SUPPORTED"),
        (Some(200), unknown, Code::Unimplemented, "METHOD_NOT_FOUND"),
        (Some(200), large, Code::OutOfRange, "TOO_LARGE"),
        (None, (200, other), Code::FailedPrecondition, "VERSION_NOT_SUPPORTED"),
        (None, (200, theirs), Code::NotFound, "TASK_NOT_FOUND"),
    ] {
        let (answered, status) = status;
        assert!(http.is_none_or(|http| http == answered), "{reason}: {answered}");
        let told = status.get_details_error_info().unwrap_or_else(|| panic!("{reason}: {status}"));
        assert_eq!((status.code(), told.reason.as_str()), (code, reason), "{status}");
        // All calls are on the one connection that the channel was opened with.
        assert!(client.get_task(get("agents/helper", &id)).await.is_ok(), "{reason}");
    }
    let list = ListTasksRequest { tenant: "agents/helper".into(), ..Default::default() };
    assert_eq!(client.list_tasks(v1(list)).await.unwrap().into_inner().total_size, 1);
}
